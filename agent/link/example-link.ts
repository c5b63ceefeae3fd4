import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { silentLogger } from "@muto/kit/logger";
import { seededRandom } from "@muto/kit/random";
import { TOPICS, type AssignmentOffer, type Envelope, type HealthReport, type ReportReceipt } from "@muto/spec";
import type { MqttMessage, MqttOptions } from "../ports.ts";
import type { CloudClient, Enrolled, Polled } from "./cloud-client.ts";
import { createLink, type CloudContact, type EnrolmentState, type LinkOptions } from "./link.ts";
import { openOutbox } from "./outbox.ts";

export const own = { tenant: "default", vehicleId: "vehicle-1" };
export const encoder = new TextEncoder();
export const decoder = new TextDecoder();

const envelope: Envelope = { payloadType: "application/vnd.muto.assignment.v1+json", payload: "e30=", signatures: [] };
export const offer: AssignmentOffer = { envelope, releaseSignatures: [] };
export const unchanged = { kind: "unchanged", acknowledgedSeq: null, serverDateMs: undefined } as const;

/** A cloud that answers as the test says (pauses take a fiftieth of their time), and a broker that is up when the test says; the outbox is the real one. */
export async function openVehicle(changes: Partial<LinkOptions> & { readonly hasBroker?: boolean } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "muto-link-"));
  const { outbox } = await openOutbox({
    disk: systemDisk(),
    folder,
    seal: async ({ seq, body }) => encoder.encode(`${seq} ${decoder.decode(body)}`),
    newInstallId: () => "01J00000000000000000000000",
  });
  const cloud = fakeCloud();
  const broker = fakeBroker();
  const contacts: CloudContact[] = [];
  const enrolments: EnrolmentState[] = [];
  const options: LinkOptions = {
    ...own,
    cloudUrl: "https://muto.example.org",
    cloud: cloud.client,
    broker:
      changes.hasBroker === true
        ? { connector: broker.connector, username: "vehicle-1", password: () => cloud.client.token() }
        : undefined,
    outbox,
    clock: { ...systemClock(), sleep: (ms, stop) => systemClock().sleep(ms / 50, stop) },
    random: seededRandom(1),
    logger: silentLogger,
    pollMs: 3_600_000,
    healthMs: 3_600_000,
    sequenceFloor: () => 7,
    isOfferTaken: () => true,
    health: async () => health,
    enrolment: async () => envelope,
    onEnrolment: (state) => enrolments.push(state),
    onContact: (contact) => contacts.push(contact),
    ...changes,
  };
  const stop = new AbortController();
  const link = createLink(options);
  const running = link.run(stop.signal);
  const close = async () => {
    stop.abort();
    await running;
  };
  return {
    link,
    outbox,
    cloud,
    broker,
    contacts,
    enrolments,
    close,
    queue: async (text: string) => {
      await outbox.append({ reportId: text, terminal: true, mergeKey: null, body: encoder.encode(text) });
      link.reportQueued();
    },
    [Symbol.asyncDispose]: async () => {
      await close();
      await outbox[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

export const health: HealthReport = {
  kind: "muto.health-report/v1",
  vehicleId: own.vehicleId,
  installId: "01J00000000000000000000000",
  bootId: "6f1d0d3e-6b1c-4d5a-9a0e-3f1f6f9b2a11",
  at: "2026-06-01T01:00:00.000Z",
  stack: null,
  desiredStateRevision: null,
  rollbackReady: false,
  safetySnapshot: {
    moving: { value: null, ageMs: null },
    autonomousMode: { value: null, ageMs: null },
    batteryPct: { value: null, ageMs: null },
    insideWindow: { value: null, ageMs: null },
  },
  diskFreeMb: 1,
  agentVersion: "0.1.0",
  workloads: [],
};

/** Calls by name; `called(name, count)` resolves with the call of that number. */
function callLog() {
  const calls: { readonly name: string; readonly value: string }[] = [];
  const waiting: { readonly name: string; readonly count: number; readonly resolve: (value: string) => void }[] = [];
  const values = (name: string) => calls.filter((call) => call.name === name).map(({ value }) => value);
  return {
    values,
    note: (name: string, value: string) => {
      calls.push({ name, value });
      const count = values(name).length;
      for (const waiter of waiting) if (waiter.name === name && waiter.count === count) waiter.resolve(value);
    },
    called: (name: string, count: number): Promise<string> => {
      const { promise, resolve } = Promise.withResolvers<string>();
      const already = values(name)[count - 1];
      if (already !== undefined) resolve(already);
      else waiting.push({ name, count, resolve });
      return promise;
    },
  };
}

interface CloudAnswers {
  polled: Polled;
  receipt: ReportReceipt["result"] | "unavailable" | "unreadable";
  enrolled: Enrolled | undefined;
}

export function fakeCloud() {
  const log = callLog();
  const answers: CloudAnswers = { polled: unchanged, receipt: "stored", enrolled: undefined };
  const client: CloudClient = {
    token: async () => "token",
    pollLatest: async (known) => {
      const polled = answers.polled;
      log.note("poll", JSON.stringify(known));
      return polled;
    },
    postReconcile: async (envelopes) => {
      const texts = envelopes.map((bytes) => decoder.decode(bytes));
      const { receipt } = answers;
      log.note("post", texts.join());
      if (receipt === "unavailable") return { kind: "unavailable", retryAfterMs: null };
      if (receipt === "unreadable" && texts.some((text) => text.includes("poison"))) {
        return { kind: "refused", status: 400, code: "BODY_INVALID" };
      }
      const result = receipt === "unreadable" ? "stored" : receipt;
      return { kind: "answered", receipts: texts.map((_, index) => ({ index, result, error: null })) };
    },
    postHealth: async (report) => {
      log.note("health", report.vehicleId);
      return { kind: "delivered" };
    },
    putAttachment: async (digest) => {
      log.note("attachment", digest);
      return { kind: "delivered" };
    },
    enroll: async () => {
      log.note("enroll", "");
      return answers.enrolled ?? { kind: "unavailable", retryAfterMs: null };
    },
  };
  return { client, answers, ...log };
}

interface BrokerState {
  connected: boolean;
  takes: boolean;
  options: MqttOptions | undefined;
}

function fakeBroker() {
  const log = callLog();
  const state: BrokerState = { connected: false, takes: true, options: undefined };
  return {
    ...log,
    state,
    connector: {
      connect: (options: MqttOptions) => {
        state.options = options;
        return {
          get connected() {
            return state.connected;
          },
          publish: async ({ topic, payload }: MqttMessage) => {
            log.note(topic, decoder.decode(payload));
            return state.connected && state.takes;
          },
          [Symbol.asyncDispose]: async () => log.note("disposed", ""),
        };
      },
    },
    connect: () => {
      state.connected = true;
      state.options?.onConnected();
    },
    disconnect: () => {
      state.connected = false;
      state.options?.onDisconnected();
    },
    notify: (sequence: number, url = "https://muto.example.org/api/v1/desired-states/latest") => {
      const notify = { kind: "muto.desired-notify/v1", desiredStateRevision: `dsr_${"0".repeat(26)}`, sequence, url };
      state.options?.onMessage(TOPICS.desiredNotify.format(own), encoder.encode(JSON.stringify(notify)));
    },
  };
}
