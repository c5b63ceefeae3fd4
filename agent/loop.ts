import { DiskError } from "@muto/kit/disk";
import { ulid } from "@muto/kit/ids";
import { JournalError } from "@muto/kit/journal";
import { createWake } from "@muto/kit/wake";
import { viewOf, type LoopView } from "./check/view.ts";
import { tell, type ChangeServices } from "./effects/change.ts";
import { createEffects, execute, isPatient, isSameWork, RESTLESS_MS } from "./effects/execute.ts";
import { createReleases } from "./effects/releases.ts";
import type { TailKeeper } from "./effects/tails.ts";
import { healthOf, type HealthView } from "./health.ts";
import { createMemory } from "./memory.ts";
import { isFloorDisowned, judgeAccepted, takeOffer, type OfferedAssignment } from "./offers.ts";
import { observe, readGates, type ObserveServices } from "./observe.ts";
import { desiredOf, type Desired } from "./reconcile/desired.ts";
import { graphAbility } from "./signals/graph-provider.ts";
import { LIMITS } from "./reconcile/limits.ts";
import type { Observed } from "./reconcile/observed.ts";
import { asksForGates, planNext } from "./reconcile/plan.ts";
import { dueReport } from "./reconcile/report.ts";
import { isChanging } from "./reconcile/state.ts";
import type { Step } from "./reconcile/step.ts";
import { sendReport } from "./reporting.ts";
import { RuntimeUnseen, type Instance } from "./ports.ts";
import { createRestraint } from "./restraint.ts";
import type { AgentServices } from "./services.ts";

/**
 * The reconcile loop: observe, plan one step, execute it, look again. Level-triggered and single-flight: start-up, poll,
 * notify, drift and gates only ring the bell, and whoever rings says nothing.
 */
export interface Agent {
  /** Runs until the signal aborts; what runs on the vehicle goes on running. Rejects on a bug only. */
  run(signal: AbortSignal): Promise<void>;
  /** One pass, for whoever drives the agent step by step; the step that was executed. */
  pass(signal: AbortSignal): Promise<Step>;
  /** What the cloud offers, as of the last poll. Kept in memory until a pass has made its judgement durable. */
  offer(offered: OfferedAssignment): void;
  /** Whether everything that was offered is durable, or durably refused; until then it must be offered in full. */
  hasTakenOffer(): boolean;
  /** Something may have changed. */
  wake(): void;
  health(): Promise<HealthView>;
  /** What a technician beside the vehicle asks: signals, gates, and what the loop waits for. */
  view(): Promise<LoopView>;
}

export function createAgent(services: AgentServices, tails: TailKeeper): Agent {
  return new ReconcileLoop(services, tails);
}

class ReconcileLoop implements Agent {
  readonly #services: ObserveServices & ChangeServices;
  readonly #wake;
  readonly #effects;
  #inbox: OfferedAssignment | undefined;
  #release: Desired["release"];
  #isFloorDisowned: boolean;
  #nextChangeId: string;
  #reported = "";
  /** What ran when it could last be seen. */
  #lastSeen: readonly Instance[] = [];
  #lastStep: Step | undefined;
  /** Something that runs is being started or stopped. */
  #acting = false;
  #looking: Promise<unknown> = Promise.resolve();

  constructor(services: AgentServices, tails: TailKeeper) {
    const releases = createReleases(services.content);
    this.#services = { ...services, tails, releases, memory: createMemory(), flag: { told: undefined } };
    this.#wake = createWake(services.clock);
    this.#effects = createEffects(this.#services);
    this.#release = judgeAccepted(services);
    this.#isFloorDisowned = isFloorDisowned(services);
    this.#nextChangeId = ulid(services.clock, services.random);
  }

  /** "As before" must not push aside what came before it and was not looked at yet. */
  offer(offered: OfferedAssignment): void {
    const before = this.#inbox;
    this.#inbox = {
      offer: offered.offer === undefined ? before?.offer : offered.offer,
      serverDateMs: offered.serverDateMs ?? before?.serverDateMs,
    };
    this.#wake.ring();
  }

  hasTakenOffer(): boolean {
    return this.#inbox === undefined;
  }

  wake(): void {
    this.#wake.ring();
  }

  async health(): Promise<HealthView> {
    return healthOf(this.#services, await this.#look());
  }

  async view(): Promise<LoopView> {
    return viewOf(this.#services, await this.#look(), this.#lastStep);
  }

  async run(signal: AbortSignal): Promise<void> {
    const ring = () => this.#wake.ring();
    await using runtimeWatch = this.#services.runtime.watch(ring);
    await using signalsWatch = this.#services.signals.watch(ring);
    await using graphWatch = this.#services.graph?.watch(() => this.#graphChanged());
    void [runtimeWatch, signalsWatch, graphWatch];
    const restraint = createRestraint();
    while (!signal.aborted) {
      const step = await this.pass(signal);
      const restMs = restraint.after(step);
      if (restMs > 0) {
        this.#services.logger.warn("the same again without effect", { step: step.kind, restMs });
        await this.#services.clock.sleep(restMs, signal);
      }
      const waitMs = step.kind === "hold" || step.kind === "settled" ? step.wakeWhen.afterMs : 0;
      if (waitMs > 0) await this.#wake.wait(waitMs, signal);
    }
  }

  async pass(signal: AbortSignal): Promise<Step> {
    try {
      const { step, observed, desired } = await this.#plan();
      this.#lastStep = step;
      await this.#report(desired, observed, step);
      await this.#execute(step, signal);
      return step;
    } catch (error) {
      return this.#afterRefusal(error);
    }
  }

  async #plan(): Promise<{ readonly step: Step; readonly observed: Observed; readonly desired: Desired }> {
    await this.#takeOffer();
    await this.#tellVehicle();
    const seen = await observe(this.#services, this.#nextChangeId);
    this.#lastSeen = seen.instances;
    const { config, graph } = this.#services;
    const desired = desiredOf(seen.state, config, graphAbility(config.signals, graph), this.#release);
    const gates = asksForGates(desired, seen) ? await readGates(this.#services, seen) : undefined;
    const observed = { ...seen, gates };
    return { step: planNext(desired, observed), observed, desired };
  }

  async #takeOffer(): Promise<void> {
    const { store, verifier } = this.#services;
    const { refusal } = store.state;
    const isVoid = refusal !== null && refusal.contextHash !== verifier.trustHash;
    const offered = this.#inbox;
    if (store.fault !== undefined) return;
    try {
      if (this.#isFloorDisowned) await store.record({ kind: "sequence-reset" });
      this.#isFloorDisowned = false;
      if (isVoid) await store.record({ kind: "refusal-cleared" });
      if (offered === undefined) return;
      const taken = await takeOffer(this.#services, offered);
      if (taken !== undefined) this.#release = taken.release;
      if (this.#inbox === offered) this.#inbox = undefined;
    } catch (error) {
      // What could not be made durable is not acted on and stays offered; repairs must not wait for it.
      this.#afterRefusal(error);
    }
  }

  /** The vehicle is told of a change exactly while one is under way, whatever this process was doing when it last ended. */
  async #tellVehicle(): Promise<void> {
    const { store, memory } = this.#services;
    const { trial, rollback } = store.state;
    const changing = isChanging(store.state);
    if (changing && memory.seen.announced !== null) memory.update(() => ({ announced: null }));
    const changeId = changing ? (rollback?.changeId ?? trial?.changeId ?? null) : null;
    await tell(this.#services, memory.seen.announced?.changeId ?? changeId);
  }

  /** Durable first: what the outbox has taken survives; that it was taken is noted after, so at worst it is sent twice. */
  async #report(desired: Desired, observed: Observed, step: Step): Promise<void> {
    const due = dueReport(desired, observed, step);
    if (due === undefined) return;
    const { key } = due;
    try {
      if (!(await sendReport(this.#services, due))) return;
      await this.#services.store.record({ kind: "reported", reported: { key, atMs: observed.now.wallMs } });
    } catch (error) {
      // It stays due. What the vehicle has to do does not wait for what it has to say.
      this.#afterRefusal(error);
      return;
    }
    if (key !== this.#reported) {
      const { status, phase, reasonCodes, desiredStateRevision } = due.draft;
      this.#services.logger.info("status", { status, phase, reasonCodes, desiredStateRevision });
    }
    this.#reported = key;
  }

  async #execute(step: Step, signal: AbortSignal): Promise<void> {
    if (step.kind !== "hold" && step.kind !== "settled") this.#services.logger.debug("step", { step: step.kind });
    if (isPatient(step)) await this.#executePatiently(step, signal);
    else await this.#executeAlone(step, signal);
    if (this.#services.store.state.trial?.changeId === this.#nextChangeId) this.#renewChangeId();
    if (this.#services.store.state.rollback?.changeId === this.#nextChangeId) this.#renewChangeId();
  }

  /** While something is started or stopped nobody else looks at what runs, and whoever is looking ends first. */
  async #executeAlone(step: Step, signal: AbortSignal): Promise<void> {
    this.#acting = true;
    try {
      await this.#looking;
      await execute(this.#effects, step, signal);
    } finally {
      this.#acting = false;
    }
  }

  /** The world for whoever asks beside the loop. In the middle of an effect, and while the engine is away, as it was last seen. */
  async #look(): Promise<Observed> {
    if (this.#acting) return await this.#recall((instance) => instance);
    const looking = observe(this.#services, this.#nextChangeId);
    this.#looking = Promise.allSettled([this.#looking, looking]).then(() => {});
    try {
      return await looking;
    } catch (error) {
      if (!(error instanceof RuntimeUnseen)) throw error;
      // A vehicle goes on speaking while its engine is away: what ran is said to be without supervision.
      return await this.#recall(unsupervised);
    }
  }

  async #recall(as: (instance: Instance) => Instance): Promise<Observed> {
    const runtime = { inspect: async () => this.#lastSeen.map(as) };
    return await observe({ ...this.#services, runtime }, this.#nextChangeId);
  }

  /** While a long step runs, the world is still looked at; when something else has become more urgent, the step is given up. */
  async #executePatiently(step: Step, signal: AbortSignal): Promise<void> {
    const superseded = new AbortController();
    const done = new AbortController();
    const work = execute(this.#effects, step, AbortSignal.any([signal, superseded.signal])).finally(() => done.abort());
    // What the disk refuses for a moment ends no look at the world: the next one is made all the same.
    const look = () => this.#isSuperseded(step, AbortSignal.any([signal, done.signal])).catch(this.#undecided);
    const watch = async () => {
      while (!done.signal.aborted && !signal.aborted) {
        const woken = await this.#wake.wait(RESTLESS_MS, AbortSignal.any([signal, done.signal]));
        if (woken === "aborted") return;
        if (await look()) return superseded.abort();
      }
    };
    await Promise.all([work, watch()]);
    // Whatever rang while the step ended is looked at in the next pass.
    if (!superseded.signal.aborted) this.#wake.ring();
  }

  /** Whether something else has become more urgent than a long step. A look disturbs nobody, so nothing is given up for it. */
  async #isSuperseded(step: Step, signal: AbortSignal): Promise<boolean> {
    const next = await this.#plan();
    if (isSameWork(next.step, step)) return false;
    if (next.step.kind !== "probe") return true;
    await execute(this.#effects, next.step, signal);
    return false;
  }

  readonly #undecided = (error: unknown): false => {
    this.#afterRefusal(error);
    return false;
  };

  /** Brings the next look at the probes forward; what has changed, if it matters, the look says. Once until then: graphs chatter. */
  #graphChanged(): void {
    const { memory, clock } = this.#services;
    const { graphChangedMs, probes } = memory.seen;
    if (graphChangedMs !== null && graphChangedMs >= probes.lookedMs) return;
    const atMs = clock.monotonicMs();
    memory.update(() => ({ graphChangedMs: atMs }));
    this.#wake.ring();
  }

  #renewChangeId(): void {
    this.#nextChangeId = ulid(this.#services.clock, this.#services.random);
  }

  /**
   * The disk refused something that had to be durable, or what runs cannot be seen. The world is looked at again; anything else
   * is a bug and passes.
   */
  #afterRefusal(error: unknown): Step {
    if (error instanceof RuntimeUnseen) {
      const wakeWhen = { afterMs: LIMITS.unseenRecheckMs, on: ["runtime"] } as const;
      return { kind: "hold", status: "blocked", phase: "hold", reasons: ["APPLY_FAILED"], evidence: [], wakeWhen };
    }
    if (!(error instanceof JournalError) && !(error instanceof DiskError)) throw error;
    this.#services.logger.error("storage refuses", { name: error.name, code: error.code });
    const wakeWhen = { afterMs: LIMITS.stopRetryMs, on: ["storage"] } as const;
    return { kind: "hold", status: "blocked", phase: "hold", reasons: ["APPLY_FAILED"], evidence: [], wakeWhen };
  }
}

function unsupervised(instance: Instance): Instance {
  const { state } = instance;
  return state.kind === "running" ? { ...instance, state: { ...state, supervised: false } } : instance;
}
