import { realpath } from "node:fs/promises";
import { DiskError } from "@muto/kit/disk";
import type { Instance, InstanceState } from "../ports.ts";
import { Adopter, type AdopterOptions } from "./adopter.ts";
import { linkKeeper, type LinkKeeper } from "./link-keeper.ts";
import type { Bearer, ProcessTable } from "./process-table.ts";
import type { RunFolder } from "./run-folder.ts";
import type { ProcessId, RunExit, RunIdentity } from "./run-records.ts";
import type { SupervisorLink } from "./supervisor-link.ts";
import { within } from "./within.ts";
import { IDENTITY_MARKS } from "./workload-config.ts";

/** An instance as it is at this moment, and the connection to its supervisor where there is one. */
export interface Found {
  readonly instance: Instance;
  readonly link: SupervisorLink | undefined;
}

export interface InstanceWatchOptions extends AdopterOptions {
  readonly bootId: string;
  readonly processes: ProcessTable;
  /** For a supervisor to answer a request; afterwards it is replaced. */
  readonly answerLimitMs: number;
}

/** A supervisor that owns its folder listens within milliseconds, unless the computer is very busy. */
const COMING_UP_LIMIT_MS = 5_000;
const COMING_UP_LOOK_MS = 20;
/** From the end of the workload's first process until nothing of it is left. */
const ENDING_LIMIT_MS = 2_000;
const RELEASE_LIMIT_MS = 2_000;
const RELEASE_LOOK_MS = 2;

/**
 * Finds out what has become of instances. What a supervisor says, and what it wrote, is the truth; a process id counts only
 * together with its start time and boot. A folder in which nothing ran, and nothing ever will, is cleaned. A workload whose
 * supervisor died gets a new one, which sees that it ends, if not how.
 */
export class InstanceWatch {
  readonly #links: LinkKeeper;
  readonly #adopter: Adopter;
  readonly #options: InstanceWatchOptions;

  constructor(options: InstanceWatchOptions) {
    this.#options = options;
    this.#links = linkKeeper(options.clock, options.answerLimitMs);
    this.#adopter = new Adopter(options);
  }

  /**
   * As `look`, but leaves alone what another living process is making there. Not only the agent looks: whoever else does must
   * not take a folder that its supervisor has not claimed yet for the remains of a start that was cut off.
   */
  async lookFromAside(folder: RunFolder): Promise<Found | undefined> {
    const { bootId, processes } = this.#options;
    const maker = await folder.maker();
    const isOther = maker?.kind === "process" && maker.bootId === bootId && maker.process.pid !== process.pid;
    return isOther && (await processes.isAlive(maker.process)) ? undefined : await this.look(folder);
  }

  /** Undefined when nothing runs or ran there. */
  async look(folder: RunFolder): Promise<Found | undefined> {
    if (!(await folder.exists())) return undefined;
    const end = await folder.end();
    if (end?.kind === "refused") return await cleaned(folder);
    if (end?.kind === "ended") return found(end.identity, end.isolation, ended(end.exit));
    const link = await this.#links.to(folder);
    return link === undefined ? await this.#fromEvidence(folder) : await this.#fromSupervisor(folder, link);
  }

  /** To be called before a look: the change that it waits for is then not missed. Resolves after the limit at the latest. */
  nextChange(folder: RunFolder): (limitMs: number) => Promise<void> {
    return this.#links.nextChange(folder.instanceId);
  }

  subscribe(onChange: () => void): AsyncDisposable {
    return this.#links.subscribe(onChange);
  }

  /**
   * Lets the supervisor of an ended instance go; resolves when its process is gone. The end of the connection is not enough:
   * the folder is removed, or given to another instance, and nobody may write there any more.
   */
  async release(folder: RunFolder): Promise<void> {
    this.#adopter.forget(folder.instanceId);
    const link = await this.#links.to(folder);
    await link?.ask({ op: "forget" });
    if (link !== undefined) await within(this.#options.clock, RELEASE_LIMIT_MS, link.closed);
    if (await this.#ownerEnds(folder)) return;
    await this.dismiss(folder);
    await this.#ownerEnds(folder);
  }

  /** Ends a supervisor that does not answer, or speaks no protocol that we know; the next look puts a new one in its place. */
  async dismiss(folder: RunFolder): Promise<void> {
    const { bootId, logger, processes } = this.#options;
    const owner = await folder.owner();
    if (owner.kind !== "process" || owner.bootId !== bootId) return;
    logger.warn("supervisor does not answer and is replaced", { instanceId: folder.instanceId });
    await processes.kill(owner.process);
    await this.#links.drop(folder.instanceId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#links[Symbol.asyncDispose]();
  }

  async #fromSupervisor(folder: RunFolder, link: SupervisorLink): Promise<Found | undefined> {
    const { process: first } = link.state;
    // A workload that has not begun, or whose first process is gone: the supervisor is about to say more.
    const isGone = first !== null && !(await this.#options.processes.isAlive(first));
    const limitMs = isGone ? ENDING_LIMIT_MS : COMING_UP_LIMIT_MS;
    if (link.state.exit === null && (first === null || isGone)) await this.nextChange(folder)(limitMs);
    if (link.isClosed) return await this.look(folder);
    const { process, exit, supervised, isolation } = link.state;
    if (exit !== null) return found(link.state, isolation, ended(exit));
    if (process !== null) return found(link.state, isolation, { kind: "running", pid: process.pid, supervised }, link);
    await this.dismiss(folder);
    return await this.look(folder);
  }

  /** Nobody answers: what was written, and what the process table says about it. */
  async #fromEvidence(folder: RunFolder): Promise<Found | undefined> {
    const { bootId, processes } = this.#options;
    const owner = await folder.owner();
    if (owner.kind === "abandoned") return await cleaned(folder);
    const state = await folder.state();
    const identity = state ?? (await folder.spec());
    const isolation = state?.isolation ?? "degraded";
    const isOfThisBoot = (owner.kind === "process" ? owner.bootId : (identity?.bootId ?? bootId)) === bootId;
    if (isOfThisBoot && owner.kind === "process" && (await processes.isAlive(owner.process))) {
      return await this.#comingUp(folder, owner.process);
    }
    const bearer = isOfThisBoot ? await this.#bearerOf(folder) : undefined;
    if (bearer !== undefined) {
      const known = identity ?? identityIn(bearer, folder, bootId);
      if (await this.#adopter.adopt(folder, known)) return await this.look(folder);
      return found(known, isolation, { kind: "running", pid: state?.process?.pid ?? bearer.pid, supervised: false });
    }
    // Half-made: the agent died before it started a supervisor here, and now none may start.
    if (owner.kind === "none") return (await folder.abandon()) ? await cleaned(folder) : await this.look(folder);
    // It may have ended, and said so, while we looked.
    if ((await folder.end()) !== undefined) return await this.look(folder);
    return identity === undefined ? await cleaned(folder) : await this.#lost(folder, identity, isolation);
  }

  async #bearerOf({ path }: RunFolder): Promise<Bearer | undefined> {
    // The agent may know the folder by another name than its supervisors do.
    const truePath = await realpath(path).catch(() => path);
    const bearers = (await this.#options.processes.bearers()).filter(({ runFolder }) => runFolder === truePath);
    // Not every one knows what it belongs to: some of them only hold the namespace.
    return bearers.find(({ environment }) => environment.has(IDENTITY_MARKS.set)) ?? bearers[0];
  }

  /** Its supervisor lives but is not to be spoken to: just starting, or hanging. */
  async #comingUp(folder: RunFolder, owner: ProcessId): Promise<Found | undefined> {
    const { clock, processes } = this.#options;
    const deadlineMs = clock.monotonicMs() + COMING_UP_LIMIT_MS;
    while (clock.monotonicMs() < deadlineMs && (await processes.isAlive(owner))) {
      if ((await this.#links.to(folder)) !== undefined) return await this.look(folder);
      await clock.sleep(COMING_UP_LOOK_MS);
    }
    await this.dismiss(folder);
    return await this.look(folder);
  }

  /** False when the process that owns the folder is still there after the limit. */
  async #ownerEnds(folder: RunFolder): Promise<boolean> {
    const { bootId, clock, processes } = this.#options;
    const owner = await folder.owner();
    if (owner.kind !== "process" || owner.bootId !== bootId) return true;
    const deadlineMs = clock.monotonicMs() + RELEASE_LIMIT_MS;
    while (await processes.isAlive(owner.process)) {
      if (clock.monotonicMs() > deadlineMs) return false;
      await clock.sleep(RELEASE_LOOK_MS);
    }
    return true;
  }

  async #lost(folder: RunFolder, identity: RunIdentity, isolation: Isolation): Promise<Found | undefined> {
    const atMs = this.#options.clock.wallMs();
    const exit = { requested: await folder.stopRequested(), code: null, signal: null, atMs };
    try {
      await folder.recordEnd({ ...identity, isolation }, exit);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      // It was forgotten while we looked: then it did not get lost.
      if (!(await folder.exists())) return undefined;
      // Without the record the next look finds the same, only later.
      this.#options.logger.warn("end of a workload cannot be recorded", { ...identity, code: error.code });
    }
    return found(identity, isolation, ended(exit));
  }
}

type Isolation = Instance["isolation"];

function found(identity: RunIdentity, isolation: Isolation, state: InstanceState, link?: SupervisorLink): Found {
  const { instanceId, set, workload, configHash, bootId, startedAtMs } = identity;
  const deaths = link?.state.deaths ?? 0;
  const told = deaths === 0 ? {} : { deaths };
  return { instance: { instanceId, set, workload, configHash, bootId, startedAtMs, isolation, ...told, state }, link };
}

function ended({ requested, code, signal, atMs }: RunExit): InstanceState {
  return { kind: "ended", requested, code, signal, atMs };
}

async function cleaned(folder: RunFolder): Promise<undefined> {
  await folder.remove();
}

/** All that was written is illegible, or the disk was full: every process of an instance also carries what it belongs to. */
function identityIn({ environment }: Bearer, { instanceId }: RunFolder, bootId: string): RunIdentity {
  const mark = (name: string) => environment.get(name) ?? "";
  const { set, workload, configHash } = IDENTITY_MARKS;
  return { instanceId, set: mark(set), workload: mark(workload), configHash: mark(configHash), bootId, startedAtMs: 0 };
}
