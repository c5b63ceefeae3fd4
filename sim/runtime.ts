import type { Instance, PrepareResult, ProbeSeen, Prober, Runtime, SetOnDisk, StartResult } from "@muto/agent/ports";
import { ModelGraph } from "@muto/agent/model/graph";
import { isGraphProbe } from "@muto/agent/reconcile/graph-probe";
import { lookAtGraph, met, notMet } from "@muto/agent/runtime/prober-graph";
import type { Clock } from "@muto/kit/clock";
import type { Probe, Workload } from "@muto/spec";

/**
 * How a simulated workload behaves. A release says so itself, in the environment of its workloads: MUTO_SIM_READY_MS
 * (milliseconds until its probes are met; `never`), MUTO_SIM_EXIT_MS (milliseconds until it dies by itself), MUTO_SIM_DRIFT_MS
 * (milliseconds until its part of the ROS graph is gone although it runs).
 */
interface Behaviour {
  readonly readyMs: number;
  readonly exitMs: number;
  readonly driftMs: number;
}

const READY_MS = 200;
const WELL: Behaviour = { readyMs: READY_MS, exitMs: Number.POSITIVE_INFINITY, driftMs: Number.POSITIVE_INFINITY };
const OUTPUT = Buffer.from("simulated workload\n");

/** Workloads that are entries in a map. Outlives the agents that use it, as real workloads do. */
export class SimulatedRuntime implements Runtime, Prober {
  readonly #clock: Clock;
  readonly #bootId: string;
  readonly #instances = new Map<string, Instance>();
  readonly #behaviours = new Map<string, Behaviour>();
  /** Of the vehicle's ROS stack; whatever is asked for is well until a fault is set. */
  readonly graph = new ModelGraph();
  readonly #emptyGraph = new ModelGraph();
  readonly #watchers = new Set<() => void>();
  /** Every start and stop in order: the ground truth that claims are compared with. */
  readonly history: { readonly what: "start" | "stop" | "exit"; readonly set: string; readonly workload: string }[] =
    [];

  constructor(options: { readonly clock: Clock; readonly bootId: string }) {
    this.#emptyGraph.isEmpty = true;
    this.#clock = options.clock;
    this.#bootId = options.bootId;
  }

  async prepare(): Promise<PrepareResult> {
    return { ok: true };
  }

  async verify(): Promise<boolean> {
    return true;
  }

  async start(set: SetOnDisk, workload: Workload, instanceId: string): Promise<StartResult> {
    const behaviour = behaviourOf(workload);
    this.#behaviours.set(instanceId, behaviour);
    this.#instances.set(instanceId, {
      instanceId,
      set: set.manifestDigest,
      workload: workload.name,
      configHash: configHashOf(workload),
      bootId: this.#bootId,
      startedAtMs: this.#clock.wallMs(),
      isolation: "full",
      state: { kind: "running", pid: this.#instances.size + 2, supervised: true },
    });
    this.history.push({ what: "start", set: set.manifestDigest, workload: workload.name });
    if (Number.isFinite(behaviour.exitMs)) void this.#dieLater(instanceId, behaviour.exitMs);
    this.#changed();
    return { ok: true };
  }

  async stop(instanceId: string): Promise<{ readonly ok: true }> {
    this.#end(instanceId, { requested: true, code: 0, what: "stop" });
    return { ok: true };
  }

  async inspect(): Promise<readonly Instance[]> {
    return [...this.#instances.values()];
  }

  watch(onChange: () => void): AsyncDisposable {
    this.#watchers.add(onChange);
    return {
      [Symbol.asyncDispose]: async () => {
        this.#watchers.delete(onChange);
      },
    };
  }

  async collect(_instanceId: string, bytesMax: number): Promise<Uint8Array> {
    return OUTPUT.subarray(0, bytesMax);
  }

  async forget(instanceId: string): Promise<void> {
    this.#instances.delete(instanceId);
    this.#behaviours.delete(instanceId);
  }

  async look(probe: Probe, instance: Instance | undefined, signal: AbortSignal): Promise<ProbeSeen> {
    if (instance === undefined || instance.state.kind !== "running") return notMet("not-running", true, null, null);
    if (probe.kind === "process") return met(true, true, 0);
    const { readyMs, driftMs } = this.#behaviours.get(instance.instanceId) ?? WELL;
    const sinceMs = this.#clock.wallMs() - instance.startedAtMs;
    if (sinceMs < readyMs) return notMet("unreachable", true, false, 0);
    if (!isGraphProbe(probe)) return met(true, true, 0);
    return await lookAtGraph(probe, sinceMs < driftMs ? this.graph : this.#emptyGraph, signal);
  }

  async #dieLater(instanceId: string, ms: number): Promise<void> {
    await this.#clock.sleep(ms);
    this.#end(instanceId, { requested: false, code: 1, what: "exit" });
  }

  #end(
    instanceId: string,
    how: { readonly requested: boolean; readonly code: number; readonly what: "stop" | "exit" },
  ): void {
    const instance = this.#instances.get(instanceId);
    if (instance === undefined || instance.state.kind === "ended") return;
    const { requested, code, what } = how;
    const state = { kind: "ended", requested, code, signal: null, atMs: this.#clock.wallMs() } as const;
    this.#instances.set(instanceId, { ...instance, state });
    this.history.push({ what, set: instance.set, workload: instance.workload });
    this.#changed();
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

function behaviourOf(workload: Workload): Behaviour {
  const ready = workload.env?.["MUTO_SIM_READY_MS"];
  const exit = workload.env?.["MUTO_SIM_EXIT_MS"];
  const drift = workload.env?.["MUTO_SIM_DRIFT_MS"];
  return {
    readyMs: ready === undefined ? READY_MS : ready === "never" ? Number.POSITIVE_INFINITY : Number(ready),
    exitMs: exit === undefined ? Number.POSITIVE_INFINITY : Number(exit),
    driftMs: drift === undefined ? Number.POSITIVE_INFINITY : Number(drift),
  };
}

function configHashOf(workload: Workload): string {
  const content = workload.type === "native" ? workload.archive : workload.image;
  return `${content}:${JSON.stringify([workload.argv, workload.env])}`;
}
