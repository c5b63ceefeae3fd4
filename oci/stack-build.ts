import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import type { StackManifest } from "@muto/spec";
import type { RegistryFailure } from "./ask.ts";
import type { RegistryClient } from "./client.ts";
import { isRecord } from "./descriptor.ts";
import { createDigester, digestHex, digestOf } from "./digest.ts";
import type { ContentId } from "./digest.ts";
import { OCI_MANIFEST } from "./media-types.ts";
import { PackError, packFolder } from "./pack.ts";
import type { PackProblem } from "./pack.ts";
import { encodeStackArtifact, parseStackArtifact, parseStackConfig } from "./stack-artifact.ts";
import type { ArtifactRefusal, StackArtifact } from "./stack-artifact.ts";

/** A stack artifact on disk, ready to be pushed: small parts in memory, archives as files. */
export interface BuiltStack {
  readonly artifact: StackArtifact;
  readonly stack: StackManifest;
  readonly manifestBytes: Uint8Array;
  readonly configBytes: Uint8Array;
  /** Path of each archive, by digest. */
  readonly archivePaths: ReadonlyMap<string, string>;
}

export interface StackSource {
  /** The stack manifest as parsed from its file; `archive` of each native workload is filled in from its folder. */
  readonly manifest: Readonly<Record<string, unknown>>;
  /** Absolute path of the folder to pack for each workload, by the workload's name. */
  readonly folders: ReadonlyMap<string, string>;
  /** Existing folder in which the archives are written, named by digest. */
  readonly outputFolder: string;
}

export type StackBuildResult =
  | { readonly ok: true; readonly built: BuiltStack }
  | ArtifactRefusal
  | { readonly ok: false; readonly problem: "cannot-pack"; readonly cause: PackProblem; readonly path: string };

/** Packs every workload's folder, and makes the manifest that names them all. What reading would refuse is refused here. */
export async function buildStackArtifact(disk: Disk, source: StackSource): Promise<StackBuildResult> {
  try {
    const packed = new Map<string, ContentId>();
    for (const folder of new Set(source.folders.values())) {
      packed.set(folder, await packToFile(disk, folder, source.outputFolder));
    }
    return assemble(source, packed);
  } catch (error) {
    if (!(error instanceof PackError)) throw error;
    return { ok: false, problem: "cannot-pack", cause: error.problem, path: error.path };
  }
}

/** Archives first, the manifest last: a registry never holds a manifest whose parts are missing. */
export async function pushStackArtifact(
  ports: { readonly disk: Disk; readonly client: RegistryClient },
  repository: string,
  built: BuiltStack,
  options: { readonly tag?: string; readonly signal?: AbortSignal } = {},
): Promise<{ readonly ok: true; readonly manifestDigest: string } | RegistryFailure> {
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  for (const content of built.artifact.archives) {
    const path = built.archivePaths.get(content.digest);
    if (path === undefined) throw new Error("an archive of the stack was not built");
    await using file = await ports.disk.open(path, "read");
    const read = (offset: number, length: number) => file.read(offset, length);
    const pushed = await ports.client.pushBlob(repository, { content, read, ...signal });
    if (!pushed.ok) return pushed;
  }
  const { configBytes, manifestBytes, artifact } = built;
  const read = async (offset: number, length: number) => configBytes.subarray(offset, offset + length);
  const config = await ports.client.pushBlob(repository, { content: artifact.config, read, ...signal });
  if (!config.ok) return config;
  const tag = options.tag === undefined ? {} : { tag: options.tag };
  const manifest = { bytes: manifestBytes, mediaType: OCI_MANIFEST, ...tag, ...signal };
  const pushed = await ports.client.pushManifest(repository, manifest);
  return pushed.ok ? { ok: true, manifestDigest: pushed.digest } : pushed;
}

export type PulledStack =
  | {
      readonly ok: true;
      readonly artifact: StackArtifact;
      readonly stack: StackManifest;
      readonly manifestBytes: Uint8Array;
      readonly configBytes: Uint8Array;
    }
  | ArtifactRefusal
  | RegistryFailure;

/** Fetches what describes a stack, without its archives: the OCI manifest and the stack manifest, both by digest. */
export async function pullStack(
  client: RegistryClient,
  repository: string,
  manifestDigest: string,
  signal?: AbortSignal,
): Promise<PulledStack> {
  const manifest = await client.pullManifest(repository, manifestDigest, signal);
  if (!manifest.ok) return manifest;
  const parsed = parseStackArtifact(manifest.bytes, manifestDigest);
  if (!parsed.ok) return parsed;
  const pieces: Uint8Array[] = [];
  const write = async (piece: Uint8Array) => void pieces.push(piece);
  const blob = { content: parsed.artifact.config, write, ...(signal === undefined ? {} : { signal }) };
  const pulled = await client.pullBlob(repository, blob);
  if (!pulled.ok) return pulled;
  const configBytes = new Uint8Array(Buffer.concat(pieces));
  const config = parseStackConfig(configBytes, parsed.artifact);
  if (!config.ok) return config;
  return { ok: true, artifact: parsed.artifact, stack: config.stack, manifestBytes: manifest.bytes, configBytes };
}

async function packToFile(disk: Disk, folder: string, outputFolder: string): Promise<ContentId> {
  const temporary = join(outputFolder, "archive.partial");
  await disk.remove(temporary);
  const digester = createDigester();
  {
    await using file = await disk.open(temporary, "create", 0o644);
    for await (const chunk of packFolder(disk, folder)) {
      await file.write(digester.sizeBytes(), chunk);
      digester.update(chunk);
    }
    await file.sync();
  }
  const digest = digester.digest();
  await disk.rename(temporary, archivePath(outputFolder, digest));
  await disk.syncFolder(outputFolder);
  return { digest, sizeBytes: digester.sizeBytes() };
}

function assemble(source: StackSource, packed: ReadonlyMap<string, ContentId>): StackBuildResult {
  const archives = new Map<string, ContentId & { readonly title: string }>();
  const workloads: unknown = source.manifest["workloads"];
  const filled = Array.isArray(workloads)
    ? workloads.map((workload: unknown) => {
        const name = isRecord(workload) ? workload["name"] : undefined;
        const content = typeof name === "string" ? packed.get(source.folders.get(name) ?? "") : undefined;
        if (!isRecord(workload) || content === undefined) return workload;
        if (!archives.has(content.digest))
          archives.set(content.digest, { ...content, title: `${String(name)}.tar.gz` });
        return { ...workload, archive: content.digest };
      })
    : workloads;
  const configBytes = new Uint8Array(Buffer.from(JSON.stringify({ ...source.manifest, workloads: filled }), "utf8"));
  const config = { digest: digestOf(configBytes), sizeBytes: configBytes.byteLength };
  const layers = [...archives.values()];
  const draft = { manifestDigest: config.digest, config, archives: layers };
  const parsed = parseStackConfig(configBytes, draft);
  if (!parsed.ok) return parsed;
  const manifestBytes = encodeStackArtifact(parsed.stack, config, layers);
  const artifact = parseStackArtifact(manifestBytes, digestOf(manifestBytes));
  if (!artifact.ok) return artifact;
  const archivePaths = new Map(layers.map(({ digest }) => [digest, archivePath(source.outputFolder, digest)]));
  return {
    ok: true,
    built: { artifact: artifact.artifact, stack: parsed.stack, manifestBytes, configBytes, archivePaths },
  };
}

function archivePath(folder: string, digest: string): string {
  return join(folder, `${digestHex(digest)}.tar.gz`);
}
