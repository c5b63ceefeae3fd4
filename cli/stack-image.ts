import { resolve } from "node:path";
import type { Disk } from "@muto/kit/disk";
import type { RegistryClient } from "@muto/oci/client";
import { isDigest } from "@muto/oci/digest";
import { readLocalImage } from "@muto/oci/image-local";
import { readRemoteImage } from "@muto/oci/image-remote";
import type { FoundImage, ImageChoice, ImageRefusal, SourceImage } from "@muto/oci/image-source";
import { platformText } from "@muto/oci/platform";
import { formatReference, parseReference } from "@muto/oci/reference";
import type { Reference } from "@muto/oci/reference";
import { CommandFailed } from "./command.ts";

/** What `image` of a workload may say in a stack's file. */
export type ImageText =
  | { readonly kind: "local"; readonly path: string; readonly name?: string }
  | { readonly kind: "remote"; readonly reference: Reference };

export interface ImageContext {
  readonly disk: Disk;
  /** The folder that relative paths start from. */
  readonly folder: string;
  readonly outputFolder: string;
  readonly choice: ImageChoice;
  readonly clientFor: (registry: string) => Promise<RegistryClient>;
  readonly signal: AbortSignal;
}

const FORMS = "./FOLDER or ./FILE.tar (an OCI layout, or docker save), or REGISTRY/REPOSITORY@sha256:…";

/** Finds the image that a workload names, wherever it lies. Throws {@link CommandFailed}, which says what to write instead. */
export async function findImage(text: string, about: string, context: ImageContext): Promise<SourceImage> {
  const parsed = await parseImageText(text, about, context);
  const found =
    parsed.kind === "local" ? await findLocal(parsed, context) : await findRemote(parsed.reference, about, context);
  if (found.ok) return found.image;
  throw new CommandFailed(`${about}: ${text}: ${explain(found, context.choice)}`, hintOf(found, text));
}

/**
 * As skopeo writes it (`oci:PATH:NAME`, `oci-archive:PATH`, `docker-archive:PATH:NAME`), or a path alone, or a reference into a
 * registry. A path is told from a reference by its first character, or by being there.
 */
async function parseImageText(text: string, about: string, { disk, folder }: ImageContext): Promise<ImageText> {
  const [, rest] = /^(?:oci|oci-archive|docker-archive):(.+)$/.exec(text) ?? [];
  if (rest !== undefined) {
    const colon = rest.indexOf(":");
    const path = resolve(folder, colon === -1 ? rest : rest.slice(0, colon));
    return { kind: "local", path, ...(colon === -1 ? {} : { name: rest.slice(colon + 1) }) };
  }
  const path = resolve(folder, text);
  if (/^\.{0,2}\//.test(text) || (await disk.stat(path)) !== undefined) return { kind: "local", path };
  if (isDigest(text)) {
    throw new CommandFailed(`${about}: ${text} says which image, but not where it lies`, {
      hint: `image: REGISTRY/REPOSITORY@${text}`,
    });
  }
  const parsed = parseReference(text);
  if (parsed.ok) return { kind: "remote", reference: parsed.reference };
  throw new CommandFailed(`${about}: ${text} is neither there nor a reference: ${parsed.problem}`, { hint: FORMS });
}

async function findLocal(
  { path, name }: Extract<ImageText, { kind: "local" }>,
  context: ImageContext,
): Promise<FoundImage> {
  const choice = name === undefined ? context.choice : { ...context.choice, name };
  return await readLocalImage(context.disk, { path, outputFolder: context.outputFolder }, choice);
}

async function findRemote(reference: Reference, about: string, context: ImageContext): Promise<FoundImage> {
  const { registry, digest, tag } = reference;
  // Docker's own images are commonly written without the `library/` under which they lie.
  const isShort = registry === "docker.io" && !reference.repository.includes("/");
  const repository = isShort ? `library/${reference.repository}` : reference.repository;
  const client = await context.clientFor(registry);
  if (digest === undefined) throw await tagRefused(client, { registry, repository, tag: tag ?? "latest" }, about);
  const { disk, outputFolder, choice, signal } = context;
  return await readRemoteImage({ disk, client }, { repository, digest, outputFolder }, choice, signal);
}

/** A tag can be moved, so a release that names one would not say what it is; the author is told what it names today. */
async function tagRefused(
  client: RegistryClient,
  at: { readonly registry: string; readonly repository: string; readonly tag: string },
  about: string,
): Promise<CommandFailed> {
  const { registry, repository, tag } = at;
  const found = await client.findManifest(repository, tag);
  const digest = found.ok ? found.digest : undefined;
  const named = `${about}: ${formatReference({ registry, repository, tag })} names an image by a tag, which can be moved`;
  return digest === undefined
    ? new CommandFailed(named, { hint: `image: ${registry}/${repository}@sha256:…` })
    : new CommandFailed(named, {
        hint: `image: ${formatReference({ registry, repository, digest })}   (what the tag names now)`,
      });
}

function explain(refusal: ImageRefusal, { platform }: ImageChoice): string {
  const choices = refusal.choices ?? [];
  const list = choices.length === 0 ? "" : `: ${choices.slice(0, 20).join(", ")}`;
  const at = refusal.at === undefined ? "" : `: ${refusal.at}`;
  switch (refusal.problem) {
    case "missing":
      return `does not exist${at}`;
    case "not-an-image-source":
      return "is neither an OCI image layout nor an archive of docker save, podman save or skopeo";
    case "several-images":
      return `holds several images${list}`;
    case "no-such-image":
      return `holds no such image${list}`;
    case "no-such-platform":
      return `holds no image for ${platformText(platform)}${choices.length === 0 ? "" : `; it holds ${choices.join(", ")}`}`;
    case "other-platform":
      return `is for ${choices.join(", ")}, not for ${platformText(platform)}`;
    case "zstd-layer":
      return "has zstd layers, which not every engine can read";
    case "layer-type":
      return "has a layer of an unknown kind, or one that lies elsewhere";
    case "index":
      return "is an index of indexes";
    case "not-a-manifest":
    case "not-an-image":
      return "is no container image";
    case "too-many-layers":
    case "manifest-too-large":
    case "config-too-large":
      return `is larger than an engine takes: ${refusal.problem}`;
    case "config-malformed":
      return "has a configuration that does not fit its layers";
    case "blob-missing":
      return `is incomplete${at}`;
    case "digest-mismatch":
      return `is damaged${at}`;
    case "registry-failed":
      return `cannot be read${at}`;
  }
}

function hintOf({ problem, choices }: ImageRefusal, text: string): { readonly hint?: string } {
  switch (problem) {
    case "several-images":
    case "no-such-image":
      return { hint: `image: oci:${/^[a-z-]+:([^:]+)/.exec(text)?.[1] ?? text}:${choices?.[0] ?? "NAME"}` };
    case "no-such-platform":
      return { hint: `--platform ${choices?.[0] ?? "linux/arm64"}` };
    case "other-platform":
      return { hint: "build the image for the vehicle's platform, or leave --platform out" };
    case "zstd-layer":
      return { hint: "skopeo copy --dest-compress-format gzip SOURCE oci:./layout   (or build with compression=gzip)" };
    case "registry-failed":
      return { hint: "podman login REGISTRY   (or docker login), which is read from its file" };
    case "missing":
    case "not-an-image-source":
    case "layer-type":
    case "index":
    case "not-a-manifest":
    case "not-an-image":
    case "too-many-layers":
    case "manifest-too-large":
    case "config-too-large":
    case "config-malformed":
    case "blob-missing":
    case "digest-mismatch":
      return {};
  }
}
