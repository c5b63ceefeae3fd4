import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { DiskError } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import {
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

/**
 * The folder of one instance, `RUNS/INSTANCE-ID`; what lies in it is described in supervisor.mjs. Ownership is decided by
 * creating the next owner.N.json with a hard link: of a late supervisor and a new agent that cleans up exactly one wins, so
 * that nothing ever runs twice.
 */
export interface RunFolder {
  readonly path: string;
  readonly instanceId: string;
  /** Makes the folder, with all a supervisor needs; durable before it resolves. A folder that is there already is not touched. */
  create(spec: RunOrder, supervisor: Uint8Array): Promise<void>;
  /** The supervisor's program is written again, for one that takes over. */
  renewSupervisor(supervisor: Uint8Array): Promise<void>;
  spec(): Promise<RunSpec | undefined>;
  state(): Promise<RunState | undefined>;
  end(): Promise<RunEnd | undefined>;
  /** The last one to claim the folder; `illegible` when its record is damaged. */
  owner(): Promise<RunOwner | { readonly kind: "none" } | { readonly kind: "illegible" }>;
  /** Claims a folder that nobody owns, for ever; false when somebody was faster. */
  abandon(): Promise<boolean>;
  recordEnd(run: RunIdentity & Pick<RunState, "isolation">, exit: RunExit): Promise<void>;
  /** A damaged spec.json is replaced by one that says how to stop, so that a new supervisor can take over. */
  mendSpec(identity: RunIdentity): Promise<void>;
  stopRequested(): Promise<boolean>;
  /** Texts of the spec that were seen in the output. */
  seenTexts(): Promise<ReadonlySet<string>>;
  /** The newest output, at most `bytesMax`. */
  output(bytesMax: number): Promise<Uint8Array>;
  remove(): Promise<void>;
}

/** spec.json in full. */
export interface RunOrder extends RunSpec {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly isolation: "auto" | "degraded";
  readonly stop: RunSpec["stop"] & { readonly signal: string };
  readonly output: { readonly segmentBytesMax: number; readonly texts: readonly string[] };
}

/** What is not known any more is as the stack manifest has it by default. */
export const MENDED_STOP = { signal: "SIGINT", limitMs: 15_000, terminateLimitMs: 5_000 };
const MENDED_OUTPUT_BYTES_MAX = 512 * 1024;

const OWNER = /^owner\.(\d+)\.json$/;

export function runFolder(disk: Disk, runs: string, instanceId: string): RunFolder {
  const path = join(runs, instanceId);
  const at = (name: string) => join(path, name);
  const owners = async () => (await disk.list(path)).flatMap(({ name }) => OWNER.exec(name)?.[1] ?? []).map(Number);
  return {
    path,
    instanceId,
    create: async (spec, supervisor) => {
      if ((await disk.stat(path)) !== undefined) throw new DiskError("EEXIST", "makeFolder", path);
      await disk.makeFolder(path);
      await disk.setPermissions(path, 0o700);
      await writeDurably(disk, at("supervisor.mjs"), supervisor);
      await writeDurably(disk, at("spec.json"), Buffer.from(JSON.stringify(spec)));
    },
    renewSupervisor: (supervisor) => writeDurably(disk, at("supervisor.mjs"), supervisor),
    spec: async () => parseRunSpec(await readJson(disk, at("spec.json"))),
    state: async () => parseRunState(await readJson(disk, at("state.json"))),
    end: async () => parseRunEnd(await readJson(disk, at("exit.json"))),
    owner: async () => {
      const last = Math.max(0, ...(await owners()));
      if (last === 0) return { kind: "none" };
      return parseRunOwner(await readJson(disk, at(`owner.${last}.json`))) ?? { kind: "illegible" };
    },
    abandon: async () => {
      const mark = at("abandoned.tmp");
      await writeDurably(disk, mark, Buffer.from(JSON.stringify({ abandoned: true })));
      try {
        await disk.link(mark, at("owner.1.json"));
        return true;
      } catch (error) {
        if (error instanceof DiskError && error.code === "EEXIST") return false;
        throw error;
      }
    },
    recordEnd: (run, exit) => writeDurably(disk, at("exit.json"), Buffer.from(JSON.stringify({ ...run, exit }))),
    mendSpec: async (identity) => {
      if (parseRunSpec(await readJson(disk, at("spec.json"))) !== undefined) return;
      const mended = {
        ...identity,
        stop: MENDED_STOP,
        output: { segmentBytesMax: MENDED_OUTPUT_BYTES_MAX, texts: [] },
      };
      await writeDurably(disk, at("spec.json"), Buffer.from(JSON.stringify(mended)));
    },
    stopRequested: async () => (await disk.stat(at("stop-requested"))) !== undefined,
    seenTexts: async () => {
      const seen = await readJson(disk, at("seen.json"));
      return new Set(Array.isArray(seen) ? seen.filter((text) => typeof text === "string") : []);
    },
    output: async (bytesMax) => {
      const newest = await tail(disk, at("output"), bytesMax);
      const older = await tail(disk, at("output.1"), bytesMax - newest.byteLength);
      return new Uint8Array(Buffer.concat([older, newest]));
    },
    remove: () => disk.remove(path),
  };
}

/** Undefined for a file that is missing, torn or no JSON. */
async function readJson(disk: Disk, path: string): Promise<unknown> {
  const bytes = await disk.read(path);
  if (bytes === undefined) return undefined;
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
}

async function tail(disk: Disk, path: string, bytesMax: number): Promise<Uint8Array> {
  if (bytesMax <= 0 || (await disk.stat(path)) === undefined) return new Uint8Array();
  await using file = await disk.open(path, "read");
  const sizeBytes = await file.sizeBytes();
  const length = Math.min(sizeBytes, bytesMax);
  return await file.read(sizeBytes - length, length);
}
