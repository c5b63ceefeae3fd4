import { endedGuid, readParticipant, readWriter, writeKey, writeParticipant } from "./discovery/announcements.ts";
import { OwnReaders } from "./discovery/own-readers.ts";
import {
  hasRoomForWriter,
  isExpired,
  isLoopback,
  reachedAt,
  type RemoteParticipant,
} from "./discovery/remote-participant.ts";
import { LIMITS } from "./limits.ts";
import type { ReceiveCounters } from "./model.ts";
import type { Address } from "./network.ts";
import { FragmentAssembler } from "./reader/fragments.ts";
import { InboundStream } from "./reader/inbound-stream.ts";
import { LocalSubscription, type Delivery, type LocalSubscriptionOptions } from "./reader/local-subscription.ts";
import {
  answer,
  hearHeartbeat,
  inputIsDue,
  openInput,
  type AnsweringSide,
  type Input,
} from "./reader/reliable-input.ts";
import { ENTITY, guidOf, PREFIX_BYTES, readerEntity as entityOfReader } from "./wire/identifiers.ts";
import { PID } from "./wire/parameters.ts";
import {
  readMessage,
  type DataSubmessage,
  type FragmentSubmessage,
  type HeartbeatSubmessage,
  type Submessage,
} from "./wire/read-message.ts";
import { buildMessage } from "./wire/write-message.ts";

export interface EngineOptions {
  /** 24 hexadecimal digits. */
  readonly prefix: string;
  /** Where peers reach us. */
  readonly address: Address;
  /** How long peers believe in us without hearing from us. */
  readonly leaseMs: number;
  /** Everywhere that our existence is announced: groups and ports of peers. */
  readonly announceTo: readonly Address[];
  readonly send: (bytes: Uint8Array, to: Address) => void;
  readonly onChange: () => void;
  /** Something that a subscriber's callback threw. */
  readonly onFault: (error: unknown) => void;
}

/** Soon at first, because a peer that starts at the same time may have missed it. */
const ANNOUNCE_AFTER_MS: readonly number[] = [0, 100, 200, 500, 1_000, 2_000];
const ANNOUNCE_EVERY_MS_MAX = 3_000;
const ANNOUNCEMENTS_PER_LEASE = 4;
const ANSWER_PEER_EVERY_MS = 20;
const REMIND_FIRST_MS = 200;
const REMIND_EVERY_MS_MAX = 5_000;

/**
 * The protocol without the world: datagrams and the passing of time go in, datagrams come out. Nothing that comes in throws, and
 * everything it leaves behind is within `LIMITS`.
 */
export class Engine {
  readonly counters = { datagrams: 0, malformed: 0, foreign: 0, refused: 0, duplicates: 0, lost: 0 };
  readonly participants = new Map<string, RemoteParticipant>();
  readonly subscriptions = new Set<LocalSubscription>();
  readonly #options: EngineOptions;
  readonly #loopbackOnly: boolean;
  readonly #announcement: Uint8Array;
  readonly #announceEveryMs: number;
  readonly #ownReaders: OwnReaders;
  readonly #assembler = new FragmentAssembler(this.counters);
  readonly #answering: AnsweringSide;
  readonly #budget = { left: LIMITS.heldBytesMax };
  /** The time of what is being handled. */
  #nowMs = 0;
  #writers = 0;
  #readers = 0;
  #announcements = 0;
  #announceAtMs: number | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#loopbackOnly = isLoopback(options.address.host);
    this.#ownReaders = new OwnReaders(options.prefix);
    this.#answering = { prefix: options.prefix, assembler: this.#assembler, answers: 0 };
    const payload = writeParticipant({ prefix: options.prefix, leaseMs: options.leaseMs, address: options.address });
    this.#announceEveryMs = Math.min(ANNOUNCE_EVERY_MS_MAX, options.leaseMs / ANNOUNCEMENTS_PER_LEASE);
    this.#announcement = buildMessage(options.prefix)
      .data({ reader: ENTITY.participantReader, writer: ENTITY.participantWriter, sequence: 1, payload })
      .bytes();
  }

  /** Bytes of incomplete and waiting samples that are held at this moment. */
  get heldBytes(): number {
    return LIMITS.heldBytesMax - this.#budget.left + this.#assembler.bytes;
  }

  /** Whether a live participant has that writer. */
  hasWriter(guid: string): boolean {
    return this.participants.get(guid.slice(0, PREFIX_BYTES * 2))?.writers.has(guid) === true;
  }

  /** Wakes whoever watches, for what changed outside of the engine. */
  changed(): void {
    this.#options.onChange();
  }

  subscribe(options: LocalSubscriptionOptions, nowMs: number): LocalSubscription {
    if (this.subscriptions.size >= LIMITS.subscriptionsMax)
      throw new RangeError(`at most ${LIMITS.subscriptionsMax} subscriptions`);
    this.#nowMs = nowMs;
    const subscription = new LocalSubscription(options, this.#host(), nowMs);
    this.subscriptions.add(subscription);
    for (const peer of this.participants.values())
      for (const writer of peer.writers.values()) this.#ask(peer, subscription.match(writer, nowMs));
    return subscription;
  }

  unsubscribe(subscription: LocalSubscription): void {
    if (this.subscriptions.delete(subscription)) subscription.close();
  }

  /** Handles one datagram. */
  receive(datagram: Uint8Array, from: Address, nowMs: number): void {
    this.#nowMs = nowMs;
    this.counters.datagrams++;
    if (this.#loopbackOnly && !isLoopback(from.host)) {
      this.counters.foreign++;
      return;
    }
    const message = readMessage(datagram, this.#options.prefix);
    if (message === undefined || message.malformed) this.counters.malformed++;
    if (message === undefined || message.prefix === this.#options.prefix) return;
    const known = this.participants.get(message.prefix);
    if (known !== undefined) known.lastHeardMs = nowMs;
    for (const submessage of message.submessages) {
      if (submessage.writer === ENTITY.participantWriter) {
        if (submessage.kind === "data") this.#hearParticipant(message.prefix, message.vendor, submessage, from);
        continue;
      }
      const peer = this.participants.get(message.prefix);
      if (peer !== undefined) this.#hearPeer(peer, submessage, datagram.byteLength);
    }
  }

  /** Does what is due; to be called every tenth of a second or so. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#announceAtMs ??= nowMs;
    if (nowMs >= this.#announceAtMs) this.#announce(nowMs);
    for (const peer of this.participants.values()) {
      if (isExpired(peer, nowMs)) {
        this.#drop(peer);
        continue;
      }
      if (inputIsDue(peer.publications, nowMs)) {
        // A peer that has never said what it publishes may not have heard our greeting: its receivers start late.
        if (!peer.publications.stream.synchronized) this.#options.send(this.#announcement, peer.address);
        this.#answer(peer, peer.publications, peer.address);
      }
      if (peer.acknowledged < this.#ownReaders.last && nowMs >= peer.remindAgainMs) this.#remind(peer);
    }
    for (const subscription of this.subscriptions)
      for (const input of subscription.inputs) {
        if (!inputIsDue(input, nowMs)) continue;
        const peer = this.participants.get(input.writer.slice(0, PREFIX_BYTES * 2));
        if (peer !== undefined) this.#answer(peer, input, peer.userAddress);
      }
    this.#assembler.expire(nowMs);
  }

  /** Says goodbye: peers forget us at once instead of when the lease ends. */
  leave(): void {
    for (const subscription of this.subscriptions) this.unsubscribe(subscription);
    const key = writeKey(PID.participantGuid, guidOf(this.#options.prefix, ENTITY.participant));
    const goodbye = buildMessage(this.#options.prefix)
      .data({ reader: ENTITY.participantReader, writer: ENTITY.participantWriter, sequence: 2, ...key })
      .bytes();
    for (const to of this.#everywhere()) this.#options.send(goodbye, to);
  }

  // ── Peers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #hearParticipant(prefix: string, vendor: number, data: DataSubmessage, from: Address): void {
    if (data.change === "ended") {
      const peer = this.participants.get(prefix);
      const ended = endedGuid(data.payload, data.keyHash, PID.participantGuid);
      if (peer !== undefined && ended === guidOf(prefix, ENTITY.participant)) this.#drop(peer);
      return;
    }
    const announced = data.payload === undefined ? undefined : readParticipant(data.payload);
    if (announced === undefined || announced.guid !== guidOf(prefix, ENTITY.participant)) {
      this.counters.malformed++;
      return;
    }
    const reached = reachedAt(announced, from, this.#loopbackOnly);
    const known = this.participants.get(prefix);
    if (known !== undefined) {
      Object.assign(known, reached, { leaseMs: announced.leaseMs });
      return;
    }
    if (this.participants.size >= LIMITS.participantsMax) {
      this.counters.refused++;
      return;
    }
    this.#welcome(this.#newPeer({ prefix, vendor, leaseMs: announced.leaseMs, ...reached }));
  }

  #newPeer(
    said: Pick<RemoteParticipant, "prefix" | "vendor" | "leaseMs" | "address" | "userAddress">,
  ): RemoteParticipant {
    const stream = new InboundStream<DataSubmessage>(
      { reliable: true, history: true },
      {
        deliver: (_sequence, item) => this.#hearPublication(peer, item),
        budget: this.#budget,
        counters: this.counters,
      },
    );
    const ends = { writerEntity: ENTITY.publicationsWriter, readerEntity: ENTITY.publicationsReader, reliable: true };
    const writer = guidOf(said.prefix, ENTITY.publicationsWriter);
    const peer: RemoteParticipant = {
      ...said,
      lastHeardMs: this.#nowMs,
      publications: openInput({ ...ends, writer, stream }, this.#nowMs),
      writers: new Map(),
      acknowledged: 0,
      answeredMs: -Infinity,
      remindAgainMs: this.#nowMs + REMIND_FIRST_MS,
      remindEveryMs: REMIND_FIRST_MS,
    };
    return peer;
  }

  /** Tells a new peer at once what it would otherwise learn at the next announcement. */
  #welcome(peer: RemoteParticipant): void {
    this.participants.set(peer.prefix, peer);
    this.#options.send(this.#announcement, peer.address);
    for (const datagram of this.#ownReaders.from(peer.prefix, 1)) this.#options.send(datagram, peer.address);
    this.#answer(peer, peer.publications, peer.address);
    this.#options.onChange();
  }

  #drop(peer: RemoteParticipant): void {
    this.participants.delete(peer.prefix);
    peer.publications.stream.close();
    for (const writer of peer.writers.values()) this.#forgetWriter(peer, writer.guid);
    this.#options.onChange();
  }

  // ── What peers say ──────────────────────────────────────────────────────────────────────────────────────────────────

  #hearPeer(peer: RemoteParticipant, submessage: Submessage, datagramBytes: number): void {
    switch (submessage.kind) {
      case "data":
        if (submessage.writer === ENTITY.publicationsWriter)
          peer.publications.stream.data(submessage.sequence, submessage, datagramBytes);
        else this.#hearData(peer, submessage, datagramBytes);
        return;
      case "fragment":
        this.#hearFragment(peer, submessage);
        return;
      case "heartbeat":
        this.#hearHeartbeat(peer, submessage);
        return;
      case "gap":
        for (const input of this.#inputs(peer, submessage)) input.stream.gap(submessage.start, submessage.set);
        return;
      case "acknowledgement":
        this.#hearAcknowledgement(peer, submessage);
        return;
      case "heartbeat-fragment":
      case "fragment-request":
        // The next heartbeat asks for what is missing; and nothing of ours is large enough for fragments.
        return;
    }
  }

  #hearPublication(peer: RemoteParticipant, data: DataSubmessage): void {
    if (data.change === "ended") {
      const guid = endedGuid(data.payload, data.keyHash, PID.endpointGuid);
      if (guid === undefined || !peer.writers.has(guid)) return;
      this.#forgetWriter(peer, guid);
      this.#options.onChange();
      return;
    }
    const writer = data.payload === undefined ? undefined : readWriter(data.payload);
    // A participant speaks for its own writers only.
    if (writer === undefined || !writer.guid.startsWith(peer.prefix)) {
      this.counters.malformed++;
      return;
    }
    if (!peer.writers.has(writer.guid)) {
      if (!hasRoomForWriter(peer, this.#writers)) {
        this.counters.refused++;
        return;
      }
      this.#writers++;
    }
    peer.writers.set(writer.guid, writer);
    for (const subscription of this.subscriptions) this.#ask(peer, subscription.match(writer, this.#nowMs));
    this.#options.onChange();
  }

  #forgetWriter(peer: RemoteParticipant, guid: string): void {
    if (peer.writers.delete(guid)) this.#writers--;
    for (const subscription of this.subscriptions) subscription.unmatch(guid);
    this.#assembler.forget((writer) => writer === guid);
  }

  #hearData(peer: RemoteParticipant, data: DataSubmessage & Ends, datagramBytes: number): void {
    if (data.payload === undefined || data.change === "ended") return;
    const delivery: Delivery = deliveryOf(data.payload, data.sourceTimestampMs, this.#nowMs);
    for (const input of this.#userInputs(peer, data)) input.stream.data(data.sequence, delivery, datagramBytes);
  }

  #hearFragment(peer: RemoteParticipant, fragment: FragmentSubmessage & Ends): void {
    // A sample is the same for every reader, so fragments that are meant for one complete it for all that are under way.
    const inputs = [...this.#userInputs(peer, { ...fragment, reader: ENTITY.unknown })].filter(
      ({ stream, readerEntity }) =>
        stream.wants(fragment.sequence) &&
        (fragment.reader === ENTITY.unknown || fragment.reader === readerEntity || stream.synchronized),
    );
    if (inputs.length === 0) return;
    const writer = guidOf(peer.prefix, fragment.writer);
    const assembled = this.#assembler.add(writer, fragment, this.#nowMs);
    switch (assembled.kind) {
      case "malformed":
        this.counters.malformed++;
        return;
      case "refused":
        this.counters.refused++;
        return;
      case "incomplete":
        return;
      case "complete": {
        const delivery = deliveryOf(assembled.payload, assembled.sourceTimestampMs, this.#nowMs);
        for (const { stream } of inputs) stream.data(fragment.sequence, delivery, assembled.payload.byteLength);
      }
    }
  }

  #hearHeartbeat(peer: RemoteParticipant, heartbeat: HeartbeatSubmessage & Ends): void {
    for (const input of this.#inputs(peer, heartbeat)) {
      const address = input === peer.publications ? peer.address : peer.userAddress;
      if (hearHeartbeat(input, heartbeat, this.#nowMs)) this.#answer(peer, input, address);
    }
  }

  /** A peer says which of our readers it has heard of, and which it wants to hear again. */
  #hearAcknowledgement(
    peer: RemoteParticipant,
    { reader, writer, set }: Extract<Submessage, { kind: "acknowledgement" }>,
  ): void {
    if (writer !== ENTITY.subscriptionsWriter) {
      if (set.base === 0) this.#sayNothingThere(peer, { reader, writer });
      return;
    }
    // A peer that forgot us, because one of the two stood still for too long, begins again and must be told everything again.
    const acknowledged = Math.min(this.#ownReaders.last, Math.max(0, set.base - 1));
    if (acknowledged < peer.acknowledged) this.#remindSoon(peer);
    peer.acknowledged = acknowledged;
    // Small questions have large answers, so they are rare; whoever still lacks something is reminded and asks again.
    if (set.members.length === 0 || this.#nowMs - peer.answeredMs < ANSWER_PEER_EVERY_MS) return;
    peer.answeredMs = this.#nowMs;
    for (const datagram of this.#ownReaders.answer(peer.prefix, set)) this.#options.send(datagram, peer.address);
  }

  /** Fast DDS asks for a writer of liveliness messages, announced or not, and goes on until it hears that there is nothing. */
  #sayNothingThere(peer: RemoteParticipant, ends: Ends): void {
    const message = buildMessage(this.#options.prefix).destination(peer.prefix);
    this.#options.send(message.heartbeat({ ...ends, first: 1, last: 0, count: 1, final: true }).bytes(), peer.address);
  }

  // ── What we say ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #announce(nowMs: number): void {
    this.#announcements++;
    const startedMs = (this.#announceAtMs ?? nowMs) - (ANNOUNCE_AFTER_MS[this.#announcements - 1] ?? 0);
    const soon = ANNOUNCE_AFTER_MS[this.#announcements];
    this.#announceAtMs = soon === undefined ? nowMs + this.#announceEveryMs : startedMs + soon;
    for (const to of this.#everywhere()) this.#options.send(this.#announcement, to);
  }

  #remind(peer: RemoteParticipant): void {
    peer.remindEveryMs = Math.min(REMIND_EVERY_MS_MAX, peer.remindEveryMs * 2);
    peer.remindAgainMs = this.#nowMs + peer.remindEveryMs;
    this.#options.send(this.#ownReaders.heartbeat(peer.prefix), peer.address);
  }

  #remindSoon(peer: RemoteParticipant): void {
    peer.remindEveryMs = REMIND_FIRST_MS;
    peer.remindAgainMs = this.#nowMs + REMIND_FIRST_MS;
  }

  #answer(peer: RemoteParticipant, input: Input<unknown>, to: Address): void {
    this.#options.send(answer(this.#answering, peer, input), to);
  }

  /** Asks a newly matched reliable writer for what it has. */
  #ask(peer: RemoteParticipant, input: Input<Delivery> | undefined): void {
    if (input !== undefined) this.#answer(peer, input, peer.userAddress);
  }

  *#everywhere(): Generator<Address> {
    yield* this.#options.announceTo;
    for (const { address } of this.participants.values()) yield address;
  }

  // ── Streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  *#inputs(peer: RemoteParticipant, ends: Ends): Generator<Input<unknown>> {
    if (ends.writer === ENTITY.publicationsWriter) yield peer.publications;
    else yield* this.#userInputs(peer, ends);
  }

  /** The inputs of one writer: of every matched subscription, or of the reader that is named. */
  *#userInputs(peer: RemoteParticipant, { reader, writer }: Ends): Generator<Input<Delivery>> {
    const guid = guidOf(peer.prefix, writer);
    for (const subscription of this.subscriptions) {
      const input = subscription.inputOf(guid);
      if (input !== undefined && (reader === ENTITY.unknown || reader === input.readerEntity)) yield input;
    }
  }

  #host(): ConstructorParameters<typeof LocalSubscription>[1] {
    return {
      addReader: (reader) => {
        this.#readers++;
        const entity = entityOfReader(this.#readers);
        this.#ownReaders.add({ ...reader, guid: guidOf(this.#options.prefix, entity) });
        this.#tellPeers();
        return entity;
      },
      removeReader: (entity) => {
        this.#ownReaders.end(guidOf(this.#options.prefix, entity));
        this.#tellPeers();
      },
      streams: { budget: this.#budget, counters: this.counters },
      onFault: this.#options.onFault,
    };
  }

  /** The newest word about our readers, to everybody. */
  #tellPeers(): void {
    for (const peer of this.participants.values()) {
      this.#remindSoon(peer);
      const { last } = this.#ownReaders;
      for (const datagram of this.#ownReaders.from(peer.prefix, last)) this.#options.send(datagram, peer.address);
    }
  }
}

interface Ends {
  readonly reader: number;
  readonly writer: number;
}

function deliveryOf(payload: Uint8Array, sourceTimestampMs: number | undefined, receivedAtMs: number): Delivery {
  return sourceTimestampMs === undefined ? { payload, receivedAtMs } : { payload, receivedAtMs, sourceTimestampMs };
}

/** The counters as others see them. */
export function countersOf(engine: Engine): ReceiveCounters {
  return { ...engine.counters };
}
