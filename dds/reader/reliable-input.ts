import type { HeartbeatSubmessage } from "../wire/read-message.ts";
import { VENDOR } from "../wire/identifiers.ts";
import { buildMessage } from "../wire/write-message.ts";
import type { FragmentAssembler } from "./fragments.ts";
import type { InboundStream } from "./inbound-stream.ts";

/** A stream with its two ends, and what its writer is told about it. */
export interface Input<Item> {
  /** GUID of the writer. */
  readonly writer: string;
  readonly writerEntity: number;
  readonly readerEntity: number;
  readonly reliable: boolean;
  readonly stream: InboundStream<Item>;
  readonly sinceMs: number;
  lastHeartbeat: number | undefined;
  checkedMs: number;
  /** An answer is owed that came too soon after the last. */
  owed: boolean;
  askAgainMs: number;
  askEveryMs: number;
}

export interface AnsweringSide {
  readonly prefix: string;
  readonly assembler: FragmentAssembler;
  /** Of all answers ever: a writer that remembers us from before takes only answers that count higher than the last. */
  answers: number;
}

/** Heartbeats are answered at most this often, whatever their number. */
const CHECK_EVERY_MS = 2;
const ASK_FIRST_MS = 200;
const ASK_EVERY_MS_MAX = 5_000;
/** A writer that sends samples but no heartbeat is believed to have started with the first of them. */
const SETTLE_MS = 300;

export function openInput<Item>(
  ends: Pick<Input<Item>, "writer" | "writerEntity" | "readerEntity" | "reliable" | "stream">,
  nowMs: number,
): Input<Item> {
  return {
    ...ends,
    sinceMs: nowMs,
    lastHeartbeat: undefined,
    checkedMs: -Infinity,
    owed: false,
    askAgainMs: nowMs + ASK_FIRST_MS,
    askEveryMs: ASK_FIRST_MS,
  };
}

/** Takes a heartbeat in; true when it is to be answered now. */
export function hearHeartbeat(input: Input<unknown>, heartbeat: HeartbeatSubmessage, nowMs: number): boolean {
  if (!input.reliable || heartbeat.count === input.lastHeartbeat) return false;
  input.lastHeartbeat = heartbeat.count;
  input.stream.heartbeat(heartbeat.first, heartbeat.last);
  // Before anything is counted: a datagram full of heartbeats must not cost more than one look at what is missing.
  if (nowMs - input.checkedMs < CHECK_EVERY_MS) {
    input.owed = true;
    return false;
  }
  input.checkedMs = nowMs;
  input.askAgainMs = nowMs + input.askEveryMs;
  return !heartbeat.final || input.stream.missing().members.length > 0;
}

/** What time brings: true when the writer is to be answered, or to be asked what it has. */
export function inputIsDue(input: Input<unknown>, nowMs: number): boolean {
  if (!input.reliable) return false;
  if (!input.stream.synchronized && nowMs - input.sinceMs >= SETTLE_MS) input.stream.settle();
  if (input.owed) return true;
  if (nowMs < input.askAgainMs) return false;
  // What was asked for may be lost like the answer, and some writers speak up only every few seconds.
  if (input.stream.synchronized && input.stream.missing().members.length === 0) {
    input.askEveryMs = ASK_FIRST_MS;
    return false;
  }
  input.askEveryMs = Math.min(ASK_EVERY_MS_MAX, input.askEveryMs * 2);
  input.askAgainMs = nowMs + input.askEveryMs;
  return true;
}

/**
 * The answer to a writer: what has come, what is missing, and which fragments are missing of what has come in part. Before the
 * writer has said anything, it asks it to.
 */
export function answer(
  own: AnsweringSide,
  peer: { readonly prefix: string; readonly vendor: number },
  input: Input<unknown>,
): Uint8Array {
  input.owed = false;
  own.answers++;
  const ends = { reader: input.readerEntity, writer: input.writerEntity };
  const { synchronized } = input.stream;
  const { base, members } = synchronized ? input.stream.missing() : { base: 1, members: [] };
  const message = buildMessage(own.prefix).destination(peer.prefix);
  const inPart = own.assembler.missing(input.writer).filter(({ sequence }) => members.includes(sequence));
  const whole = members.filter((sequence) => !inPart.some((part) => part.sequence === sequence));
  const final = synchronized && whole.length === 0;
  // Fast DDS takes a set that begins at 0 for the question what there is; to the standard that is no set.
  const question = !synchronized && peer.vendor === VENDOR.fast;
  message.acknowledgement(ends, { base: question ? 0 : base, members: whole }, own.answers, final);
  for (const { sequence, set } of inPart) message.fragmentRequest(ends, sequence, set, own.answers);
  return message.bytes();
}
