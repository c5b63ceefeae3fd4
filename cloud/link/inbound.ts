import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import { parseEnvelope, parseHealthReport, parseJson, parsePresence, TOPICS } from "@muto/spec";
import type { Envelope, HealthReport, Parsed } from "@muto/spec";

/** Where messages from vehicles go; the broker vouches for the topic, signatures vouch for the rest. */
export interface Inbox {
  reconcile(vehicleId: string, envelopes: readonly Envelope[]): Promise<void>;
  health(reports: readonly HealthReport[]): Promise<void>;
  presence(vehicleIds: { readonly online: readonly string[]; readonly offline: readonly string[] }): Promise<void>;
}

export interface Inbound extends AsyncDisposable {
  receive(topic: string, payload: Uint8Array): void;
  readonly dropped: number;
}

/** What waits between two flushes, of everybody together and of one vehicle, which must not take the others' places. */
const INBOUND_LIMITS = {
  messagesMax: 10_000,
  bytesMax: 64 * 1024 * 1024,
  reportsPerVehicleMax: 32,
} as const;
const BATCH_MS = 100;

/**
 * Collects messages for a moment and hands them on in batches, so that thousands of vehicles do not mean thousands of
 * transactions. What does not fit is dropped and counted: reports that are not acknowledged come again over HTTP, and a
 * heartbeat follows the next.
 */
export function createInbound(options: { tenant: string; inbox: Inbox; clock: Clock; logger: Logger }): Inbound {
  const { tenant, inbox, clock, logger } = options;
  const stop = new AbortController();
  const reports = new Map<string, Envelope[]>();
  const health = new Map<string, HealthReport>();
  const presence = new Map<string, boolean>();
  const counts = { waiting: 0, bytes: 0, dropped: 0 };

  const flush = async () => {
    const [reportsNow, healthNow, presenceNow] = [[...reports], [...health.values()], [...presence]];
    reports.clear();
    health.clear();
    presence.clear();
    counts.waiting = 0;
    counts.bytes = 0;
    const ids = (online: boolean) =>
      presenceNow.filter(([, value]) => value === online).map(([vehicleId]) => vehicleId);
    const work = [
      ...reportsNow.map(
        ([vehicleId, envelopes]) =>
          () =>
            inbox.reconcile(vehicleId, envelopes),
      ),
      ...(healthNow.length === 0 ? [] : [() => inbox.health(healthNow)]),
      ...(presenceNow.length === 0 ? [] : [() => inbox.presence({ online: ids(true), offline: ids(false) })]),
    ];
    for (const one of work) {
      await one().catch((error: unknown) =>
        logger.error("message from a vehicle not stored", { error: String(error) }),
      );
    }
  };
  const running = (async () => {
    while (!stop.signal.aborted) {
      await clock.sleep(BATCH_MS, stop.signal);
      await flush();
    }
  })();

  return {
    get dropped() {
      return counts.dropped;
    },
    receive: (topic, payload) => {
      const fits =
        counts.waiting < INBOUND_LIMITS.messagesMax && counts.bytes + payload.byteLength <= INBOUND_LIMITS.bytesMax;
      if (!fits || !accept(topic, payload, { tenant, reports, health, presence })) counts.dropped++;
      else {
        counts.waiting++;
        counts.bytes += payload.byteLength;
      }
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

interface Waiting {
  readonly tenant: string;
  readonly reports: Map<string, Envelope[]>;
  readonly health: Map<string, HealthReport>;
  readonly presence: Map<string, boolean>;
}

/** False when the message is not one of the contract, or says another vehicle than its topic. */
function accept(topic: string, payload: Uint8Array, waiting: Waiting): boolean {
  const kind = [TOPICS.reconcileReports, TOPICS.healthReports, TOPICS.presence].find(
    (known) => known.parse(topic) !== undefined,
  );
  const ids = kind?.parse(topic);
  if (kind === undefined || ids === undefined || ids.tenant !== waiting.tenant) return false;
  if (payload.byteLength > kind.payloadBytesMax) return false;
  const json = parseJson(payload);
  if (!json.ok) return false;
  if (kind.name === "reconcileReports") {
    const envelope: Parsed<Envelope> = parseEnvelope(json.value);
    if (!envelope.ok) return false;
    const known = waiting.reports.get(ids.vehicleId);
    if (known !== undefined && known.length >= INBOUND_LIMITS.reportsPerVehicleMax) return false;
    if (known === undefined) waiting.reports.set(ids.vehicleId, [envelope.value]);
    else known.push(envelope.value);
    return true;
  }
  const parsed = kind.name === "presence" ? parsePresence(json.value) : parseHealthReport(json.value);
  if (!parsed.ok || parsed.value.vehicleId !== ids.vehicleId) return false;
  if (parsed.value.kind === "muto.presence/v1") waiting.presence.set(ids.vehicleId, parsed.value.online);
  else waiting.health.set(ids.vehicleId, parsed.value);
  return true;
}
