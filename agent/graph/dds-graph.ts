import { compilePathDecoder, type PathDecoder } from "@muto/dds/cdr/decode";
import { KNOWN_MESSAGES } from "@muto/dds/messages/interfaces";
import type { Clock } from "@muto/kit/clock";
import type { GraphReader } from "../ports.ts";
import { hasWriter, type DdsDomain } from "../signals/dds-domain.ts";
import { createDiagnostics, DIAGNOSTICS, type Diagnostics } from "./diagnostics.ts";
import { primaryState, TRANSITION_EVENT } from "./lifecycle.ts";
import { createWatches, every } from "./watches.ts";

export interface DdsGraphOptions {
  readonly domain: DdsDomain;
  readonly clock: Clock;
}

/** Peers announce themselves within seconds; before that a node that is not seen may well be there. */
const DISCOVERY_MS = 3_000;
const SWEEP_MS = 30_000;

/**
 * The ROS graph straight from DDS discovery. It calls no services: RMWs write them in ways of their own. A lifecycle state is
 * therefore known from the first transition after the first question on, while the node that told it lives.
 */
export function openDdsGraph({ domain, clock }: DdsGraphOptions): GraphReader & AsyncDisposable {
  const stop = new AbortController();
  const rates = createWatches<null>(clock);
  const states = createWatches<LastTransition>(clock);
  const statuses = createWatches<Diagnostics>(clock);
  const goalState = decoderOf(TRANSITION_EVENT.type, ["goal_state.id"]);
  const levels = decoderOf(DIAGNOSTICS.type, ["status[*].name", "status[*].level"]);
  const running = every(SWEEP_MS, clock, stop.signal, async () => {
    for (const watches of [rates, states, statuses]) watches.sweep();
  });
  const begin = <Value>(value: Value, topic: string, type: string, onSample: SampleHandler) => ({
    value,
    sinceMs: clock.monotonicMs(),
    subscription: domain.subscribe({ topic, type, qos: "adaptive", onSample }),
  });
  return {
    node: async (name) => {
      const joined = domain.joined();
      if (joined === undefined) return null;
      if (joined.participant.graph().nodes.some((node) => node.name === name)) return true;
      return clock.monotonicMs() - joined.sinceMs >= DISCOVERY_MS ? false : null;
    },
    topic: async ({ topic, messageType, windowSec }) => {
      const watched = rates.ask(topic, () => begin(null, topic, messageType, () => {}));
      const joined = domain.joined();
      if (joined === undefined || watched === undefined) return null;
      const { publishers, received } = joined.participant.topic(topic, windowSec * 1000);
      const watchedMs = clock.monotonicMs() - Math.max(watched.sinceMs, joined.sinceMs);
      return {
        hz: received?.rateHz ?? 0,
        ageMs: received?.newestAgeMs ?? null,
        publishers,
        isWindowFull: watchedMs >= windowSec * 1000,
      };
    },
    lifecycle: async (node) => {
      const topic = `${node}/${TRANSITION_EVENT.name}`;
      const watched = states.ask(node, () => {
        const last: LastTransition = { state: null, writer: "" };
        return begin(last, topic, TRANSITION_EVENT.type, ({ payload, writer }) => {
          const decoded = goalState.decode(payload);
          Object.assign(last, { writer, state: decoded.ok ? primaryState(decoded.value[0]) : null });
        });
      });
      const { state, writer } = watched?.value ?? { state: null, writer: "" };
      return writer !== "" && hasWriter(domain, topic, writer) ? state : null;
    },
    trigger: async () => null,
    diagnostics: async () => {
      const watched = statuses.ask(DIAGNOSTICS.topic, () => {
        const newest = createDiagnostics();
        return begin(newest, DIAGNOSTICS.topic, DIAGNOSTICS.type, ({ payload }) => {
          const decoded = levels.decode(payload);
          const [names, found] = decoded.ok ? decoded.value : [];
          if (!Array.isArray(names) || !isList(found)) return;
          for (const [index, name] of names.entries()) newest.record(name, found[index], clock.monotonicMs());
        });
      });
      return domain.joined() === undefined ? null : (watched?.value.read(clock.monotonicMs()) ?? null);
    },
    watch: (onChange) => {
      const watch = domain.watch(onChange);
      return { [Symbol.asyncDispose]: async () => watch[Symbol.dispose]() };
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

interface LastTransition {
  readonly state: number | null;
  readonly writer: string;
}

type SampleHandler = Parameters<DdsDomain["subscribe"]>[0]["onSample"];

function decoderOf(type: string, paths: readonly string[]): PathDecoder {
  const compiled = compilePathDecoder(type, paths, KNOWN_MESSAGES);
  if (!compiled.ok) throw new Error(`${type} is not among the known messages as it should be`);
  return compiled.decoder;
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}
