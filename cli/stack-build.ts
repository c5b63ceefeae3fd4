import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemDisk } from "@muto/kit/disk";
import type { RegistryClient } from "@muto/oci/client";
import type { SourceImage } from "@muto/oci/image-source";
import { parsePlatform, platformText } from "@muto/oci/platform";
import { buildStackArtifact } from "@muto/oci/stack-build";
import type { BuiltStack, StackBuildResult } from "@muto/oci/stack-build";
import { CommandFailed } from "./command.ts";
import type { Input } from "./command.ts";
import type { Io } from "./io.ts";
import { openSourceRegistry } from "./registry.ts";
import { bytesText } from "./show.ts";
import { readStackFile } from "./stack-file.ts";
import type { StackFile } from "./stack-file.ts";
import { findImage } from "./stack-image.ts";
import type { ImageContext } from "./stack-image.ts";

/** Options of every verb that builds a stack from its file. */
export const buildOptions = {
  platform: {
    about: "platform of the images, as in linux/arm64; default this computer's where an image has several",
    type: "text",
    value: "OS/ARCH",
  },
} as const;

/** A stack built from its author's file. What was made for it is removed when it is disposed of. */
export interface LocalStack extends AsyncDisposable {
  readonly built: BuiltStack;
  /** By the digest that workloads name. */
  readonly images: ReadonlyMap<string, SourceImage>;
}

/** `target` is the registry that the stack will be pushed to, which an image may be copied within. */
export async function buildFromFile(
  file: string,
  { input, io, target }: { readonly input: Input; readonly io: Io; readonly target?: RegistryClient },
): Promise<LocalStack> {
  await using made = new AsyncDisposableStack();
  const outputFolder = await mkdtemp(join(tmpdir(), "muto-stack-"));
  made.defer(() => rm(outputFolder, { recursive: true, force: true }));
  const source = await readStackFile(systemDisk(), file);
  const images = await findImages(source, imageContext(source, outputFolder, { input, io, target }), io);
  const { manifest, folders } = source;
  const result = await buildStackArtifact(systemDisk(), { manifest, folders, images, outputFolder });
  if (!result.ok) throw refused(source, file, result);
  const kept = made.move();
  return {
    built: result.built,
    images: new Map([...images.values()].map((image) => [image.digest, image])),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function imageContext(
  { folder }: StackFile,
  outputFolder: string,
  { input, io, target }: { readonly input: Input; readonly io: Io; readonly target: RegistryClient | undefined },
): ImageContext {
  const given = input.text("platform");
  const platform = given === undefined ? { os: "linux", architecture: io.architecture } : parsePlatform(given);
  if (platform === undefined) {
    throw new CommandFailed(`--platform ${String(given)} is none`, { exitCode: 2, hint: "--platform linux/arm64" });
  }
  const clientFor = async (registry: string) =>
    target !== undefined && new URL(target.origin).host === registry ? target : await openSourceRegistry(registry, io);
  const choice = { platform, platformGiven: given !== undefined };
  return { disk: systemDisk(), folder, outputFolder, choice, clientFor, signal: io.signal };
}

/** Each image once, whatever number of workloads run it. */
async function findImages(source: StackFile, context: ImageContext, io: Io): Promise<ReadonlyMap<string, SourceImage>> {
  const found = new Map<string, SourceImage>();
  const images = new Map<string, SourceImage>();
  for (const [name, text] of source.images) {
    if (!found.has(text)) io.error(`reading ${text}\n`);
    const image = found.get(text) ?? (await findImage(text, `image of ${name}`, context));
    found.set(text, image);
    images.set(name, image);
    const { config, layers } = image.image;
    const bytes = [config, ...layers].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    io.error(`image of ${name}: ${platformText(image.platform)}, ${bytesText(bytes)}, ${image.digest}\n`);
  }
  const platforms = new Set([...images.values()].map(({ platform }) => platformText(platform)));
  if (platforms.size > 1) io.error(`warning: the images are for different platforms: ${[...platforms].join(", ")}\n`);
  return images;
}

function refused(
  source: StackFile,
  file: string,
  result: Exclude<StackBuildResult, { readonly ok: true }>,
): CommandFailed {
  if (result.problem === "cannot-pack") {
    const hint = PACK_HINTS.get(result.cause);
    return new CommandFailed(`${result.path} cannot be packed: ${result.cause}`, hint === undefined ? {} : { hint });
  }
  if (result.problem === "cannot-unpack") {
    const entry = result.entry === undefined ? "" : ` (${result.entry})`;
    return new CommandFailed(`${result.path} is no archive that a vehicle would take: ${result.cause}${entry}`, {
      hint: "tar -czf FILE.tar.gz -C FOLDER .   (or name the folder itself)",
    });
  }
  const problems = "problems" in result ? (result.problems ?? []) : [];
  if (problems.length === 0) return new CommandFailed(`${file}: ${result.problem}`);
  const lines = problems.map(({ path, message }) => `${source.place(path)}: ${path} ${message}`);
  return new CommandFailed(lines.join("\n      "));
}

const PACK_HINTS: ReadonlyMap<string, string> = new Map([
  ["link-escapes", "copy what the link leads to; with colcon, build without --symlink-install"],
  ["folder-missing", "build first, or correct `archive`"],
]);
