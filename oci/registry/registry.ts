import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "@muto/kit/clock";
import { DiskError } from "@muto/kit/disk";
import type { Disk } from "@muto/kit/disk";
import { BodyTooLarge, readBody } from "@muto/kit/http";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import { isRepository } from "../reference.ts";
import { errorReply, jsonReply, sendReply } from "./answers.ts";
import type { Reply } from "./answers.ts";
import { sendBlob } from "./blobs.ts";
import { getManifest, listReferrers, listTags, putManifest } from "./manifests.ts";
import { openStore } from "./store.ts";
import type { RegistryStore } from "./store.ts";
import { createUploads } from "./uploads.ts";
import type { Uploads } from "./uploads.ts";

/**
 * The development registry: OCI distribution specification 1.1 at `/v2/`, pull and push, without delete. It is a plain
 * request handler, so that it can stand in any HTTP server beside the API.
 */
export interface Registry extends AsyncDisposable {
  /** False when the path is not below `/v2/`; otherwise the answer has been sent. What the disk refuses is logged and a 500. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<boolean>;
}

export interface RegistryPorts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface RegistryOptions {
  /** Absolute path of the folder that holds everything. */
  readonly folder: string;
  /**
   * SHA-256 in hexadecimal of each token with which one may push, presented as a bearer token or as the password of Basic. An
   * empty list lets nobody push; left out, anybody may.
   */
  readonly pushTokenHashes?: readonly string[];
  /** Demands the same token for pulling: for anything that is not bound to loopback. */
  readonly pullNeedsToken?: boolean;
  readonly limits?: Partial<RegistryLimits>;
}

export interface RegistryLimits {
  readonly manifestBytesMax: number;
  readonly blobBytesMax: number;
  readonly uploadsMax: number;
  readonly uploadIdleMsMax: number;
}

const DEFAULT_LIMITS: RegistryLimits = {
  manifestBytesMax: 4 * 1024 * 1024,
  blobBytesMax: 16 * 1024 * 1024 * 1024,
  uploadsMax: 64,
  uploadIdleMsMax: 15 * 60 * 1000,
};

interface Parts {
  readonly disk: Disk;
  readonly store: RegistryStore;
  readonly uploads: Uploads;
  readonly limits: RegistryLimits;
}

export async function createRegistry(ports: RegistryPorts, options: RegistryOptions): Promise<Registry> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const store = await openStore(ports.disk, options.folder);
  const uploads = createUploads(ports, store, limits);
  const parts = { disk: ports.disk, store, uploads, limits };
  return {
    handle: async (request, response) => {
      const url = new URL(request.url ?? "/", "http://registry.invalid");
      if (url.pathname !== "/v2" && !url.pathname.startsWith("/v2/")) return false;
      try {
        const reply = mayGoOn(request, url.pathname, options)
          ? await route(parts, url, request, response)
          : challenge();
        if (reply !== "sent") sendReply(response, reply, request.method === "HEAD");
      } catch (error) {
        if (!(error instanceof DiskError)) throw error;
        ports.logger.error("registry storage refused", { operation: error.operation, code: error.code });
        if (response.headersSent) response.destroy();
        else sendReply(response, errorReply("UNKNOWN", "the registry's storage refused"), request.method === "HEAD");
      }
      // What nobody read of the request must not be taken for the next one.
      if (!request.readableEnded) request.resume();
      return true;
    },
    [Symbol.asyncDispose]: () => uploads[Symbol.asyncDispose](),
  };
}

async function route(
  parts: Parts,
  url: URL,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<Reply | "sent"> {
  const path = url.pathname;
  if (path === "/v2" || path === "/v2/") return jsonReply(200, {});
  const match = /^\/v2\/(.+)\/(manifests|blobs\/uploads|blobs|tags|referrers)\/([^/]*)$/.exec(path);
  const [, repository = "", area = "", rest = ""] = match ?? [];
  if (match === null) return errorReply("UNSUPPORTED", "there is no such route");
  if (!isRepository(repository)) return errorReply("NAME_INVALID", "not a repository name");
  const name = decodeURIComponentOr(rest, "");
  const method = request.method === "HEAD" ? "GET" : (request.method ?? "");
  if (area === "manifests" && method === "GET") return await getManifest(parts.store, repository, name);
  if (area === "manifests" && method === "PUT") return await takeManifest(parts, repository, name, request);
  if (area === "blobs" && method === "GET") {
    await sendBlob(parts, name, request, response);
    return "sent";
  }
  if (area === "tags" && name === "list" && method === "GET")
    return await listTags(parts.store, repository, url.searchParams);
  if (area === "referrers" && method === "GET")
    return await listReferrers(parts.store, repository, name, url.searchParams);
  if (area === "blobs/uploads") return await routeUpload(parts, { repository, id: name, url }, request);
  return errorReply("UNSUPPORTED", "this registry does not do that; content is never deleted");
}

async function routeUpload(
  parts: Parts,
  at: { readonly repository: string; readonly id: string; readonly url: URL },
  request: IncomingMessage,
): Promise<Reply> {
  const { repository, id, url } = at;
  const { uploads } = parts;
  const digest = url.searchParams.get("digest") ?? undefined;
  const contentRange = request.headers["content-range"];
  if (id === "" && request.method === "POST") {
    const mount = url.searchParams.get("mount");
    if (mount !== null) return (await mounted(parts.store, repository, mount)) ?? (await uploads.open(repository));
    return digest === undefined
      ? await uploads.open(repository)
      : await uploads.whole(repository, digest, bodyOf(request));
  }
  switch (request.method) {
    case "GET":
      return uploads.status(repository, id);
    case "PATCH":
      return await uploads.append({ repository, id, contentRange, body: bodyOf(request) });
    case "PUT":
      return await uploads.finish({ repository, id, contentRange, body: bodyOf(request), digest });
    case "DELETE":
      return await uploads.cancel(repository, id);
    case undefined:
    default:
      return errorReply("UNSUPPORTED", "uploads know POST, PATCH, PUT, GET and DELETE");
  }
}

/** Blobs are kept once for all repositories, so a mount is a look whether it is there. */
async function mounted(store: RegistryStore, repository: string, digest: string): Promise<Reply | undefined> {
  const known = /^sha256:[0-9a-f]{64}$/.test(digest) && (await store.findBlob(digest)) !== undefined;
  if (!known) return undefined;
  return { status: 201, headers: { location: `/v2/${repository}/blobs/${digest}`, "docker-content-digest": digest } };
}

async function takeManifest(
  parts: Parts,
  repository: string,
  reference: string,
  request: IncomingMessage,
): Promise<Reply> {
  const mediaType = request.headers["content-type"]?.split(";")[0]?.trim().toLowerCase();
  try {
    const bytes = await readBody(bodyOf(request), parts.limits.manifestBytesMax);
    return await putManifest(parts.store, repository, { reference, mediaType, bytes });
  } catch (error) {
    if (!(error instanceof BodyTooLarge)) throw error;
    return errorReply("SIZE_INVALID", "the manifest is larger than this registry takes");
  }
}

/** `/v2/` itself asks for the token too, because clients learn there whether they will need to log in. */
function mayGoOn(request: IncomingMessage, path: string, options: RegistryOptions): boolean {
  const { pushTokenHashes, pullNeedsToken = false } = options;
  if (pushTokenHashes === undefined) return true;
  const reads = request.method === "GET" || request.method === "HEAD";
  if (reads && !pullNeedsToken && path !== "/v2/" && path !== "/v2") return true;
  const presented = tokenIn(request.headers.authorization ?? "");
  return presented !== undefined && isOneOf(presented, pushTokenHashes);
}

function tokenIn(authorization: string): string | undefined {
  const [, scheme, value] = /^(bearer|basic) +([!-~]{1,4096})$/i.exec(authorization) ?? [];
  if (value === undefined) return undefined;
  if (scheme?.toLowerCase() === "bearer") return value;
  const text = Buffer.from(value, "base64").toString("utf8");
  return text.includes(":") ? text.slice(text.indexOf(":") + 1) : undefined;
}

/** Compares digests, so that neither length nor content can be learnt from how long it takes. */
function isOneOf(token: string, hashes: readonly string[]): boolean {
  const presented = createHash("sha256").update(token).digest();
  const equal = hashes.filter((hash) => {
    const known = Buffer.from(hash, "hex");
    return known.byteLength === presented.byteLength && timingSafeEqual(known, presented);
  });
  return equal.length > 0;
}

/** Leaving off in the middle must not close the connection before the answer was sent. */
function bodyOf(request: IncomingMessage): AsyncIterable<Uint8Array> {
  return request.iterator({ destroyOnReturn: false });
}

function challenge(): Reply {
  return errorReply("UNAUTHORIZED", "a token is needed", { "www-authenticate": 'Basic realm="muto registry"' });
}

function decodeURIComponentOr(text: string, otherwise: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return otherwise;
  }
}
