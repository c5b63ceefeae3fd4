import { dirname, join } from "node:path";
import { DiskError, type Disk } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import {
  ABANDONED,
  parseRunEnd,
  parseRunOwner,
  parseRunSpec,
  parseRunState,
  type RunEnd,
  type RunExit,
  type RunIdentity,
  type RunOwner,
  type RunSpec,
  type RunState,
} from "./run-records.ts";

/** What is not known any more is as the stack manifest has it by default. */
export const MENDED_STOP = { signal: "SIGINT", limitMs: 15_000, terminateLimitMs: 5_000 };
const MENDED_OUTPUT_BYTES_MAX = 128 * 1024;

/** Symbolic link in a folder that is being made, to `PID:START-TICKS:BOOT-ID` of the agent that makes it. */
export const MAKER = "maker";
const GONE = ".gone-";

const OWNER = /^owner\.(\d+)$/;

/**
 * The folder of one instance, `RUNS/INSTANCE-ID`; what lies in it is described in supervisor.mjs. Ownership is decided by
 * making the next owner.N: of a late supervisor and a new agent that cleans up exactly one wins, so that nothing ever runs
 * twice.
 */
export class RunFolder {
  readonly path: string;
  readonly instanceId: string;
  readonly #disk: Disk;

  constructor(disk: Disk, runs: string, instanceId: string) {
    this.path = join(runs, instanceId);
    this.instanceId = instanceId;
    this.#disk = disk;
  }

  async exists(): Promise<boolean> {
    return (await this.#disk.stat(this.path)) !== undefined;
  }

  async spec(): Promise<RunSpec | undefined> {
    return parseRunSpec(await this.#json("spec.json"));
  }

  async state(): Promise<RunState | undefined> {
    return parseRunState(await this.#json("state.json"));
  }

  async end(): Promise<RunEnd | undefined> {
    return parseRunEnd(await this.#json("exit.json"));
  }

  /** The last one to claim the folder; `illegible` when its record is damaged. */
  async owner(): Promise<RunOwner | { readonly kind: "none" } | { readonly kind: "illegible" }> {
    const names = (await this.#disk.list(this.path)).flatMap(({ name }) => OWNER.exec(name)?.[1] ?? []);
    if (names.length === 0) return { kind: "none" };
    const text = await this.#disk.readLink(this.#at(`owner.${Math.max(...names.map(Number))}`));
    return parseRunOwner(text ?? "") ?? { kind: "illegible" };
  }

  /**
   * Claims a folder that nobody owns, for ever; false when somebody was faster. One that was forgotten while we looked needs
   * no claim: there is nothing left in which anything could start.
   */
  async abandon(): Promise<boolean> {
    try {
      await this.#disk.symlink(ABANDONED, this.#at("owner.1"));
      return true;
    } catch (error) {
      if (error instanceof DiskError && error.code === "EEXIST") return false;
      if (error instanceof DiskError && error.code === "ENOENT") return true;
      throw error;
    }
  }

  async recordEnd(run: RunIdentity & Pick<RunState, "isolation">, exit: RunExit): Promise<void> {
    await writeDurably(this.#disk, this.#at("exit.json"), Buffer.from(JSON.stringify({ ...run, exit })));
  }

  /** What a supervisor that takes over is told: the spec as it is, or, where it is damaged, one that says how to stop. */
  async specForAdoption(identity: RunIdentity): Promise<unknown> {
    const spec = await this.#json("spec.json");
    if (parseRunSpec(spec) !== undefined) return spec;
    return { ...identity, stop: MENDED_STOP, output: { segmentBytesMax: MENDED_OUTPUT_BYTES_MAX, texts: [] } };
  }

  async renewSupervisor(supervisor: Uint8Array): Promise<void> {
    await writeDurably(this.#disk, this.#at("supervisor.mjs"), supervisor);
  }

  async stopRequested(): Promise<boolean> {
    return (await this.#disk.stat(this.#at("stop-requested"))) !== undefined;
  }

  /** Texts of the spec that were seen in the output. */
  async seenTexts(): Promise<ReadonlySet<string>> {
    const seen = await this.#json("seen.json");
    return new Set(Array.isArray(seen) ? seen.filter((text) => typeof text === "string") : []);
  }

  /** The newest output, at most `bytesMax`. */
  async output(bytesMax: number): Promise<Uint8Array> {
    const newest = await this.#tail("output", bytesMax);
    const older = await this.#tail("output.1", bytesMax - newest.byteLength);
    return new Uint8Array(Buffer.concat([older, newest]));
  }

  /** The process that is making an instance here: from the folder's first moment on until the start has succeeded. */
  async maker(): Promise<RunOwner | undefined> {
    return parseRunOwner((await this.#disk.readLink(this.#at(MAKER))) ?? "");
  }

  async markMade(): Promise<void> {
    await this.#disk.remove(this.#at(MAKER));
  }

  /** At once, as far as anybody who looks can tell: what is half removed would look like an instance that got lost. */
  async remove(): Promise<void> {
    const gone = join(dirname(this.path), `${GONE}${this.instanceId}`);
    await this.#disk.remove(gone);
    try {
      await this.#disk.rename(this.path, gone);
    } catch (error) {
      if (error instanceof DiskError && error.code === "ENOENT") return;
      throw error;
    }
    await this.#disk.remove(gone);
  }

  /** Undefined for a file that is missing, torn or no JSON. */
  async #json(name: string): Promise<unknown> {
    const bytes = await this.#disk.read(this.#at(name));
    if (bytes === undefined) return undefined;
    try {
      return JSON.parse(Buffer.from(bytes).toString("utf8"));
    } catch {
      return undefined;
    }
  }

  async #tail(name: string, bytesMax: number): Promise<Uint8Array> {
    const path = this.#at(name);
    if (bytesMax <= 0 || (await this.#disk.stat(path)) === undefined) return new Uint8Array();
    await using file = await this.#disk.open(path, "read");
    const sizeBytes = await file.sizeBytes();
    const length = Math.min(sizeBytes, bytesMax);
    return await file.read(sizeBytes - length, length);
  }

  #at(name: string): string {
    return join(this.path, name);
  }
}
