import { descriptorJson, isRecord, parseIndex, parseManifest } from "../descriptor.ts";
import type { Descriptor } from "../descriptor.ts";
import { digestOf, isDigest } from "../digest.ts";
import { DOCKER_INDEX, OCI_EMPTY, OCI_INDEX } from "../media-types.ts";
import { isTag } from "../reference.ts";
import { errorReply, jsonReply } from "./answers.ts";
import type { Reply } from "./answers.ts";
import type { RegistryStore } from "./store.ts";

const TAGS_PER_PAGE_MAX = 1000;

export async function getManifest(store: RegistryStore, repository: string, reference: string): Promise<Reply> {
  const digest = isDigest(reference)
    ? reference
    : isTag(reference)
      ? await store.findTag(repository, reference)
      : undefined;
  const record = digest === undefined ? undefined : await store.findManifest(repository, digest);
  const body = digest === undefined || record === undefined ? undefined : await store.readBlob(digest);
  if (digest === undefined || record === undefined || body === undefined) {
    return errorReply("MANIFEST_UNKNOWN", "this repository has no such manifest");
  }
  const headers = { "content-type": record.mediaType, "docker-content-digest": digest, etag: `"${digest}"` };
  return { status: 200, headers, body };
}

/** Stores the exact bytes. Everything it names must be here already, except its subject, which may come later. */
export async function putManifest(
  store: RegistryStore,
  repository: string,
  put: { readonly reference: string; readonly mediaType: string | undefined; readonly bytes: Uint8Array },
): Promise<Reply> {
  const { reference, bytes } = put;
  const digest = digestOf(bytes);
  if (reference.includes(":") && reference !== digest) {
    return errorReply("DIGEST_INVALID", "the manifest does not have the digest that it is put under");
  }
  if (!reference.includes(":") && !isTag(reference)) return errorReply("MANIFEST_INVALID", "not a tag");
  const read = readManifest(bytes, put.mediaType);
  if (read === undefined) return errorReply("MANIFEST_INVALID", "neither an image manifest nor an image index");
  for (const blob of read.blobs) {
    if ((await store.findBlob(blob)) === undefined) return errorReply("MANIFEST_BLOB_UNKNOWN", "names an unknown blob");
  }
  for (const child of read.manifests) {
    if ((await store.findManifest(repository, child)) === undefined) {
      return errorReply("MANIFEST_BLOB_UNKNOWN", "names an unknown manifest");
    }
  }
  await store.writeBlob(digest, bytes);
  const { mediaType, subject } = read;
  const descriptor = descriptorJson({ ...read.about, mediaType, digest, sizeBytes: bytes.byteLength });
  const referrer = subject === undefined ? undefined : { subject, descriptor };
  await store.putManifest(repository, { digest, mediaType, referrer });
  if (!isDigest(reference)) await store.putTag(repository, reference, digest);
  const headers = {
    location: `/v2/${repository}/manifests/${digest}`,
    "docker-content-digest": digest,
    ...(subject === undefined ? {} : { "oci-subject": subject }),
  };
  return { status: 201, headers };
}

/** Sorted, in pages of `n` after `last`; the next page is named in a Link header. */
export async function listTags(store: RegistryStore, repository: string, query: URLSearchParams): Promise<Reply> {
  const all = await store.listTags(repository);
  if (all === undefined) return errorReply("NAME_UNKNOWN", "there is no such repository");
  const asked = query.get("n");
  if (asked !== null && !/^[0-9]{1,9}$/.test(asked)) return errorReply("UNSUPPORTED", "n is not a number");
  const size = Math.min(asked === null ? TAGS_PER_PAGE_MAX : Number(asked), TAGS_PER_PAGE_MAX);
  const last = query.get("last") ?? "";
  const left = all.toSorted((a, b) => (a < b ? -1 : 1)).filter((tag) => last === "" || tag > last);
  const tags = left.slice(0, size);
  const end = tags.at(-1);
  const more = end !== undefined && left.length > tags.length;
  const next = `</v2/${repository}/tags/list?n=${size}&last=${encodeURIComponent(end ?? "")}>; rel="next"`;
  return jsonReply(200, { name: repository, tags }, more ? { link: next } : {});
}

/** An index of what refers to a digest; an unknown digest has an empty one. */
export async function listReferrers(
  store: RegistryStore,
  repository: string,
  digest: string,
  query: URLSearchParams,
): Promise<Reply> {
  if (!isDigest(digest)) return errorReply("DIGEST_INVALID", "not a sha256 digest");
  const artifactType = query.get("artifactType");
  const all = await store.listReferrers(repository, digest);
  const manifests = all
    .filter((entry) => artifactType === null || entry.artifactType === artifactType)
    .map(descriptorJson);
  const filtered = artifactType === null ? {} : { "oci-filters-applied": "artifactType" };
  return jsonReply(
    200,
    { schemaVersion: 2, mediaType: OCI_INDEX, manifests },
    { "content-type": OCI_INDEX, ...filtered },
  );
}

interface ReadManifest {
  readonly mediaType: string;
  readonly blobs: readonly string[];
  readonly manifests: readonly string[];
  readonly subject: string | undefined;
  /** What the referrers list repeats of it. */
  readonly about: Pick<Descriptor, "artifactType" | "annotations">;
}

function readManifest(bytes: Uint8Array, contentType: string | undefined): ReadManifest | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
  if (!isRecord(value)) return undefined;
  const named = typeof value["mediaType"] === "string" ? value["mediaType"] : undefined;
  const mediaType = named ?? contentType;
  if (mediaType === undefined || (contentType !== undefined && contentType !== mediaType)) return undefined;
  const index = mediaType === OCI_INDEX || mediaType === DOCKER_INDEX ? parseIndex(value) : undefined;
  // An index may carry subject and annotations like a manifest; reading it as one with no layers finds them.
  const manifest = parseManifest(index === undefined ? value : { ...value, layers: [], config: NO_CONFIG });
  if (manifest === undefined) return undefined;
  const { config, layers, subject, annotations } = manifest;
  const blobs =
    index === undefined ? [config, ...layers].filter((blob) => !isElsewhere(blob)).map((blob) => blob.digest) : [];
  const artifactType = manifest.artifactType ?? (index === undefined ? config.mediaType : undefined);
  return {
    mediaType,
    blobs,
    manifests: index?.map((entry) => entry.digest) ?? [],
    subject: subject?.digest,
    about: {
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    },
  };
}

/** Layers that may not be passed on are named in a manifest and never pushed with it. */
function isElsewhere({ mediaType }: Descriptor): boolean {
  return mediaType.includes(".nondistributable.") || mediaType.includes(".rootfs.foreign.");
}

const NO_CONFIG = { mediaType: OCI_EMPTY, digest: digestOf(new Uint8Array()), size: 0 };
