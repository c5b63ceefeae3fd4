import type { AgentConfig, AgentView } from "@muto/spec";
import type { GraphReader } from "../ports.ts";
import { gateContext, type ObserveServices } from "../observe.ts";
import type { Observed } from "../reconcile/observed.ts";
import type { Step } from "../reconcile/step.ts";
import { judgeClock } from "../safety/clock-trust.ts";
import { evaluateGates } from "../safety/gates.ts";
import type { NewestSamples, Sample, SignalSamples } from "../safety/signals.ts";
import { clockNow } from "../offers.ts";

/** What a technician asks of a running agent, without the heartbeat and the cloud, which others know. */
export type LoopView = Pick<AgentView, "status" | "clock" | "providers" | "gate">;

/** Reads signals, disk and gates anew; `step` is what the loop did last. */
export async function viewOf(services: ObserveServices, observed: Observed, step: Step | undefined): Promise<LoopView> {
  const samples = await services.signals.read();
  const freeMb = await services.sets.freeBytes().then(
    (bytes) => Math.floor(bytes / 1_000_000),
    () => null,
  );
  const known = { releases: observed.releases, disk: { ...observed.disk, freeMb } };
  const verdict = evaluateGates(gateContext(services, samples, known, "switch"));
  return {
    status: { step: stepName(step), reasonCodes: step?.kind === "hold" ? [...new Set(step.reasons)] : [] },
    clock: { trusted: judgeClock(services.store.state.time, clockNow(services)).trusted },
    providers: providersOf(services.config.signals.providers, samples, services.clock.monotonicMs()),
    gate: verdict.open
      ? { open: true, refusals: [] }
      : { open: false, refusals: verdict.refusals.map(({ evidence }) => evidence) },
  };
}

/** Every configured provider with the newest sample of each key that it ever gave. */
export function providersOf(
  configured: readonly { readonly name: string }[],
  { providers }: SignalSamples,
  nowMs: number,
): AgentView["providers"] {
  return configured.map(({ name }) => {
    const heard = providers.get(name);
    return { name, lastLine: heard?.lastLine ?? "none", samples: samplesOf(heard?.samples ?? {}, nowMs) };
  });
}

const GRAPH_MS_MAX = 2_000;

/** Whether the provider of the ROS graph shows one; undefined where the vehicle has no such provider. */
export async function graphView(
  graph: GraphReader | undefined,
  { signals }: Pick<AgentConfig, "signals">,
): Promise<AgentView["graph"]> {
  if (graph === undefined) return undefined;
  const provider = signals.providers.find(({ kind }) => kind === "dds" || kind === "rosbridge")?.name ?? "graph";
  return { provider, seen: (await graph.node("/muto_check", AbortSignal.timeout(GRAPH_MS_MAX))) !== null };
}

function samplesOf(samples: NewestSamples, nowMs: number): AgentView["providers"][number]["samples"] {
  return Object.entries(samples).map(([key, sample]) => ({
    key,
    value: plain(sample.value),
    ageMs: Math.max(0, Math.round(nowMs - sample.takenMs)),
  }));
}

/** A hold is the one value with parts; who and why are what a technician wants to see of it. */
function plain(value: Sample<NonNullable<NewestSamples[keyof NewestSamples]>["value"]>["value"]) {
  if (value === null || typeof value !== "object") return value;
  return value.held ? `held by ${value.who ?? "somebody"}: ${value.why ?? "other"}` : "not held";
}

/** In the words of a name, as the contract has it: `fetchRelease` is fetch-release. */
function stepName(step: Step | undefined): string {
  if (step === undefined) return "starting";
  return step.kind.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
