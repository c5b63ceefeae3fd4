import { createHash } from "node:crypto";
import { DiskError } from "@muto/kit/disk";
import type { Logger } from "@muto/kit/logger";
import { ContentError, digestHex, isDigest } from "@muto/oci/digest";
import type { BlobReader, PrepareResult } from "../../ports.ts";
import type { Engine } from "./engine.ts";
import type { EngineTrouble } from "./engine-client.ts";
import { imageArchive, readImage, type ImageContent } from "./image-archive.ts";

/**
 * Loads verified images into the engine and knows them again. An image bears a name of ours that holds its manifest digest:
 * the name keeps others from pruning it, says that we loaded it, and is never what a container is made from.
 */
export class Images {
  readonly #engine: Engine;
  readonly #logger: Logger;
  readonly #repository: string;

  constructor(engine: Engine, vehicleId: string, logger: Logger) {
    this.#engine = engine;
    this.#logger = logger;
    // Several vehicles may share one engine, as in a test stand; none removes what another one loaded.
    const owner = createHash("sha256").update(vehicleId).digest("hex").slice(0, 16);
    this.#repository = `localhost/muto-${owner}`;
  }

  /** The id under which the engine has the image, or a result that says why it has not. Idempotent. */
  async load(
    digest: string,
    blobs: BlobReader,
    signal: AbortSignal,
  ): Promise<{ readonly ok: true; readonly imageId: string } | Extract<PrepareResult, { ok: false }>> {
    try {
      const image = await readImage(digest, blobs);
      if (image === undefined) return { ok: false, problem: "malformed-archive", code: "NOT_AN_IMAGE" };
      const present = await this.#acceptable(image);
      if (present.ok) return present;
      if (present.problem !== "not-found" && present.problem !== "refused") return engineRefusal(present);
      signal.throwIfAborted();
      if (await this.#adopt(image)) {
        const adopted = await this.#acceptable(image);
        if (adopted.ok) return adopted;
      }
      const loaded = await this.#engine.load(imageArchive(image, this.#tag(digest), blobs), signal);
      if (!loaded.ok) {
        this.#logger.warn("engine does not take the image", {
          image: digest,
          problem: loaded.problem,
          said: loaded.said,
        });
        return engineRefusal(loaded);
      }
      const found = await this.#acceptable(image);
      if (found.ok) return found;
      this.#logger.error("engine has another image than was loaded", { image: digest, problem: found.problem });
      await this.#engine.removeImage(this.#tag(digest));
      return { ok: false, problem: "storage", code: "EBADMSG" };
    } catch (error) {
      if (error instanceof ContentError) return { ok: false, problem: "storage", code: "BLOB_DAMAGED" };
      if (error instanceof DiskError) return { ok: false, problem: "storage", code: error.code };
      throw error;
    }
  }

  /** Whether the engine still has this image under its id; undefined when the engine cannot be asked. */
  async has(imageId: string): Promise<boolean | undefined> {
    const found = await this.#engine.imageId(imageId);
    if (found.ok) return found.value === imageId;
    return found.problem === "not-found" ? false : undefined;
  }

  /** Takes our names off every image that no set needs any more; images of others are never touched. */
  async sweep(needed: ReadonlySet<string>): Promise<void> {
    const found = await this.#engine.imagesNamed(this.#repository);
    if (!found.ok) return;
    for (const { tags } of found.value) {
      for (const tag of tags) {
        const digest = this.#digestIn(tag);
        if (digest === undefined || needed.has(digest)) continue;
        const removed = await this.#engine.removeImage(tag);
        if (removed.ok) this.#logger.info("image removed", { image: digest });
      }
    }
  }

  /** The engine may have it already, under a name that somebody took away or that another vehicle gave it. */
  async #adopt({ manifest, config }: ImageContent): Promise<boolean> {
    for (const id of [config.digest, manifest.digest]) {
      const found = await this.#engine.imageId(id);
      if (!found.ok || found.value !== id) continue;
      return (await this.#engine.tag(id, this.#repository, digestHex(manifest.digest))).ok;
    }
    return false;
  }

  /**
   * Engines name an image by the digest of its configuration, or, with the containerd store, by that of its manifest. Anything
   * else under our name is not what was verified.
   */
  async #acceptable({ manifest, config }: ImageContent): Promise<{ ok: true; imageId: string } | EngineTrouble> {
    const found = await this.#engine.imageId(this.#tag(manifest.digest));
    if (!found.ok) return found;
    const isRight = found.value === config.digest || found.value === manifest.digest;
    return isRight ? { ok: true, imageId: found.value } : { ok: false, problem: "refused", said: found.value };
  }

  #tag(digest: string): string {
    return `${this.#repository}:${digestHex(digest)}`;
  }

  #digestIn(tag: string): string | undefined {
    const digest = tag.startsWith(`${this.#repository}:`) ? `sha256:${tag.slice(this.#repository.length + 1)}` : "";
    return isDigest(digest) ? digest : undefined;
  }
}

/** The engine's own storage, or the engine itself; named by the operating system's numbers as the contract wants it. */
function engineRefusal({ problem, said }: EngineTrouble): Extract<PrepareResult, { ok: false }> {
  if (/no space left on device|disk quota exceeded/i.test(said))
    return { ok: false, problem: "no-space", code: "ENOSPC" };
  switch (problem) {
    case "unreachable":
      return { ok: false, problem: "storage", code: "ECONNREFUSED" };
    case "timeout":
      return { ok: false, problem: "storage", code: "ETIMEDOUT" };
    case "not-found":
    case "conflict":
    case "refused":
    case "malformed":
    case "too-large":
      return { ok: false, problem: "storage", code: "EPROTO" };
  }
}
