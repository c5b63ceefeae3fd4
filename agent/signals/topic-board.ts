import { parseSignalLine } from "@muto/spec";
import type { SignalKey } from "../safety/signals.ts";
import type { Heard, OnHeard } from "./line.ts";
import type { ProviderPlan, TopicPlan } from "./mapping.ts";
import {
  isClosing,
  keyOf,
  lineOf,
  meaningOf,
  restrictionOf,
  type Meaning,
  type MeantValue,
  type MotionLimits,
} from "./meaning.ts";

/** What a provider of topics has heard, and what it makes of it: lines of signals, each as old as what it is made from. */
export interface TopicBoard {
  /** One message of a topic: per mapping the fields it names, in order. `source` tells one publisher from the next. */
  hear(topic: TopicPlan, fieldsByMapping: readonly (readonly unknown[])[], source: string): void;
  /** A message of this topic came that cannot be read at all. */
  hearMalformed(topic: TopicPlan): void;
  /** Says again what latched topics say, as long as their publishers live. */
  repeat(): void;
  /** Latched topics of which nothing was heard since the beginning, or since what was heard was forgotten. */
  unheardLatched(): readonly string[];
  /** What was heard so far no longer counts; what was already said ages. */
  forget(): void;
}

export interface TopicBoardOptions {
  readonly plan: ProviderPlan;
  readonly limits: MotionLimits;
  readonly nowMs: () => number;
  /** Milliseconds since the last sign of life of the publisher of a latched topic; undefined when it is gone. */
  readonly latchedAgeMs: (topic: TopicPlan, part: HeardPart) => number | undefined;
  readonly onHeard: OnHeard;
}

/** The newest of what one mapping has heard. */
export interface HeardPart {
  readonly meaning: Meaning;
  readonly receivedMs: number;
  readonly source: string;
}

/** One mapping with its place. */
interface Part {
  readonly topic: TopicPlan;
  readonly index: number;
  readonly isLatched: boolean;
}

/**
 * A signal that several topics speak of is known only when all of them were heard, and is as old as the oldest of them (H6); the
 * most restrictive wins. What closes a gate by itself is said at once, whatever the others do, so that it also voids a
 * technician's confirmation.
 */
export function createTopicBoard({ plan, limits, nowMs, latchedAgeMs, onHeard }: TopicBoardOptions): TopicBoard {
  const heard = new Map<TopicPlan, (HeardPart | undefined)[]>();
  const parts = partsByKey(plan);
  const repeated = [...parts].filter(([, all]) => all.some(({ isLatched }) => isLatched)).map(([key]) => key);

  const ageOf = (part: Part, heardPart: HeardPart): number | undefined =>
    part.isLatched ? latchedAgeMs(part.topic, heardPart) : Math.max(0, nowMs() - heardPart.receivedMs);
  const say = (key: SignalKey) => {
    const said = combine(key, (parts.get(key) ?? []).map(seen), limits);
    if (said !== undefined) onHeard(heardLine(key, said.meaning), said.ageMs);
  };
  const seen = (part: Part): SeenPart | undefined => {
    const heardPart = heard.get(part.topic)?.[part.index];
    const ageMs = heardPart === undefined ? undefined : ageOf(part, heardPart);
    return heardPart === undefined || ageMs === undefined ? undefined : { meaning: heardPart.meaning, ageMs };
  };
  const take = (topic: TopicPlan, meanings: readonly Meaning[], source: string) => {
    const receivedMs = nowMs();
    heard.set(
      topic,
      meanings.map((meaning) => ({ meaning, receivedMs, source })),
    );
    for (const key of new Set(topic.mappings.map(keyOf))) say(key);
  };
  return {
    hear: (topic, fieldsByMapping, source) => {
      const meanings = topic.mappings.map((mapping, index) =>
        meaningOf(mapping, fieldsByMapping[index] ?? [undefined]),
      );
      take(topic, meanings, source);
    },
    hearMalformed: (topic) => {
      const meanings = topic.mappings.map(() => ({ kind: "malformed" as const }));
      take(topic, meanings, "");
    },
    repeat: () => {
      for (const key of repeated) say(key);
    },
    unheardLatched: () => plan.topics.filter((topic) => topic.latched && !heard.has(topic)).map(({ topic }) => topic),
    forget: () => heard.clear(),
  };
}

interface SeenPart {
  readonly meaning: Meaning;
  readonly ageMs: number;
}

/** Undefined: there is nothing to say yet, and what was said before ages. */
function combine(key: SignalKey, seen: readonly (SeenPart | undefined)[], limits: MotionLimits): SeenPart | undefined {
  const present = seen.filter((part) => part !== undefined);
  const valued = present.flatMap(({ meaning, ageMs }) =>
    meaning.kind === "value" ? [{ value: meaning.value, ageMs }] : [],
  );
  const closing = valued.filter(({ value }) => isClosing(key, value, limits));
  if (closing.length > 0) return said(key, closing, Math.min(...closing.map(({ ageMs }) => ageMs)));
  if (present.length < seen.length) return undefined;
  const ageMs = Math.max(0, ...present.map((part) => part.ageMs));
  if (present.some(({ meaning }) => meaning.kind === "malformed")) return { meaning: { kind: "malformed" }, ageMs };
  const isKnown = valued.length > 0 && !present.some(({ meaning }) => meaning.kind === "unknown");
  return isKnown ? said(key, valued, ageMs) : { meaning: { kind: "unknown" }, ageMs };
}

function said(key: SignalKey, valued: readonly { readonly value: MeantValue }[], ageMs: number): SeenPart | undefined {
  const [worst] = valued.toSorted((a, b) => restrictionOf(key, b.value) - restrictionOf(key, a.value));
  return worst === undefined ? undefined : { meaning: { kind: "value", value: worst.value }, ageMs };
}

/** A value that the contract has no place for is malformed: 900 m/s, a change id that is none. */
function heardLine(key: SignalKey, meaning: Meaning): Heard {
  if (meaning.kind === "malformed") return { kind: "malformed", keys: [key] };
  const line = parseSignalLine(lineOf(key, meaning.kind === "value" ? meaning.value : null));
  return line.ok ? line.value : { kind: "malformed", keys: [key] };
}

function partsByKey({ topics }: ProviderPlan): ReadonlyMap<SignalKey, readonly Part[]> {
  const all = topics.flatMap((topic) =>
    topic.mappings.map((mapping, index) => ({ key: keyOf(mapping), topic, index, isLatched: mapping.latched })),
  );
  return Map.groupBy(all, ({ key }) => key);
}
