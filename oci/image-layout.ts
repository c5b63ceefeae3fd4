import { parseJson } from "@muto/spec";
import { isRecord, parseIndex } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { createDigester, digestHex, digestOf } from "./digest.ts";
import type { ContentId } from "./digest.ts";
import { bytesOf, readSmall } from "./image-files.ts";
import type { ImageFile, ImageFiles } from "./image-files.ts";
import { IMAGE_MANIFEST_BYTES_MAX } from "./image-manifest.ts";
import { choosePlatform, imageOf, refuse } from "./image-source.ts";
import type { FoundImage, ImageChoice, ImageRefusal, ImageStore } from "./image-source.ts";
import { DOCKER_INDEX, OCI_INDEX } from "./media-types.ts";

const BOUNDS = { bytesMax: IMAGE_MANIFEST_BYTES_MAX, depthMax: 16 };
/** An index of indexes is one level too many already for most programs. */
const NESTING_MAX = 3;

/**
 * An image from an OCI image layout (image specification 1.1, "Image Layout"), as it is: its digest stays. Undefined when the
 * files are no layout. Every blob is read and verified, so that what was damaged shows here and not on the road.
 */
export async function imageInLayout(files: ImageFiles, choice: ImageChoice): Promise<FoundImage | undefined> {
  const [marker, index] = [await files.find("oci-layout"), await files.find("index.json")];
  if (marker === undefined || index === undefined) return undefined;
  const entries = await indexEntries(index);
  if (entries === undefined) return refuse("not-an-image-source");
  const named = oneImage(entries, choice.name);
  if (!Array.isArray(named)) return named;
  const manifest = await resolve(files, named, choice, 0);
  if ("problem" in manifest) return manifest;
  const found = await imageOf(storeOf(files), manifest, choice);
  if (!found.ok) return found;
  for (const layer of found.image.image.layers) {
    const problem = await damageOf(files, layer);
    if (problem !== undefined) return problem;
  }
  return found;
}

/** The entries of one image: those with the name asked for, or all when they are one image. */
function oneImage(entries: readonly Descriptor[], name: string | undefined): Descriptor[] | ImageRefusal {
  const names = [...new Set(entries.flatMap((entry) => namesOf(entry).slice(0, 1)))];
  const wanted = name === undefined ? entries : entries.filter((entry) => namesOf(entry).includes(name));
  if (wanted.length === 0) return { ...refuse("no-such-image"), choices: names };
  // Several names may stand for the same content.
  const different = wanted.filter(({ digest }, at) => wanted.findIndex((one) => one.digest === digest) === at);
  const isOne = name !== undefined || names.length <= 1 || different.length === 1;
  return isOne ? different : { ...refuse("several-images"), choices: names };
}

/** The full name that Docker and containerd add, then the one of the specification, which is often the tag alone. */
function namesOf({ annotations }: Descriptor): readonly string[] {
  const names = [annotations?.["io.containerd.image.name"], annotations?.["org.opencontainers.image.ref.name"]];
  return names.filter((name) => name !== undefined);
}

async function resolve(
  files: ImageFiles,
  entries: readonly Descriptor[],
  choice: ImageChoice,
  depth: number,
): Promise<Uint8Array | ImageRefusal> {
  const chosen = choosePlatform(entries, choice.platform);
  if (!chosen.ok) return chosen;
  const { entry } = chosen;
  const bytes = await smallBlob(files, entry);
  if ("problem" in bytes) return bytes;
  if (entry.mediaType !== OCI_INDEX && entry.mediaType !== DOCKER_INDEX) return bytes;
  const inner = entriesIn(bytes);
  return inner === undefined || depth >= NESTING_MAX
    ? refuse("not-a-manifest")
    : await resolve(files, inner, choice, depth + 1);
}

function storeOf(files: ImageFiles): ImageStore {
  return {
    small: (content) => smallBlob(files, content),
    blob: (digest) => ({
      open: async () => {
        const file = await files.find(blobName(digest));
        if (file === undefined) throw new Error("a blob of the layout is gone");
        return await file.open();
      },
    }),
  };
}

async function smallBlob(files: ImageFiles, { digest, sizeBytes }: ContentId): Promise<Uint8Array | ImageRefusal> {
  const file = await files.find(blobName(digest));
  if (file === undefined) return { ...refuse("blob-missing"), at: digest };
  const bytes = file.sizeBytes === sizeBytes ? await readSmall(file, BOUNDS.bytesMax * 2) : undefined;
  return bytes !== undefined && digestOf(bytes) === digest ? bytes : { ...refuse("digest-mismatch"), at: digest };
}

async function damageOf(files: ImageFiles, { digest, sizeBytes }: ContentId): Promise<ImageRefusal | undefined> {
  const file = await files.find(blobName(digest));
  if (file === undefined) return { ...refuse("blob-missing"), at: digest };
  const digester = createDigester();
  for await (const piece of bytesOf(file)) digester.update(piece);
  const whole = digester.sizeBytes() === sizeBytes && digester.digest() === digest;
  return whole ? undefined : { ...refuse("digest-mismatch"), at: digest };
}

async function indexEntries(file: ImageFile): Promise<readonly Descriptor[] | undefined> {
  const bytes = await readSmall(file, BOUNDS.bytesMax);
  return bytes === undefined ? undefined : entriesIn(bytes);
}

function entriesIn(bytes: Uint8Array): readonly Descriptor[] | undefined {
  const json = parseJson(bytes, BOUNDS);
  return json.ok && isRecord(json.value) ? parseIndex(json.value) : undefined;
}

function blobName(digest: string): string {
  return `blobs/sha256/${digestHex(digest)}`;
}
