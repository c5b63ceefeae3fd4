import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { compilePathDecoder, type PathDecoder } from "@muto/dds/cdr/decode";
import { LIMITS } from "@muto/dds/limits";
import { KNOWN_MESSAGES } from "@muto/dds/messages/interfaces";
import type { ReceiveCounters, SubscriptionQos } from "@muto/dds/model";
import type { UdpNetwork, UdpSocketOptions } from "@muto/dds/network";
import { openParticipant, type Participant } from "@muto/dds/participant";
import { readMessage } from "@muto/dds/wire/read-message";
import { buildMessage } from "@muto/dds/wire/write-message";
import type { Clock } from "@muto/kit/clock";
import { seededRandom, type Random } from "@muto/kit/random";
import { silentLogger } from "@muto/kit/logger";

/*
 * Hostile datagrams against the whole way in: a participant with subscriptions and decoders hears captured datagrams of two vendors
 * with bytes changed, cut, spliced, under other names, and fragments and heartbeats of any size. Nothing may throw, and what it
 * leaves in memory must stay within the limits.
 */

export interface FuzzFigures {
  readonly seed: number;
  readonly counters: ReceiveCounters;
  readonly samples: number;
  readonly decoded: number;
  readonly sent: number;
  readonly participantsMax: number;
  /** Live memory above what it was after the first batch, at its highest, after collecting garbage. */
  readonly grownMbMax: number;
  readonly perSecond: number;
}

const BATCH = 1_000;
const BATCH_MS = 100;
const MEASURE_EVERY_BATCHES = 50;
/** Well above what the limits add up to in practice, well below what a leak would reach. */
const GROWN_MB_MAX = 160;

export async function benchDdsFuzz(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { datagrams: { type: "string" }, seed: { type: "string" } },
  });
  const figures = await fuzzDds({
    datagrams: Number(values.datagrams ?? 1_000_000),
    seed: Number(values.seed ?? Date.now() % 1_000_000),
  });
  console.log(JSON.stringify(figures, null, 2));
  return 0;
}

/** Throws when anything on the way in throws, or when memory grows beyond its bound. The seed gives the same datagrams again. */
export async function fuzzDds({ datagrams, seed }: { datagrams: number; seed: number }): Promise<FuzzFigures> {
  const random = seededRandom(seed);
  const world = fuzzWorld();
  const mutate = mutator(random);
  const participant = await open(world);
  const heard = { samples: 0, decoded: 0 };
  subscribeAll(participant, heard);
  const startedMs = performance.now();
  let participantsMax = 0;
  let grownMbMax = 0;
  let baseMb = Infinity;
  for (let batch = 0; batch * BATCH < datagrams; batch++) {
    for (let index = 0; index < BATCH; index++) world.deliver(mutate(), random.fraction() < 0.5);
    await world.pass(BATCH_MS);
    participantsMax = Math.max(participantsMax, participant.graph().participants.length);
    if (batch % MEASURE_EVERY_BATCHES !== 0) continue;
    const mb = liveMb();
    baseMb = Math.min(baseMb, mb);
    grownMbMax = Math.max(grownMbMax, mb - baseMb);
    if (grownMbMax > GROWN_MB_MAX) throw new Error(`memory grew by ${grownMbMax.toFixed(0)} MB, seed ${seed}`);
  }
  const counters = participant.counters();
  await world.end(participant);
  if (participantsMax > LIMITS.participantsMax) throw new Error(`${participantsMax} participants, seed ${seed}`);
  for (const [name, count] of Object.entries(counters))
    if (!(count >= 0)) throw new Error(`${name} is ${count}, seed ${seed}`);
  const perSecond = Math.round((datagrams * 1_000) / (performance.now() - startedMs));
  return { seed, counters, ...heard, sent: world.sent(), participantsMax, grownMbMax, perSecond };
}

type World = ReturnType<typeof fuzzWorld>;

/** A network without a wire and a clock that only we move. */
function fuzzWorld() {
  const sockets: UdpSocketOptions[] = [];
  const sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>();
  let nowMs = 0;
  let sent = 0;
  const network: UdpNetwork = {
    open: async (options) => {
      sockets.push(options);
      return {
        port: 4_000,
        send: async () => void sent++,
        [Symbol.asyncDispose]: async () => {},
      };
    },
  };
  const clock: Clock = {
    wallMs: () => nowMs,
    monotonicMs: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        const sleeper = { untilMs: nowMs + ms, wake: resolve };
        sleepers.add(sleeper);
        signal?.addEventListener("abort", () => resolve(), { once: true });
      }),
  };
  const pass = async (ms: number) => {
    nowMs += ms;
    for (const sleeper of sleepers) {
      if (sleeper.untilMs > nowMs) continue;
      sleepers.delete(sleeper);
      sleeper.wake();
    }
    await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    network,
    clock,
    pass,
    sent: () => sent,
    deliver: (bytes: Uint8Array, toGroup: boolean) =>
      sockets[toGroup ? 1 : 0]?.onDatagram(bytes, { host: "127.0.0.1", port: 7_411 }),
    end: async (participant: Participant) => await participant[Symbol.asyncDispose](),
  };
}

/** The prefix under which the datagrams were captured, so that what was for that subscriber is for this one. */
const captured = ["cyclone-dds", "fast-dds"].map((vendor) => {
  const file = join(import.meta.dirname, "..", "dds", "vectors", `${vendor}.json`);
  const read: { readonly ownPrefix: string; readonly datagrams: readonly string[] } = JSON.parse(
    readFileSync(file, "utf8"),
  );
  return { ownPrefix: read.ownPrefix, datagrams: read.datagrams.map((hex) => new Uint8Array(Buffer.from(hex, "hex"))) };
});

async function open({ network, clock }: World): Promise<Participant> {
  const random = { bytes: (length: number) => new Uint8Array(length).fill(7), fraction: () => 0.5 };
  return await openParticipant({ domainId: 0, network, clock, random, logger: silentLogger });
}

function subscribeAll(participant: Participant, heard: { samples: number; decoded: number }): void {
  const topics: readonly (readonly [string, string, SubscriptionQos, readonly string[]])[] = [
    ["/odom", "nav_msgs/msg/Odometry", "adaptive", ["twist.twist.linear.x", "header.frame_id"]],
    ["/odom", "nav_msgs/msg/Odometry", { reliability: "best-effort", durability: "volatile" }, ["child_frame_id"]],
    [
      "/vehicle/status/velocity_status",
      "autoware_vehicle_msgs/msg/VelocityReport",
      "adaptive",
      ["longitudinal_velocity"],
    ],
    ["/vehicle/status/control_mode", "autoware_vehicle_msgs/msg/ControlModeReport", "latched", ["mode"]],
    ["/battery_state", "sensor_msgs/msg/BatteryState", "adaptive", ["percentage", "cell_voltage", "serial_number"]],
    ["/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", "adaptive", ["status[*].level", "status"]],
  ];
  for (const [topic, type, qos, paths] of topics) {
    const decoder = decoderOf(type, paths);
    const onSample = ({ payload }: { readonly payload: Uint8Array }) => {
      heard.samples++;
      if (decoder.decode(payload).ok) heard.decoded++;
    };
    participant.subscribe({ topic, type, qos, onSample });
  }
}

function decoderOf(type: string, paths: readonly string[]): PathDecoder {
  const compiled = compilePathDecoder(type, paths, KNOWN_MESSAGES);
  if (!compiled.ok) throw new Error(compiled.problem.code);
  return compiled.decoder;
}

// ── Datagrams ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const SENDER_AT = 8;
const PREFIX_BYTES = 12;
const HEADER_BYTES = 20;
const EDITS_MAX = 6;
const STRANGERS = 300;
const TELLING_BYTES = [0, 1, 2, 4, 0x7f, 0x80, 0xfe, 0xff] as const;

function mutator(random: Random): () => Uint8Array {
  const below = (end: number) => Math.floor(random.fraction() * end);
  const chance = (share: number) => random.fraction() < share;
  const corpus = captured.flatMap(({ datagrams }) => datagrams);
  // Goodbyes are rare, or there would hardly ever be a peer to say anything more.
  const lasting = captured.flatMap(({ ownPrefix, datagrams }) =>
    datagrams.filter((one) => !saysGoodbye(one, ownPrefix)),
  );
  const pick = () => {
    const from = chance(0.02) ? corpus : lasting;
    return from[below(from.length)] ?? new Uint8Array(0);
  };
  const edit = (bytes: Uint8Array) => {
    for (let edits = below(EDITS_MAX); edits > 0; edits--)
      bytes[below(bytes.length)] = chance(0.5) ? (TELLING_BYTES[below(TELLING_BYTES.length)] ?? 0) : below(256);
    return bytes;
  };
  /** A stranger's name is put wherever the real one stood, so that the stranger's announcements are of itself. */
  const rename = (bytes: Uint8Array) => {
    const stranger = Uint8Array.from({ length: PREFIX_BYTES }, () => 0x5a);
    new DataView(stranger.buffer).setUint32(0, below(STRANGERS));
    const before = Buffer.from(bytes.slice(SENDER_AT, SENDER_AT + PREFIX_BYTES));
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = buffer.indexOf(before); at >= 0; at = buffer.indexOf(before, at + PREFIX_BYTES))
      bytes.set(stranger, at);
    return bytes;
  };
  const built = () => {
    const from = Buffer.from(pick().subarray(SENDER_AT, SENDER_AT + PREFIX_BYTES)).toString("hex");
    const ends = { reader: 0, writer: [0x103, 0x203, 0x303, 0x403, 0x503, 0x702, 0x3c2][below(7)] ?? 0 };
    const sequence = 1 + (chance(0.2) ? below(2 ** 50) : below(500));
    const message = buildMessage(from.padEnd(24, "0"), chance(0.7));
    const kind = below(4);
    if (kind === 0) message.heartbeat({ ...ends, first: 1 + below(sequence), last: sequence, count: below(1_000) });
    else if (kind === 1) message.gap(ends, 1 + below(sequence), { base: sequence, members: [sequence + below(200)] });
    else {
      const [fragmentBytes, count] = [256 + below(8_000), 1 + below(3)];
      const sampleBytes = below(chance(0.2) ? 2 ** 32 : 200_000);
      const payload = new Uint8Array(Math.min(60_000, fragmentBytes * count));
      message.fragment({ ...ends, sequence, first: 1 + below(20), count, fragmentBytes, sampleBytes, payload });
    }
    return message.bytes();
  };
  return () => {
    if (chance(0.05)) return random.bytes(below(200));
    if (chance(0.1)) return edit(built());
    const bytes = Uint8Array.from(pick());
    const named = chance(0.2) ? rename(bytes) : bytes;
    if (chance(0.1)) return named;
    if (chance(0.1)) return edit(named).subarray(0, HEADER_BYTES + below(named.length));
    if (chance(0.1)) return Buffer.concat([named, pick().subarray(HEADER_BYTES)]);
    return edit(named);
  };
}

function saysGoodbye(datagram: Uint8Array, ownPrefix: string): boolean {
  const submessages = readMessage(datagram, ownPrefix)?.submessages ?? [];
  return submessages.some((one) => one.kind === "data" && one.change === "ended");
}

/** Memory that is still in use, after garbage was collected. */
function liveMb(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 2 ** 20;
}
