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
  /** The one that waits longest for being sent. */
  oldest(): Promise<{ readonly digest: string; readonly bytes: Uint8Array } | undefined>;
  forget(digest: string): Promise<void>;
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
  const pathOf = (digest: string) => join(folder, digestHex(digest));
  let kept: readonly string[] | undefined;

  const known = async (): Promise<readonly string[]> => {
    const names = kept === undefined ? await disk.list(folder) : [];
    kept ??= names.filter(({ name }) => NAME.test(name)).map(({ name }) => `sha256:${name}`);
    return kept;
  };
  const forget = async (digest: string): Promise<void> => {
    kept = (await known()).filter((other) => other !== digest);
    await disk.remove(pathOf(digest));
  };
  const store = async (bytes: Uint8Array): Promise<string> => {
    const digest = digestOf(bytes);
    await disk.makeFolder(folder);
    await writeDurably(disk, pathOf(digest), bytes);
    kept = [...(await known()).filter((other) => other !== digest), digest];
    for (const oldest of kept.slice(0, Math.max(0, kept.length - tailsMax))) await forget(oldest);
    return digest;
  };

  /** One bad file must not keep the others here. */
  const readable = async (digest: string): Promise<Uint8Array | undefined> => {
    try {
      return await disk.read(pathOf(digest));
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      logger.warn("output tail cannot be read", { code: error.code });
      return undefined;
    }
  };

  return {
    keep: async (set, reasonCode) => {
      if (tailBytesMax === 0) return [];
      const evidence: Evidence[] = [];
      for (const { instanceId, workload, set: own } of await runtime.inspect()) {
        if (own !== set) continue;
        try {
          const bytes = await runtime.collect(instanceId, tailBytesMax);
          if (bytes.byteLength === 0) continue;
          const digest = await store(bytes);
          evidence.push({ kind: "output-tail", reasonCode, workload, digest, bytes: bytes.byteLength });
        } catch (error) {
          if (!(error instanceof DiskError)) throw error;
          logger.warn("output tail is not kept", { workload, code: error.code });
        }
      }
      return evidence;
    },
    oldest: async () => {
      for (const digest of await known()) {
        const bytes = await readable(digest);
        if (bytes !== undefined && digestOf(bytes) === digest) return { digest, bytes };
        await forget(digest);
      }
      return undefined;
    },
    forget,
  };
}

const NAME = /^[0-9a-f]{64}$/;
