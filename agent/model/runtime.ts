import { DiskError } from "@muto/kit/disk";
import type { Probe, Workload } from "@muto/spec";
import type {
  Instance,
  PrepareResult,
  ProbeSeen,
  Prober,
  Runtime,
  SetOnDisk,
  StartResult,
  StopResult,
} from "../ports.ts";
import { isGraphProbe } from "../reconcile/graph-probe.ts";
import { lookAtGraph, met, notMet } from "../runtime/prober-graph.ts";
import type { ModelRelease } from "./release.ts";
import type { ModelClock } from "./clock.ts";
import { ModelGraph } from "./graph.ts";

export interface Behaviour {
  readonly startsOk: boolean;
  /** Until its probes are met. */
  readonly readyMs: number;
  /** Until it dies by itself, with code 1; a oneshot ends with 0. */
  readonly exitMs: number;
  /** False for a process that is stuck in the kernel. */
  readonly stops: boolean;
  /** Between two deaths of a node that its launcher starts again; left out, none dies. */
  readonly nodeDiesEveryMs?: number;
}

/** Workloads as entries of a map; they outlive the agent and end with the computer. */
export class ModelRuntime implements Runtime, Prober {
  readonly behaviours = new Map<string, Behaviour>();
  readonly prepared = new Set<string>();
  readonly damaged = new Set<string>();
  readonly history: string[] = [];
  /** Probes that cannot be met by any stack just now (a garage without GNSS). */
  readonly unmeetable = new Set<string>();
  /** So many looks at what runs are refused, as by a full table of open files. */
  looksRefused = 0;
  readonly graph = new ModelGraph();
  /** Called before anything is started or stopped. */
  onTouch: (what: "start" | "stop", set: string, workload: string) => void = () => {};
  readonly #instances = new Map<string, Instance>();
  readonly #world: { readonly clock: ModelClock; readonly bootId: () => string; readonly call: () => void };
  #startedMs = new Map<string, number>();

  constructor(world: { readonly clock: ModelClock; readonly bootId: () => string; readonly call: () => void }) {
    this.#world = world;
  }

  running(): readonly Instance[] {
    return [...this.#instances.values()].filter(({ state }) => state.kind === "running");
  }

  runningSets(): readonly string[] {
    return [...new Set(this.running().map(({ set }) => set))];
  }

  /** Ends everything whose time has come. */
  tick(): void {
    for (const instance of this.running()) {
      const { exitMs } = this.#behaviourOf(instance.set);
      const since = this.#world.clock.monotonicMs() - (this.#startedMs.get(instance.instanceId) ?? 0);
      if (isOneshot(instance)) this.end(instance.instanceId, 0);
      else if (since >= exitMs) this.end(instance.instanceId, 1);
    }
  }

  /** Until something ends by itself; infinite when nothing will. */
  untilNextExitMs(): number {
    const now = this.#world.clock.monotonicMs();
    const left = this.running().map(({ instanceId, set }) => {
      return Math.max(0, (this.#startedMs.get(instanceId) ?? 0) + this.#behaviourOf(set).exitMs - now);
    });
    const untilDeath = this.running().map(({ instanceId, set }) => {
      const { nodeDiesEveryMs } = this.#behaviourOf(set);
      if (nodeDiesEveryMs === undefined) return Number.POSITIVE_INFINITY;
      return nodeDiesEveryMs - ((now - (this.#startedMs.get(instanceId) ?? 0)) % nodeDiesEveryMs);
    });
    return Math.min(Number.POSITIVE_INFINITY, ...left, ...untilDeath);
  }

  end(instanceId: string, code: number, requested = false): void {
    const instance = this.#instances.get(instanceId);
    if (instance === undefined || instance.state.kind === "ended") return;
    const state = { kind: "ended", requested, code, signal: null, atMs: this.#world.clock.wallMs() } as const;
    this.#instances.set(instanceId, { ...instance, state });
    this.history.push(`${requested ? "stop" : "exit"} ${instance.set} ${instance.workload}`);
  }

  powerCut(): void {
    for (const { instanceId } of this.running()) this.#lose(instanceId);
  }

  async prepare(set: SetOnDisk): Promise<PrepareResult> {
    this.#world.call();
    this.damaged.delete(set.manifestDigest);
    this.prepared.add(set.manifestDigest);
    return { ok: true };
  }

  async verify(set: SetOnDisk): Promise<boolean> {
    this.#world.call();
    return this.prepared.has(set.manifestDigest) && !this.damaged.has(set.manifestDigest);
  }

  async start(set: SetOnDisk, workload: Workload, instanceId: string): Promise<StartResult> {
    this.#world.call();
    this.onTouch("start", set.manifestDigest, workload.name);
    if (!this.prepared.has(set.manifestDigest) || this.damaged.has(set.manifestDigest)) {
      return { ok: false, problem: "tampered", code: "EBADMSG" };
    }
    if (!this.#behaviourOf(set.manifestDigest).startsOk) return { ok: false, problem: "start-refused", code: "ENOENT" };
    this.#run(set.manifestDigest, workload, instanceId);
    this.history.push(`start ${set.manifestDigest} ${workload.name}`);
    this.#world.call();
    return { ok: true };
  }

  /** Somebody else's doing: an instance that bears our mark and belongs to another set. */
  startForeign({ manifestDigest, manifest }: ModelRelease): void {
    const [workload] = manifest.workloads;
    if (workload !== undefined) this.#run(manifestDigest, workload, "01HZ000000000000000000000F");
  }

  async stop(instanceId: string): Promise<StopResult> {
    this.#world.call();
    const instance = this.#instances.get(instanceId);
    if (instance === undefined || instance.state.kind === "ended") return { ok: true };
    this.onTouch("stop", instance.set, instance.workload);
    if (!this.#behaviourOf(instance.set).stops) return { ok: false, problem: "stop-timeout" };
    this.end(instanceId, 0, true);
    this.#world.call();
    return { ok: true };
  }

  async inspect(): Promise<readonly Instance[]> {
    this.#world.call();
    if (this.looksRefused > 0) {
      this.looksRefused -= 1;
      throw new DiskError("EMFILE", "list", "/runs");
    }
    return [...this.#instances.values()].map((instance) => ({ ...instance, ...this.#deathsOf(instance) }));
  }

  watch(): AsyncDisposable {
    return { [Symbol.asyncDispose]: async () => {} };
  }

  async collect(): Promise<Uint8Array> {
    return new Uint8Array();
  }

  async forget(instanceId: string): Promise<void> {
    this.#world.call();
    this.#instances.delete(instanceId);
  }

  async look(probe: Probe, instance: Instance | undefined, signal: AbortSignal): Promise<ProbeSeen> {
    if (instance === undefined || instance.state.kind !== "running") return notMet("not-running", true, null, null);
    const sinceMs = this.#world.clock.monotonicMs() - (this.#startedMs.get(instance.instanceId) ?? 0);
    const isReady = sinceMs >= this.#behaviourOf(instance.set).readyMs && !this.unmeetable.has(probe.name);
    if (!isReady) return notMet("unreachable", true, false, 0);
    return isGraphProbe(probe) ? await lookAtGraph(probe, this.graph, signal) : met(true, true, 0);
  }

  #run(set: string, workload: Workload, instanceId: string): void {
    this.#startedMs.set(instanceId, this.#world.clock.monotonicMs());
    this.#instances.set(instanceId, {
      instanceId,
      set,
      workload: workload.name,
      configHash: workload.oneshot ? "oneshot" : "service",
      bootId: this.#world.bootId(),
      startedAtMs: this.#world.clock.wallMs(),
      isolation: "full",
      state: { kind: "running", pid: 2, supervised: true },
    });
  }

  #lose(instanceId: string): void {
    const instance = this.#instances.get(instanceId);
    if (instance === undefined) return;
    const state = {
      kind: "ended",
      requested: false,
      code: null,
      signal: null,
      atMs: this.#world.clock.wallMs(),
    } as const;
    this.#instances.set(instanceId, { ...instance, state });
  }

  #deathsOf({ instanceId, set, state }: Instance): Pick<Instance, "deaths"> {
    const { nodeDiesEveryMs } = this.#behaviourOf(set);
    if (nodeDiesEveryMs === undefined || state.kind !== "running") return {};
    const sinceMs = this.#world.clock.monotonicMs() - (this.#startedMs.get(instanceId) ?? 0);
    return { deaths: Math.floor(sinceMs / nodeDiesEveryMs) };
  }

  #behaviourOf(set: string): Behaviour {
    const found = this.behaviours.get(set);
    if (found === undefined) throw new Error(`no such release: ${set}`);
    return found;
  }
}

function isOneshot(instance: Instance): boolean {
  return instance.configHash === "oneshot";
}
