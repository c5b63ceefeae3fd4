import { join } from "node:path";
import { DiskError, type Disk } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import type { Logger } from "@muto/kit/logger";
import { digestHex, digestOf } from "@muto/oci/digest";
import type { Evidence, ReasonCode } from "@muto/spec";
import type { Runtime } from "../ports.ts";

/** Keeps the last words of failing workloads by digest, bounded; they illustrate a failure and never are one. */
export interface TailKeeper {
  /** Evidence for each tail that is on the disk now. Never fails: a full disk keeps no tails and delays nothing. */
  keep(set: string, reasonCode: ReasonCode): Promise<readonly Evidence[]>;
  read(digest: string): Promise<Uint8Array | undefined>;
}

export interface TailLimits {
  readonly tailBytesMax: number;
  /** Files that are kept; the oldest go first. */
  readonly tailsMax: number;
}

export function createTailKeeper(
  { disk, runtime, logger }: { readonly disk: Disk; readonly runtime: Runtime; readonly logger: Logger },
  folder: string,
  { tailBytesMax, tailsMax }: TailLimits,
): TailKeeper {
  const kept: string[] = [];
  const pathOf = (digest: string) => join(folder, digestHex(digest));

  const store = async (bytes: Uint8Array): Promise<string> => {
    const digest = digestOf(bytes);
    await disk.makeFolder(folder);
    if (kept.length === 0) kept.push(...(await disk.list(folder)).map(({ name }) => `sha256:${name}`));
    await writeDurably(disk, pathOf(digest), bytes);
    if (!kept.includes(digest)) kept.push(digest);
    while (kept.length > tailsMax) {
      const oldest = kept.shift();
      if (oldest !== undefined) await disk.remove(join(folder, oldest.slice("sha256:".length)));
    }
    return digest;
  };

  return {
    keep: async (set, reasonCode) => {
      if (tailBytesMax === 0) return [];
      const evidence: Evidence[] = [];
      for (const { instanceId, workload, set: own } of await runtime.inspect()) {
        if (own !== set) continue;
        const bytes = await runtime.collect(instanceId, tailBytesMax);
        if (bytes.byteLength === 0) continue;
        try {
          const digest = await store(bytes);
          evidence.push({ kind: "output-tail", reasonCode, workload, digest, bytes: bytes.byteLength });
        } catch (error) {
          if (!(error instanceof DiskError)) throw error;
          logger.warn("output tail is not kept", { workload, code: error.code });
        }
      }
      return evidence;
    },
    read: (digest) => disk.read(pathOf(digest)),
  };
}
