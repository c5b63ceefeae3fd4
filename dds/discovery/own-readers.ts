import type { Qos } from "../model.ts";
import { ENTITY } from "../wire/identifiers.ts";
import type { NumberSet } from "../wire/number-set.ts";
import { PID } from "../wire/parameters.ts";
import { buildMessage, type DataToWrite, type MessageBuilder } from "../wire/write-message.ts";
import { writeKey, writeReader } from "./announcements.ts";

/** One reader of ours as peers see it. */
export interface OwnReader {
  readonly guid: string;
  readonly topic: string;
  readonly type: string;
  readonly qos: Qos;
}

const ENDS = { reader: ENTITY.subscriptionsReader, writer: ENTITY.subscriptionsWriter } as const;
/** Below what every network carries in one piece. */
const DATAGRAM_BYTES_MAX = 1_300;
/** Ends that somebody may still ask for. Whoever missed one that was dropped learns it when we leave. */
const ENDS_KEPT_MAX = 64;

/**
 * The reliable writer through which peers learn of our readers. It keeps what is still true, and some ends; everything else is told
 * as a gap.
 */
export class OwnReaders {
  readonly #prefix: string;
  readonly #entries = new Map<number, Pick<DataToWrite, "payload" | "endOf">>();
  readonly #sequences = new Map<string, number>();
  #ends: number[] = [];
  #last = 0;
  #heartbeats = 0;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  get last(): number {
    return this.#last;
  }

  add(reader: OwnReader): void {
    this.#last++;
    this.#sequences.set(reader.guid, this.#last);
    this.#entries.set(this.#last, { payload: writeReader(reader) });
  }

  end(guid: string): void {
    const announced = this.#sequences.get(guid);
    if (announced === undefined) return;
    this.#sequences.delete(guid);
    this.#entries.delete(announced);
    this.#last++;
    this.#entries.set(this.#last, writeKey(PID.endpointGuid, guid));
    this.#ends.push(this.#last);
    for (const dropped of this.#ends.splice(0, this.#ends.length - ENDS_KEPT_MAX)) this.#entries.delete(dropped);
  }

  /** Datagrams for one peer: everything from `from` on, and up to where that goes. */
  from(peer: string, from: number): readonly Uint8Array[] {
    return this.#datagrams(
      peer,
      Array.from({ length: Math.max(0, this.#last - from + 1) }, (_, index) => from + index),
    );
  }

  /** Datagrams for one peer that answer what it asks for. */
  answer(peer: string, set: NumberSet): readonly Uint8Array[] {
    const asked = set.members.filter((sequence) => sequence >= 1 && sequence <= this.#last);
    return asked.length === 0 ? [] : this.#datagrams(peer, asked);
  }

  heartbeat(peer: string): Uint8Array {
    return this.#withHeartbeat(buildMessage(this.#prefix).destination(peer)).bytes();
  }

  #datagrams(peer: string, sequences: readonly number[]): readonly Uint8Array[] {
    const datagrams: Uint8Array[] = [];
    let message = buildMessage(this.#prefix).destination(peer);
    for (const sequence of sequences) {
      const entry = this.#entries.get(sequence);
      if (entry === undefined) message.gap(ENDS, sequence, { base: sequence + 1, members: [] });
      else message.data({ ...ENDS, sequence, ...entry });
      if (message.bytes().byteLength < DATAGRAM_BYTES_MAX) continue;
      datagrams.push(message.bytes());
      message = buildMessage(this.#prefix).destination(peer);
    }
    return [...datagrams, this.#withHeartbeat(message).bytes()];
  }

  #withHeartbeat(message: MessageBuilder): MessageBuilder {
    this.#heartbeats++;
    let first = this.#last + 1;
    for (const sequence of this.#entries.keys()) first = Math.min(first, sequence);
    return message.heartbeat({ ...ENDS, first, last: this.#last, count: this.#heartbeats });
  }
}
