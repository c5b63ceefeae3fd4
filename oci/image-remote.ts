import { join } from "node:path";
import type { Disk, DiskFile } from "@muto/kit/disk";
import { parseJson } from "@muto/spec";
import { BlobSourceError, fileSource } from "./blob-source.ts";
import type { BlobSource } from "./blob-source.ts";
import type { RegistryFailure } from "./ask.ts";
import type { RegistryClient } from "./client.ts";
import { parseIndex } from "./descriptor.ts";
import { createDigester, digestHex } from "./digest.ts";
import type { ContentId } from "./digest.ts";
import { IMAGE_MANIFEST_BYTES_MAX, parseImageManifest } from "./image-manifest.ts";
import { choosePlatform, imageOf, refuse } from "./image-source.ts";
import type { FoundImage, ImageChoice, ImageRefusal, ImageStore } from "./image-source.ts";
import { DOCKER_INDEX, OCI_INDEX } from "./media-types.ts";
import { pullSmallBlob } from "./stack-pull.ts";

const BOUNDS = { bytesMax: IMAGE_MANIFEST_BYTES_MAX, depthMax: 16 };
/** A connection that breaks in the middle of a large layer is taken up where it ended. */
const TRIES_MAX = 5;

export interface RemoteImage {
  readonly repository: string;
  /** Of the image's manifest, or of an index that holds it. */
  readonly digest: string;
  /** Existing folder for layers that have to be copied over this computer; it must outlive the image. */
  readonly outputFolder: string;
}

/** An image that lies in a registry. Its layers are fetched only when they are read: what is mounted or there already never is. */
export async function readRemoteImage(
  ports: { readonly disk: Disk; readonly client: RegistryClient },
  remote: RemoteImage,
  choice: ImageChoice,
  signal?: AbortSignal,
): Promise<FoundImage> {
  const manifest = await manifestOf(ports.client, remote, choice, signal);
  if ("problem" in manifest) return manifest;
  const parsed = parseImageManifest(manifest);
  if (!parsed.ok) return parsed;
  const contents = new Map([parsed.image.config, ...parsed.image.layers].map((blob) => [blob.digest, blob]));
  const store: ImageStore = {
    small: async (content) => {
      const pulled = await pullSmallBlob(ports.client, remote.repository, content, signal);
      return pulled.ok ? pulled.bytes : failed(pulled, content.digest);
    },
    blob: (digest) => {
      const content = contents.get(digest);
      if (content === undefined) throw new Error("a blob that the image does not name");
      return remoteSource(ports, remote, content);
    },
  };
  return await imageOf(store, manifest, choice);
}

async function manifestOf(
  client: RegistryClient,
  { repository, digest }: RemoteImage,
  choice: ImageChoice,
  signal: AbortSignal | undefined,
): Promise<Uint8Array | ImageRefusal> {
  const pulled = await client.pullManifest(repository, digest, signal);
  if (!pulled.ok) return failed(pulled, digest);
  const json = parseJson(pulled.bytes, BOUNDS);
  const entries = json.ok ? parseIndex(json.value) : undefined;
  if (entries === undefined) return pulled.bytes;
  const chosen = choosePlatform(entries, choice.platform);
  if (!chosen.ok) return chosen;
  const { entry } = chosen;
  if (entry.mediaType === OCI_INDEX || entry.mediaType === DOCKER_INDEX) return refuse("index");
  const image = await client.pullManifest(repository, entry.digest, signal);
  return image.ok ? image.bytes : failed(image, entry.digest);
}

function remoteSource(
  { disk, client }: { readonly disk: Disk; readonly client: RegistryClient },
  { repository, outputFolder }: RemoteImage,
  content: ContentId,
): BlobSource {
  const path = join(outputFolder, `${digestHex(content.digest)}.blob`);
  return {
    origin: { registry: client.origin, repository },
    open: async (signal) => {
      if ((await disk.stat(path)) === undefined) {
        const partial = `${path}.partial`;
        await disk.remove(partial);
        {
          await using file = await disk.open(partial, "create", 0o644);
          await fetchInto(file, client, { repository, content, signal });
        }
        await disk.rename(partial, path);
      }
      return await fileSource(disk, path).open();
    },
  };
}

async function fetchInto(
  file: DiskFile,
  client: RegistryClient,
  blob: { readonly repository: string; readonly content: ContentId; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const { repository, content, signal } = blob;
  const resume = createDigester();
  let offset = 0;
  const write = async (bytes: Uint8Array) => {
    await file.write(offset, bytes);
    offset += bytes.byteLength;
  };
  for (let tries = 1; ; tries++) {
    const pulled = await client.pullBlob(repository, {
      content,
      write,
      resume,
      ...(signal === undefined ? {} : { signal }),
    });
    if (pulled.ok) return;
    const mayGoOn = pulled.problem === "truncated" || pulled.problem === "too-slow";
    if (!mayGoOn || tries >= TRIES_MAX || signal?.aborted === true) {
      throw new BlobSourceError(`${client.origin}/${repository}: ${pulled.problem}`);
    }
  }
}

function failed(failure: RegistryFailure, digest: string): ImageRefusal {
  if (failure.problem === "not-found") return { ...refuse("missing"), at: digest };
  if (failure.problem === "digest-mismatch") return { ...refuse("digest-mismatch"), at: digest };
  return { ...refuse("registry-failed"), at: failure.problem };
}
