import { parseJson } from "@muto/spec";
import { fieldsOf, Malformed } from "../reconcile/fields.ts";

/*
 * What the outbox must still know after any crash: the fold of its journal records. A report waits unnumbered until it is
 * about to be sent for the first time; only then it gets the next number. So reports that nobody has seen can be merged
 * or dropped without leaving a gap, and the numbers that leave the vehicle are contiguous.
 */

export interface OutboxState {
  /** The name of this sequence; another one begins at 1 when numbers may have been lost (H19). */
  readonly installId: string;
  readonly lastSeq: number;
  /** In the order in which they are sent; the numbered ones come first. */
  readonly entries: readonly OutboxEntry[];
  /** Reports that were thrown away for want of room since the outbox was made. */
  readonly dropped: number;
}

export interface OutboxEntry {
  readonly reportId: string;
  /** A terminal outcome is never dropped. */
  readonly terminal: boolean;
  /** Reports with the same key say the same; null says that nothing else does. */
  readonly mergeKey: string | null;
  readonly body: Uint8Array;
  readonly seq: number | null;
}

export type OutboxRecord =
  /** What a compaction begins with, and what begins a new sequence. All reports after it follow as records. */
  | { readonly kind: "opened"; readonly installId: string; readonly lastSeq: number; readonly dropped: number }
  /** `removed` made room: ids of reports that nobody had seen; `dropped` of them said something that is now lost. */
  | {
      readonly kind: "report";
      readonly entry: OutboxEntry;
      readonly removed: readonly string[];
      readonly dropped: number;
    }
  /** So many reports without a number got the next ones. */
  | { readonly kind: "numbered"; readonly count: number }
  | { readonly kind: "acknowledged"; readonly seq: number }
  /** Numbers may have been lost: what waits is numbered anew under another name. */
  | { readonly kind: "renamed"; readonly installId: string };

export interface OutboxLimits {
  readonly entriesMax: number;
  /** Of all bodies together. */
  readonly bytesMax: number;
  /** Reports that are numbered and not acknowledged. */
  readonly inFlightMax: number;
}

export const EMPTY_OUTBOX: OutboxState = { installId: "", lastSeq: 0, entries: [], dropped: 0 };

/** Pure and total. Limits play no part: what a record meant when it was written it means for ever. */
export function applyOutboxRecord(state: OutboxState, record: OutboxRecord): OutboxState {
  switch (record.kind) {
    case "opened":
      return { installId: record.installId, lastSeq: record.lastSeq, entries: [], dropped: record.dropped };
    case "report":
      return {
        ...state,
        entries: [...state.entries.filter(({ reportId }) => !record.removed.includes(reportId)), record.entry],
        dropped: state.dropped + record.dropped,
      };
    case "numbered":
      return numbered(state, record.count);
    case "acknowledged":
      return { ...state, entries: state.entries.filter(({ seq }) => seq === null || seq > record.seq) };
    case "renamed":
      return {
        ...state,
        installId: record.installId,
        lastSeq: 0,
        entries: state.entries.map((entry) => ({ ...entry, seq: null })),
      };
  }
}

export type Admission =
  | { readonly kind: "queued" | "merged"; readonly record: Extract<OutboxRecord, { kind: "report" }> }
  /** The newest report is the same outcome and nobody has seen it: the first time that it was said stands. */
  | { readonly kind: "said" }
  | { readonly kind: "full" };

/**
 * How a report is taken in. If the newest one says the same, one of the two is enough. Without room, what a later report
 * says again goes first, then the oldest of what is no outcome. What has a number stays, for it may have been seen; and an
 * outcome stays as long as no later report says the same, so weeks offline cost repeats, never an outcome.
 */
export function admit(state: OutboxState, entry: OutboxEntry, limits: OutboxLimits): Admission {
  const newest = state.entries.at(-1);
  const repeats = newest !== undefined && newest.seq === null && saysTheSame(newest, entry);
  if (repeats && newest.terminal) return { kind: "said" };
  const removed = repeats ? [newest.reportId] : [];
  let left = repeats ? state.entries.slice(0, -1) : state.entries;
  let dropped = 0;
  while (!fits([...left, entry], limits)) {
    const unseen = left.filter(({ seq }) => seq === null);
    const repeated = unseen.find((one) => saidAgain([...left, entry], one));
    const victim = repeated ?? unseen.find(({ terminal }) => !terminal);
    if (victim === undefined) return { kind: "full" };
    left = left.filter((one) => one !== victim);
    removed.push(victim.reportId);
    if (repeated === undefined) dropped += 1;
  }
  return { kind: repeats ? "merged" : "queued", record: { kind: "report", entry, removed, dropped } };
}

/** How many more reports may get a number now. */
export function numberable(state: OutboxState, limits: OutboxLimits): number {
  const inFlight = state.entries.filter(({ seq }) => seq !== null).length;
  return Math.max(0, Math.min(limits.inFlightMax - inFlight, state.entries.length - inFlight));
}

/** What a compaction writes: the same state in as few records as possible. */
export function recordsOf(state: OutboxState): readonly OutboxRecord[] {
  const { installId, lastSeq, dropped, entries } = state;
  return [
    { kind: "opened", installId, lastSeq, dropped },
    ...entries.map((entry) => ({ kind: "report", entry, removed: [], dropped: 0 }) as const),
  ];
}

function saysTheSame(one: OutboxEntry, other: OutboxEntry): boolean {
  return one.mergeKey !== null && one.mergeKey === other.mergeKey && one.terminal === other.terminal;
}

function saidAgain(entries: readonly OutboxEntry[], entry: OutboxEntry): boolean {
  return entries.slice(entries.indexOf(entry) + 1).some((later) => saysTheSame(entry, later));
}

function fits(entries: readonly OutboxEntry[], { entriesMax, bytesMax }: OutboxLimits): boolean {
  return entries.length <= entriesMax && entries.reduce((sum, { body }) => sum + body.byteLength, 0) <= bytesMax;
}

function numbered(state: OutboxState, count: number): OutboxState {
  let { lastSeq } = state;
  const until = lastSeq + count;
  const entries = state.entries.map((entry) => {
    if (entry.seq !== null || lastSeq >= until) return entry;
    lastSeq += 1;
    return { ...entry, seq: lastSeq };
  });
  return { ...state, entries, lastSeq };
}

// ── On disk ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export const HEAD_BYTES_MAX = 64 * 1024;
const NEWLINE = 0x0a;

/** A line of JSON, then the body of the report as it is. */
export function encodeOutboxRecord(record: OutboxRecord): Uint8Array {
  if (record.kind !== "report") return Buffer.from(`${JSON.stringify(record)}\n`);
  const { entry, ...head } = record;
  const { body, ...rest } = entry;
  return Buffer.concat([Buffer.from(`${JSON.stringify({ ...head, ...rest })}\n`), body]);
}

/** Undefined for bytes that are no record of ours. */
export function parseOutboxRecord(bytes: Uint8Array): OutboxRecord | undefined {
  const end = bytes.indexOf(NEWLINE);
  const json = end < 0 ? undefined : parseJson(bytes.subarray(0, end), { bytesMax: HEAD_BYTES_MAX, depthMax: 4 });
  if (json?.ok !== true) return undefined;
  try {
    return readRecord(json.value, new Uint8Array(bytes.subarray(end + 1)));
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

const KINDS = [
  "opened",
  "report",
  "numbered",
  "acknowledged",
  "renamed",
] as const satisfies readonly OutboxRecord["kind"][];

function readRecord(value: unknown, body: Uint8Array): OutboxRecord {
  const fields = fieldsOf(value, "");
  const kind = fields.oneOf("kind", KINDS);
  switch (kind) {
    case "opened":
      return {
        kind,
        installId: fields.text("installId"),
        lastSeq: fields.count("lastSeq"),
        dropped: fields.count("dropped"),
      };
    case "report":
      return {
        kind,
        entry: {
          reportId: fields.text("reportId"),
          terminal: fields.flag("terminal"),
          mergeKey: fields.nullable("mergeKey", readString),
          seq: fields.nullable("seq", readSeq),
          body,
        },
        removed: fields.list("removed", readString, Infinity),
        dropped: fields.count("dropped"),
      };
    case "numbered":
      return { kind, count: fields.count("count") };
    case "acknowledged":
      return { kind, seq: fields.count("seq") };
    case "renamed":
      return { kind, installId: fields.text("installId") };
  }
}

function readString(value: unknown, at: string): string {
  if (typeof value !== "string") throw new Malformed(at);
  return value;
}

function readSeq(value: unknown, at: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1) throw new Malformed(at);
  return value;
}
