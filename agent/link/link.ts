import { backoffMs } from "@muto/kit/backoff";
import { timestamp, type Clock } from "@muto/kit/clock";
import { DiskError } from "@muto/kit/disk";
import { JournalError } from "@muto/kit/journal";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import { createWake } from "@muto/kit/wake";
import {
  ERRORS,
  TOPICS,
  type AgentView,
  type AssignmentOffer,
  type Envelope,
  type HealthReport,
  type Presence,
} from "@muto/spec";
import type { MqttConnector, MqttMessage, MqttSession } from "../ports.ts";
import type { CloudClient, Polled } from "./cloud-client.ts";
import type { CloudFailure } from "./cloud-request.ts";
import { notifyListener } from "./notify.ts";
import type { Outbox } from "./outbox.ts";
import { ReportSender } from "./report-sender.ts";

export interface LinkOptions {
  readonly tenant: string;
  readonly vehicleId: string;
  readonly cloudUrl: string;
  readonly cloud: CloudClient;
  /** Undefined: the agent works by polling alone. */
  readonly broker: BrokerLogin | undefined;
  readonly outbox: Pick<Outbox, "installId" | "waiting" | "pending" | "acknowledge">;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly pollMs: number;
  readonly healthMs: number;
  /** Highest sequence that this vehicle has accepted. */
  readonly sequenceFloor: () => number;
  /** False while something that was handed on is not durable yet: it is asked for in full until it is. */
  readonly isOfferTaken: () => boolean;
  /** The heartbeat of this moment. */
  readonly health: () => Promise<HealthReport>;
  /** The signed request by which this vehicle asks to be known. */
  readonly enrolment: () => Promise<Envelope>;
  /** Tails of output that reports name by digest; undefined where none are kept. */
  readonly tails?: TailSource;
  /** Whether the cloud takes this vehicle's key, by its last answer. */
  readonly onEnrolment: (state: EnrolmentState) => void;
  /** Called after every poll that was answered. */
  readonly onContact: (contact: CloudContact) => void;
}

export type EnrolmentState = Exclude<AgentView["enrolment"]["state"], "unknown">;

export interface BrokerLogin {
  readonly connector: MqttConnector;
  readonly username: string;
  readonly password: () => Promise<string>;
}

/** What workloads last said before a change failed, on its way to the cloud as illustration of a report. */
export interface TailSource {
  oldest(): Promise<{ readonly digest: string; readonly bytes: Uint8Array } | undefined>;
  /** The cloud has it, or does not want it. */
  forget(digest: string): Promise<void>;
}

export interface CloudContact {
  /** What the cloud offers now, unverified; null when it wants nothing, undefined when it is what it was. */
  readonly offer: AssignmentOffer | null | undefined;
  /** By the cloud's own clock; it only tells whether a document is fresh. */
  readonly serverDateMs: number | undefined;
}

export interface Link {
  /** Runs until the signal aborts; never rejects because the world is unkind. */
  run(stop: AbortSignal): Promise<void>;
  /** A report is in the outbox. */
  reportQueued(): void;
  /** Look now rather than at the next poll. */
  pollSoon(): void;
}

/** While nobody answers, polls are at most this many intervals apart: a vehicle that comes out of a tunnel is soon heard. */
const POLL_INTERVALS_MAX = 4;
const POLL_GAP_MS_MIN = 1_000;
/** Only a safety net: reports are rung for, and every poll sends what is left. */
const REPORTS_RECHECK_MS = 600_000;
const PUBLISH_MS_MAX = 5_000;

/**
 * The vehicle's side of the conversation. Polling is the whole truth: it brings the newest offer and says which reports are
 * stored. MQTT only makes it quicker, in both directions. What comes in wakes the agent's loop and carries no authority.
 */
export function createLink(options: LinkOptions): Link {
  const { cloud, clock, outbox, logger } = options;
  const own = { tenant: options.tenant, vehicleId: options.vehicleId };
  const sender = new ReportSender({ own, cloud, outbox, clock, logger });
  const wakes = { poll: createWake(clock), report: createWake(clock) };
  let session: MqttSession | undefined;

  const connected = () => {
    sender.connected();
    void session?.publish(presenceOf(options, true), PUBLISH_MS_MAX);
    wakes.report.ring();
    // Whatever happened while the connection was down is learned by asking.
    wakes.poll.ring();
  };
  const deliver = async (stop: AbortSignal) => {
    while (!stop.aborted) {
      await unlessFaulted(options, async () => {
        if (session?.connected === true) await sender.publish(session);
        else await sender.post(stop);
      });
      await wakes.report.wait(REPORTS_RECHECK_MS, stop);
    }
  };
  const post = async (stop: AbortSignal) => {
    await unlessFaulted(options, () => sender.post(stop));
    if (outbox.waiting === 0) await unlessRefused(options, "output tails stay here", () => sendTails(options, stop));
  };

  return {
    run: async (stop) => {
      session = openBroker(options, own, connected, () => wakes.poll.ring());
      if (session?.connected === true) connected();
      await Promise.all([poll(options, wakes.poll, post, stop), beat(options, () => session, stop), deliver(stop)]);
      if (session?.connected === true) await session.publish(presenceOf(options, false), PUBLISH_MS_MAX);
      await session?.[Symbol.asyncDispose]();
      session = undefined;
    },
    reportQueued: () => wakes.report.ring(),
    pollSoon: () => wakes.poll.ring(),
  };
}

/** Asks for the newest assignment again and again; more slowly while nobody answers, sooner when somebody rings. */
async function poll(
  options: LinkOptions,
  wake: ReturnType<typeof createWake>,
  post: (stop: AbortSignal) => Promise<void>,
  stop: AbortSignal,
): Promise<void> {
  const { cloud, clock, random, outbox, onContact, sequenceFloor, isOfferTaken, pollMs } = options;
  let etag: string | undefined;
  let failures = 0;
  let gapMs = POLL_GAP_MS_MIN;
  let woken: "rung" | "elapsed" | "aborted" = "elapsed";
  while (!stop.aborted) {
    const { installId } = outbox;
    // An ETag says "I have it", which is true only of what would survive a power cut.
    const known = { sequenceFloor: sequenceFloor(), installId, etag: isOfferTaken() ? etag : undefined };
    const polled = await cloud.pollLatest(known, stop);
    if (stop.aborted) return;
    if (polled.kind === "latest" || polled.kind === "unchanged") {
      failures = 0;
      if (polled.kind === "latest") ({ etag } = polled);
      await acknowledge(options, installId, polled.acknowledgedSeq);
      const offer = polled.kind === "latest" ? polled.assignment : undefined;
      options.onEnrolment("accepted");
      onContact({ offer, serverDateMs: polled.serverDateMs });
      await post(stop);
    } else {
      failures += 1;
      if (await comesIn(options, polled, failures, stop)) continue;
    }
    // Whoever rings without there being anything new (a hostile broker can) is heard less and less often.
    gapMs = woken === "rung" && polled.kind === "unchanged" ? gapMs * 2 : POLL_GAP_MS_MIN;
    await clock.sleep(Math.min(gapMs, pollMs), stop);
    const jitteredMs = pollMs * (0.75 + random.fraction() / 2);
    woken = await wake.wait(failures === 0 ? jitteredMs : pauseAfter(polled, failures, options), stop);
  }
}

/** After a poll that brought nothing: asks to be known if that is what was missing. True when it now is. */
async function comesIn(
  options: LinkOptions,
  failure: CloudFailure,
  failures: number,
  stop: AbortSignal,
): Promise<boolean> {
  const { cloud, logger, enrolment } = options;
  if (failure.kind === "unavailable") {
    if (failures === 1) logger.info("cloud cannot be reached; what is here goes on");
    return false;
  }
  if (failure.code !== ERRORS.UNAUTHENTICATED.code) {
    logger.warn("cloud refuses the poll", { status: failure.status, code: failure.code });
    return false;
  }
  options.onEnrolment("pending");
  const enrolled = await cloud.enroll(await enrolment(), stop);
  if (enrolled.kind === "unavailable") return false;
  if (enrolled.kind === "refused") {
    logger.warn("cloud refuses the enrolment", { status: enrolled.status, code: enrolled.code });
    return false;
  }
  const { state, keyid } = enrolled.answer;
  options.onEnrolment(state);
  logger.info("vehicle asked to be known", { state, keyid });
  // Accepted and refused again straight away would be a circle; it is gone round at the pace of failures.
  return state === "accepted" && failures === 1;
}

/** Heartbeats: at once, then at the given pace; by the fast way if there is one. A lost one is not sent again. */
async function beat(options: LinkOptions, session: () => MqttSession | undefined, stop: AbortSignal): Promise<void> {
  const { cloud, clock, health, healthMs, random, tenant, vehicleId } = options;
  const { qos, retain, payloadBytesMax } = TOPICS.healthReports;
  const topic = TOPICS.healthReports.format({ tenant, vehicleId });
  while (!stop.aborted) {
    const report = await unlessRefused(options, "heartbeat is left out", health);
    if (report === undefined) {
      await clock.sleep(healthMs, stop);
      continue;
    }
    const payload = new TextEncoder().encode(JSON.stringify(report));
    const broker = session();
    const isSmall = payload.byteLength <= payloadBytesMax;
    const isTaken =
      isSmall && broker?.connected === true && (await broker.publish({ topic, payload, qos, retain }, PUBLISH_MS_MAX));
    if (!isTaken && !stop.aborted) await cloud.postHealth(report, stop);
    await clock.sleep(healthMs * (0.9 + random.fraction() / 5), stop);
  }
}

function openBroker(
  options: LinkOptions,
  own: { readonly tenant: string; readonly vehicleId: string },
  onConnected: () => void,
  onNewer: () => void,
): MqttSession | undefined {
  const { broker, cloudUrl, logger, sequenceFloor } = options;
  if (broker === undefined) return undefined;
  return broker.connector.connect({
    clientId: own.vehicleId,
    username: broker.username,
    password: broker.password,
    will: presenceOf(options, false),
    subscriptions: [TOPICS.desiredNotify.format(own)],
    onMessage: notifyListener({ own, cloudUrl, logger, sequenceFloor, onNewer }),
    onConnected,
    onDisconnected: () => {},
  });
}

/** The will is made when the connection is, so its time would be wrong by the time it is sent: it has none. */
function presenceOf({ clock, tenant, vehicleId }: LinkOptions, online: boolean): MqttMessage {
  const presence: Presence = {
    kind: "muto.presence/v1",
    vehicleId,
    online,
    ...(online && { at: timestamp(clock.wallMs()) }),
  };
  const { qos, retain } = TOPICS.presence;
  const payload = new TextEncoder().encode(JSON.stringify(presence));
  return { topic: TOPICS.presence.format({ tenant, vehicleId }), payload, qos, retain };
}

async function acknowledge(options: LinkOptions, installId: string, seq: number | null): Promise<void> {
  if (seq !== null) await unlessFaulted(options, () => options.outbox.acknowledge(installId, seq));
}

/** Only when no report waits: the cloud takes a tail that a stored report names, so a refusal then is final. */
async function sendTails({ cloud, tails }: LinkOptions, stop: AbortSignal): Promise<void> {
  for (let tail = await tails?.oldest(); tail !== undefined; tail = await tails?.oldest()) {
    const sent = await cloud.putAttachment(tail.digest, tail.bytes, stop);
    if (sent.kind === "unavailable" || stop.aborted) return;
    await tails?.forget(tail.digest);
  }
}

/** After a storage fault the outbox refuses; health reports go on and say so, and the next start tries again. */
async function unlessFaulted({ logger }: LinkOptions, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof JournalError)) throw error;
    logger.error("outbox cannot be used", { error });
  }
}

/** What a disk refuses at this moment is left out; nothing here is worth the end of the agent. */
async function unlessRefused<T>(
  { logger }: LinkOptions,
  message: string,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    logger.warn(message, { code: error.code });
    return undefined;
  }
}

function pauseAfter(polled: Polled, failures: number, { pollMs, random }: LinkOptions): number {
  const maxMs = pollMs * POLL_INTERVALS_MAX;
  const pauseMs = backoffMs({ attempt: failures - 1, baseMs: pollMs, maxMs, fraction: random.fraction() });
  const askedMs = polled.kind === "unavailable" ? (polled.retryAfterMs ?? 0) : 0;
  return Math.max(pauseMs, askedMs);
}
