import { compilePathDecoder } from "@muto/dds/cdr/decode";
import type { Clock } from "@muto/kit/clock";
import { hasWriter, type DdsDomain } from "./dds-domain.ts";
import type { OnHeard } from "./line.ts";
import type { ProviderPlan, TopicPlan } from "./mapping.ts";
import type { MotionLimits } from "./meaning.ts";
import { definitionsOf } from "./message-types.ts";
import { repeatLatched } from "./repeat.ts";
import { createTopicBoard } from "./topic-board.ts";

export interface DdsProviderOptions {
  readonly domain: DdsDomain;
  readonly plan: ProviderPlan;
  readonly limits: MotionLimits;
  readonly clock: Clock;
  readonly onHeard: OnHeard;
}

/**
 * Signals straight from the DDS domain. A streamed topic ages from its last sample; a latched one is worth as much as the writer
 * of its last sample, which DDS itself declares dead when its lease is over (H6). Throws when a message type cannot be read;
 * the configuration is checked for that before.
 */
export function openDdsProvider({ domain, plan, limits, clock, onHeard }: DdsProviderOptions): AsyncDisposable {
  const stop = new AbortController();
  const board = createTopicBoard({
    plan,
    limits,
    nowMs: () => clock.monotonicMs(),
    onHeard,
    latchedAgeMs: ({ topic }, { source }) => (hasWriter(domain, topic, source) ? 0 : undefined),
  });
  const definitions = definitionsOf(plan.messages);
  const subscriptions = plan.topics.map((topic) => {
    const paths = topic.mappings.flatMap(({ path }) => path);
    const compiled = compilePathDecoder(topic.type, paths, definitions);
    if (!compiled.ok) throw new Error(`${topic.topic}: ${topic.type} cannot be read: ${compiled.problem.code}`);
    const { decoder } = compiled;
    return domain.subscribe({
      topic: topic.topic,
      type: topic.type,
      // A streamed topic's history is older than its receipt; it must not be heard as if it were new.
      qos: topic.latched ? "adaptive" : { reliability: "best-effort", durability: "volatile" },
      onSample: ({ payload, writer }) => {
        const decoded = decoder.decode(payload);
        if (decoded.ok) board.hear(topic, byMapping(topic, decoded.value), writer);
        else board.hearMalformed(topic);
      },
    });
  });
  const repeating = repeatLatched(plan, board, clock, stop.signal);
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      for (const subscription of subscriptions) subscription[Symbol.dispose]();
      await repeating;
    },
  };
}

/** The values of all paths, in their order, as one list per mapping. */
function byMapping({ mappings }: TopicPlan, values: readonly unknown[]): readonly (readonly unknown[])[] {
  let from = 0;
  return mappings.map(({ path }) => {
    const fields = values.slice(from, from + path.length);
    from += path.length;
    return fields;
  });
}
