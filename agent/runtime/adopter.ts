import type { Clock } from "@muto/kit/clock";
import { DiskError } from "@muto/kit/disk";
import type { Logger } from "@muto/kit/logger";
import type { RunFolder } from "./run-folder.ts";
import type { RunIdentity } from "./run-records.ts";
import type { SupervisorSpawner } from "./supervisor-process.ts";

export interface AdopterOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly spawner: SupervisorSpawner;
  /** The bytes of the supervisor's program. */
  readonly supervisor: () => Promise<Uint8Array>;
}

const ADOPT_LIMIT_MS = 10_000;
/** Between two attempts at one instance. */
const ADOPT_AGAIN_MS = 10_000;

/** Puts supervisors of this agent's version in the place of those that died. */
export class Adopter {
  readonly #options: AdopterOptions;
  readonly #triedAtMs = new Map<string, number>();
  readonly #running = new Map<string, Promise<boolean>>();

  constructor(options: AdopterOptions) {
    this.#options = options;
  }

  /** False when it failed, or was tried a moment ago: the workload then runs on without a supervisor. */
  async adopt(folder: RunFolder, identity: RunIdentity): Promise<boolean> {
    const { instanceId } = folder;
    const running = this.#running.get(instanceId) ?? this.#attempt(folder, identity);
    this.#running.set(instanceId, running);
    try {
      return await running;
    } finally {
      this.#running.delete(instanceId);
    }
  }

  /** What was tried says nothing about an instance that begins anew. */
  forget(instanceId: string): void {
    this.#triedAtMs.delete(instanceId);
  }

  async #attempt(folder: RunFolder, identity: RunIdentity): Promise<boolean> {
    const { clock, logger, spawner, supervisor } = this.#options;
    const { instanceId, path } = folder;
    const lastMs = this.#triedAtMs.get(instanceId);
    if (lastMs !== undefined && clock.monotonicMs() - lastMs < ADOPT_AGAIN_MS) return false;
    this.#triedAtMs.set(instanceId, clock.monotonicMs());
    try {
      await folder.renewSupervisor(await supervisor());
    } catch (error) {
      // On a full disk the old program has to do.
      if (!(error instanceof DiskError)) throw error;
    }
    const { kind, ...details } = await spawner.adopt(path, await folder.specForAdoption(identity), ADOPT_LIMIT_MS);
    const { workload } = identity;
    logger.warn("workload has lost its supervisor", { instanceId, workload, adoption: kind, ...details });
    return kind === "running";
  }
}
