import { join } from "node:path";
import { writeDurably } from "@muto/kit/durable-file";
import { DiskError, type Disk } from "@muto/kit/disk";
import { isDigest } from "@muto/oci/digest";
import { isRecord, jsonIn } from "@muto/oci/descriptor";
import type { OciWorkload, StackManifest } from "@muto/spec";
import type { SetOnDisk } from "../../ports.ts";
import { containerConfigHash } from "./container-spec.ts";

/** What a prepared set expects of its containers, by workload. */
export type SetExpectation = ReadonlyMap<string, ContainerExpectation>;

export interface ContainerExpectation {
  /** Digest of the image's manifest. */
  readonly image: string;
  /** What the engine calls the image. */
  readonly imageId: string;
  readonly configHash: string;
}

const FILE = "containers.json";
const PARAMS = "params";

export function ociWorkloads({ workloads }: StackManifest): readonly OciWorkload[] {
  return workloads.filter((workload) => workload.type === "oci");
}

export function paramsFolder(set: Pick<SetOnDisk, "folder">, workload: Pick<OciWorkload, "name">): string {
  return join(set.folder, "containers", workload.name, PARAMS);
}

/** Lays out the parameter files, readable for whatever user a container has, then writes down what was loaded. */
export async function writeSet(
  disk: Disk,
  set: SetOnDisk,
  imageIds: ReadonlyMap<string, string>,
): Promise<SetExpectation> {
  const workloads = ociWorkloads(set.manifest);
  for (const workload of workloads) {
    if (workload.params.length === 0) continue;
    const folder = paramsFolder(set, workload);
    await disk.remove(folder);
    await disk.makeFolder(folder);
    await disk.setPermissions(folder, 0o755);
    for (const { name, text } of workload.params) {
      await writeDurably(disk, join(folder, name), encode(text), { permissions: 0o644 });
    }
  }
  const expected = new Map(
    workloads.map((workload) => {
      const { name, image } = workload;
      const configHash = containerConfigHash(set.manifest, workload);
      return [name, { image, imageId: imageIds.get(image) ?? "", configHash }] as const;
    }),
  );
  const record = { kind: RECORD_KIND, workloads: [...expected].map(([name, of]) => ({ name, ...of })) };
  await writeDurably(disk, join(set.folder, FILE), encode(JSON.stringify(record)));
  return expected;
}

/** Undefined when there is no such record, or it is damaged. */
export async function readExpectation(disk: Disk, folder: string): Promise<SetExpectation | undefined> {
  const bytes = await disk.read(join(folder, FILE)).catch((error: unknown) => {
    if (error instanceof DiskError) return undefined;
    throw error;
  });
  const record = bytes === undefined ? undefined : jsonIn(bytes);
  if (!isRecord(record) || record["kind"] !== RECORD_KIND || !Array.isArray(record["workloads"])) return undefined;
  const expected = new Map<string, ContainerExpectation>();
  for (const item of record["workloads"]) {
    if (!isRecord(item)) return undefined;
    const { name, image, imageId, configHash } = item;
    if (typeof name !== "string" || typeof image !== "string" || typeof imageId !== "string") return undefined;
    if (typeof configHash !== "string" || ![image, imageId, configHash].every(isDigest)) return undefined;
    expected.set(name, { image, imageId, configHash });
  }
  return expected;
}

/** Whether the record still says what the manifest says, and every parameter file is what it was, no more and no less. */
export async function isSetWhole(disk: Disk, set: SetOnDisk, expected: SetExpectation): Promise<boolean> {
  for (const workload of ociWorkloads(set.manifest)) {
    const known = expected.get(workload.name);
    if (known?.image !== workload.image || known.configHash !== containerConfigHash(set.manifest, workload))
      return false;
    const folder = paramsFolder(set, workload);
    const names = (await disk.list(folder)).map(({ name, kind }) => `${kind} ${name}`);
    if (
      names.join("\n") !==
      workload.params
        .map(({ name }) => `file ${name}`)
        .toSorted()
        .join("\n")
    )
      return false;
    for (const { name, text } of workload.params) {
      const bytes = await disk.read(join(folder, name));
      if (bytes === undefined || Buffer.compare(bytes, encode(text)) !== 0) return false;
    }
  }
  return true;
}

const RECORD_KIND = "muto.containers/v1";

function encode(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "utf8"));
}
