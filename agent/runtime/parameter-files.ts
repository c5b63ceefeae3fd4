import { join } from "node:path";
import { DiskError, type Disk } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import type { NativeWorkload } from "@muto/spec";
import type { SetOnDisk } from "../ports.ts";

/** Where the parameter files of a native workload lie, in its set; undefined when it has none. */
export function paramsFolderOf(
  { folder }: Pick<SetOnDisk, "folder">,
  { name, params }: Pick<NativeWorkload, "name" | "params">,
): string | undefined {
  return params.length === 0 ? undefined : join(folder, "native", name, "params");
}

/** Lays out the files of every native workload of the set. Rejects with a DiskError. */
export async function writeParams(disk: Disk, set: SetOnDisk): Promise<void> {
  for (const { folder, params } of paramsOf(set)) {
    if (await isWhole(disk, folder, params)) continue;
    await disk.remove(folder);
    await disk.makeFolder(folder);
    await disk.setPermissions(folder, 0o755);
    for (const { name, text } of params) {
      await writeDurably(disk, join(folder, name), Buffer.from(text), { permissions: 0o444 });
    }
  }
}

/** Whether every file is what the manifest says, no more and no less. What cannot be read is not. */
export async function areParamsWhole(disk: Disk, set: SetOnDisk): Promise<boolean> {
  try {
    for (const { folder, params } of paramsOf(set)) if (!(await isWhole(disk, folder, params))) return false;
    return true;
  } catch (error) {
    if (error instanceof DiskError) return false;
    throw error;
  }
}

type Params = NativeWorkload["params"];

function paramsOf(set: SetOnDisk): readonly { readonly folder: string; readonly params: Params }[] {
  return set.manifest.workloads.flatMap((workload) => {
    const folder = workload.type === "native" ? paramsFolderOf(set, workload) : undefined;
    return folder === undefined ? [] : [{ folder, params: workload.params }];
  });
}

async function isWhole(disk: Disk, folder: string, params: Params): Promise<boolean> {
  const entries = await disk.list(folder);
  const names = new Set(entries.map(({ name, kind }) => `${kind} ${name}`));
  if (names.size !== params.length) return false;
  for (const { name, text } of params) {
    if (!names.has(`file ${name}`)) return false;
    const bytes = await disk.read(join(folder, name));
    if (bytes === undefined || Buffer.compare(bytes, Buffer.from(text)) !== 0) return false;
  }
  return true;
}
