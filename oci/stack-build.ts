import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { MEDIA_TYPES } from "@muto/spec";
import type { Problem, StackManifest } from "@muto/spec";
import { archiveProblems, checkArchive, contentOfFolder, contentOfListing } from "./archive-check.ts";
import type { ArchiveContent } from "./archive-check.ts";
import { bytesSource, fileSource } from "./blob-source.ts";
import type { BlobSource } from "./blob-source.ts";
import { isRecord } from "./descriptor.ts";
import { createDigester, digestHex, digestOf } from "./digest.ts";
import type { ContentId, Digester } from "./digest.ts";
import type { SourceImage } from "./image-source.ts";
import { PackError, packFolder } from "./pack.ts";
import type { PackProblem } from "./pack.ts";
import { encodeStackArtifact, parseStackArtifact, parseStackConfig, parseStackImages } from "./stack-artifact.ts";
import type { ArtifactRefusal, StackLayer } from "./stack-artifact.ts";
import type { DescribedStack } from "./stack-pull.ts";
import type { UnpackProblem } from "./unpack.ts";

/** A stack artifact ready to be pushed: what describes it in memory, everything else where it can be read from. */
export interface BuiltStack extends DescribedStack {
  /** Where the bytes of each layer of the artifact come from, by digest. */
  readonly blobs: ReadonlyMap<string, BlobSource>;
}

export interface StackSource {
  /** The stack manifest as parsed from its file; `archive` and `image` of each workload are filled in from what follows. */
  readonly manifest: Readonly<Record<string, unknown>>;
  /** Absolute path of the folder to pack, or of the `tar.gz` to take as it is, for each native workload by its name. */
  readonly folders: ReadonlyMap<string, string>;
  /** The image of each container, by the workload's name. */
  readonly images?: ReadonlyMap<string, SourceImage>;
  /** Existing folder in which the archives are written, named by digest. */
  readonly outputFolder: string;
}

export type StackBuildResult =
  | { readonly ok: true; readonly built: BuiltStack }
  | ArtifactRefusal
  | { readonly ok: false; readonly problem: "cannot-pack"; readonly cause: PackProblem; readonly path: string }
  | {
      readonly ok: false;
      readonly problem: "cannot-unpack";
      readonly cause: UnpackProblem;
      /** Of the archive. */
      readonly path: string;
      /** Inside the archive. */
      readonly entry?: string;
    };

/**
 * Packs every workload's folder, and makes the manifest that names everything. What reading would refuse is refused here, and so is
 * a program that is not in its archive.
 */
export async function buildStackArtifact(disk: Disk, source: StackSource): Promise<StackBuildResult> {
  try {
    const packed = new Map<string, PackedArchive>();
    for (const path of new Set(source.folders.values())) {
      const isFile = (await disk.stat(path))?.kind === "file";
      const archive = isFile ? await takeArchive(disk, path) : await packToFile(disk, path, source.outputFolder);
      if ("problem" in archive) return archive;
      packed.set(path, archive);
    }
    const result = assemble(source, packed);
    if (!result.ok) return result;
    const problems = await missingPrograms(source, packed, result.built.stack);
    return problems.length === 0 ? result : { ok: false, problem: "not-a-stack-manifest", problems };
  } catch (error) {
    if (!(error instanceof PackError)) throw error;
    return { ok: false, problem: "cannot-pack", cause: error.problem, path: error.path };
  }
}

interface PackedArchive extends ContentId {
  readonly source: BlobSource;
  readonly content: ArchiveContent;
}

async function missingPrograms(
  source: StackSource,
  packed: ReadonlyMap<string, PackedArchive>,
  { workloads }: StackManifest,
): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  for (const [index, workload] of workloads.entries()) {
    const archive = packed.get(source.folders.get(workload.name) ?? "");
    if (workload.type !== "native" || archive === undefined) continue;
    problems.push(...(await archiveProblems(workload, archive.content, `/workloads/${index}`)));
  }
  return problems;
}

/** An archive that somebody made: its bytes stay, after they were read as a vehicle will read them. */
async function takeArchive(
  disk: Disk,
  path: string,
): Promise<PackedArchive | Extract<StackBuildResult, { readonly problem: "cannot-unpack" }>> {
  const digester = createDigester();
  const checked = await checkArchive(hashed(disk, path, digester));
  if (!checked.ok) {
    const entry = checked.path === undefined ? {} : { entry: checked.path };
    return { ok: false, problem: "cannot-unpack", cause: checked.problem, path, ...entry };
  }
  const source = fileSource(disk, path);
  return { digest: digester.digest(), sizeBytes: digester.sizeBytes(), source, content: contentOfListing(checked) };
}

async function* hashed(disk: Disk, path: string, digester: Digester): AsyncGenerator<Uint8Array> {
  await using file = await disk.open(path, "read");
  for (;;) {
    const piece = await file.read(digester.sizeBytes(), READ_BYTES);
    if (piece.byteLength === 0) return;
    digester.update(piece);
    yield piece;
  }
}

const READ_BYTES = 1024 * 1024;

async function packToFile(disk: Disk, folder: string, outputFolder: string): Promise<PackedArchive> {
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
  const path = join(outputFolder, `${digestHex(digest)}.tar.gz`);
  await disk.rename(temporary, path);
  await disk.syncFolder(outputFolder);
  return {
    digest,
    sizeBytes: digester.sizeBytes(),
    source: fileSource(disk, path),
    content: contentOfFolder(disk, folder),
  };
}

/** Layers in the order of the workloads: archives first, then each image's manifest, configuration and layers. */
class Layers {
  readonly list: (StackLayer & { readonly title?: string })[] = [];
  readonly blobs = new Map<string, BlobSource>();

  add(layer: StackLayer & { readonly title?: string }, source: BlobSource): void {
    if (this.blobs.has(layer.digest)) return;
    this.blobs.set(layer.digest, source);
    this.list.push(layer);
  }
}

function assemble(source: StackSource, packed: ReadonlyMap<string, PackedArchive>): StackBuildResult {
  const layers = new Layers();
  const written: unknown = source.manifest["workloads"];
  const workloads: readonly unknown[] = Array.isArray(written) ? written : [];
  const images = new Map<string, Uint8Array>();
  const archiveOf = (workload: unknown) => packed.get(source.folders.get(nameOf(workload)) ?? "");
  const imageOf = (workload: unknown) => source.images?.get(nameOf(workload));
  for (const workload of workloads) {
    const archive = archiveOf(workload);
    if (archive === undefined) continue;
    const { digest, sizeBytes } = archive;
    const title = `${nameOf(workload)}.tar.gz`;
    layers.add({ mediaType: MEDIA_TYPES.stackArchive, digest, sizeBytes, title }, archive.source);
  }
  for (const workload of workloads) {
    const image = imageOf(workload);
    if (image === undefined) continue;
    images.set(image.digest, image.manifestBytes);
    addImage(layers, image);
  }
  const filled = workloads.map((workload) => {
    const archive = archiveOf(workload)?.digest;
    const image = imageOf(workload)?.digest;
    if (!isRecord(workload)) return workload;
    return {
      ...workload,
      ...(archive === undefined ? {} : { archive }),
      ...(image === undefined ? {} : { image }),
    };
  });
  const manifest = { ...source.manifest, workloads: Array.isArray(written) ? filled : written };
  return described(manifest, layers, images);
}

/** Reads back what was made, exactly as a vehicle will. */
function described(
  manifest: Readonly<Record<string, unknown>>,
  layers: Layers,
  manifests: ReadonlyMap<string, Uint8Array>,
): StackBuildResult {
  const configBytes = new Uint8Array(Buffer.from(JSON.stringify(manifest), "utf8"));
  const config = { digest: digestOf(configBytes), sizeBytes: configBytes.byteLength };
  const draft = { manifestDigest: config.digest, config, layers: layers.list };
  const parsed = parseStackConfig(configBytes, draft);
  if (!parsed.ok) return parsed;
  const { stack } = parsed;
  const manifestBytes = encodeStackArtifact(stack, config, layers.list);
  const artifact = parseStackArtifact(manifestBytes, digestOf(manifestBytes));
  if (!artifact.ok) return artifact;
  const images = parseStackImages(manifests, artifact.artifact);
  if (!images.ok) return images;
  const { blobs } = layers;
  return {
    ok: true,
    built: { artifact: artifact.artifact, stack, images: images.images, manifestBytes, configBytes, blobs },
  };
}

function addImage(layers: Layers, source: SourceImage): void {
  const { digest, manifestBytes, image } = source;
  const sizeBytes = manifestBytes.byteLength;
  layers.add({ mediaType: image.mediaType, digest, sizeBytes }, bytesSource(manifestBytes));
  for (const blob of [image.config, ...image.layers]) {
    const { mediaType, digest: of, sizeBytes: size } = blob;
    layers.add({ mediaType, digest: of, sizeBytes: size }, source.blob(of));
  }
}

function nameOf(workload: unknown): string {
  const name = isRecord(workload) ? workload["name"] : undefined;
  return typeof name === "string" ? name : "";
}
