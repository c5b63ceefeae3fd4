import type { WriterAnnouncement } from "../discovery/announcements.ts";
import { bestOf, incompatibilities } from "../discovery/qos.ts";
import { LIMITS } from "../limits.ts";
import type { IncompatiblePolicy, Qos, Sample, SubscriptionQos, TopicReceived } from "../model.ts";
import { entityOf } from "../wire/identifiers.ts";
import { InboundStream, type StreamEnvironment } from "./inbound-stream.ts";
import { RateMeter } from "./rate-meter.ts";
import { openInput, type Input } from "./reliable-input.ts";

/** A sample on its way to the callback. */
export type Delivery = Omit<Sample, "sequence" | "writer">;

/** What a subscription needs of the engine that it belongs to. */
export interface SubscriptionHost {
  /** Announces a reader to every peer and returns its entity id. */
  addReader(reader: { readonly topic: string; readonly type: string; readonly qos: Qos }): number;
  removeReader(entity: number): void;
  readonly streams: Omit<StreamEnvironment<Delivery>, "deliver">;
  /** Something that `onSample` threw. */
  onFault(error: unknown): void;
}

export interface LocalSubscriptionOptions {
  /** DDS names. */
  readonly topic: string;
  readonly type: string;
  readonly qos: SubscriptionQos;
  readonly onSample: (sample: Sample) => void;
}

/**
 * One subscription. A fixed or latched one is one reader. An adaptive one has a reader for each kind of offer that it has met, and
 * every publisher is heard through the one that asks it for the most, and only through that.
 */
export class LocalSubscription {
  readonly options: LocalSubscriptionOptions;
  readonly #host: SubscriptionHost;
  readonly #meter: RateMeter;
  /** Entity ids by what they ask for. */
  readonly #readers = new Map<string, number>();
  readonly #inputs = new Map<string, Input<Delivery>>();
  readonly #incompatible = new Map<string, readonly IncompatiblePolicy[]>();
  #closed = false;

  constructor(options: LocalSubscriptionOptions, host: SubscriptionHost, nowMs: number) {
    this.options = options;
    this.#host = host;
    this.#meter = new RateMeter(nowMs);
    const asked = fixedQos(options.qos);
    if (asked !== undefined) this.#readerFor(asked);
  }

  get inputs(): Iterable<Input<Delivery>> {
    return this.#inputs.values();
  }

  inputOf(writer: string): Input<Delivery> | undefined {
    return this.#inputs.get(writer);
  }

  incompatibleWith(writer: string): readonly IncompatiblePolicy[] {
    return this.#incompatible.get(writer) ?? [];
  }

  /** Matches a writer that appeared or changed; returns the input when a reliable one is new, because it is to be asked what it has. */
  match(writer: WriterAnnouncement, nowMs: number): Input<Delivery> | undefined {
    if (this.#closed || writer.topic !== this.options.topic) return undefined;
    const asked = fixedQos(this.options.qos) ?? bestOf(writer.offer);
    const wrongType: readonly IncompatiblePolicy[] = writer.type === this.options.type ? [] : ["type"];
    const policies = [...wrongType, ...incompatibilities(writer.offer, asked)];
    if (policies.length > 0) {
      this.unmatch(writer.guid);
      this.#incompatible.set(writer.guid, policies);
      return undefined;
    }
    this.#incompatible.delete(writer.guid);
    const readerEntity = this.#readerFor(asked);
    if (this.#inputs.get(writer.guid)?.readerEntity === readerEntity) return undefined;
    this.unmatch(writer.guid);
    if (this.#inputs.size >= LIMITS.writersPerSubscriptionMax) {
      this.#host.streams.counters.refused++;
      return undefined;
    }
    const reliable = asked.reliability === "reliable";
    const stream = new InboundStream<Delivery>(
      { reliable, history: asked.durability === "transient-local" },
      { ...this.#host.streams, deliver: (sequence, item) => this.#deliver(writer.guid, sequence, item) },
    );
    const ends = { writer: writer.guid, writerEntity: entityOf(writer.guid), readerEntity, reliable, stream };
    const input = openInput(ends, nowMs);
    this.#inputs.set(writer.guid, input);
    return reliable ? input : undefined;
  }

  unmatch(writer: string): void {
    this.#inputs.get(writer)?.stream.close();
    this.#inputs.delete(writer);
    this.#incompatible.delete(writer);
  }

  received(nowMs: number, windowMs: number): TopicReceived {
    let liveWriters = 0;
    for (const { stream } of this.#inputs.values()) if (stream.delivered > 0) liveWriters++;
    return { ...this.#meter.read(nowMs, windowMs), liveWriters };
  }

  close(): void {
    this.#closed = true;
    for (const writer of this.#inputs.keys()) this.unmatch(writer);
    for (const entity of this.#readers.values()) this.#host.removeReader(entity);
    this.#readers.clear();
  }

  #readerFor(qos: Qos): number {
    const key = `${qos.reliability} ${qos.durability}`;
    const known = this.#readers.get(key);
    if (known !== undefined) return known;
    const entity = this.#host.addReader({ topic: this.options.topic, type: this.options.type, qos });
    this.#readers.set(key, entity);
    return entity;
  }

  #deliver(writer: string, sequence: number, item: Delivery): void {
    if (this.#closed) return;
    this.#meter.record(item.receivedAtMs);
    try {
      this.options.onSample({ ...item, writer, sequence });
    } catch (error) {
      this.#host.onFault(error);
    }
  }
}

function fixedQos(qos: SubscriptionQos): Qos | undefined {
  switch (qos) {
    case "adaptive":
      return undefined;
    case "latched":
      return { reliability: "reliable", durability: "transient-local" };
    default:
      return qos;
  }
}
