import { createHash } from "node:crypto";

/** SHA-256 is the only algorithm: the contract's digests are `sha256:` and 64 lower-case hex digits, and nothing else. */
const DIGEST = /^sha256:([0-9a-f]{64})$/;

export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** The hex part, safe to use as a file name. Throws on anything that is not a digest: whoever calls has parsed it before. */
export function digestHex(digest: string): string {
  const hex = DIGEST.exec(digest)?.[1];
  if (hex === undefined) throw new Error("not a sha256 digest");
  return hex;
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A running hash that can be asked at any time, so that a download can be resumed after what is already on disk. */
export interface Digester {
  update(bytes: Uint8Array): void;
  /** Digest of everything seen so far. */
  digest(): string;
  sizeBytes(): number;
}

export function createDigester(): Digester {
  const hash = createHash("sha256");
  let size = 0;
  return {
    update: (bytes) => {
      hash.update(bytes);
      size += bytes.byteLength;
    },
    digest: () => `sha256:${hash.copy().digest("hex")}`,
    sizeBytes: () => size,
  };
}

export type ContentProblem = "digest-mismatch" | "too-large" | "truncated";

/** A stream is not what its descriptor says. Thrown by {@link verified}, because a broken stream cannot return a value. */
export class ContentError extends Error {
  override readonly name = "ContentError";
  readonly problem: ContentProblem;

  constructor(problem: ContentProblem) {
    super(`the content is not what its descriptor says: ${problem}`);
    this.problem = problem;
  }
}

/** What a manifest says of a blob: nothing that is longer, shorter or other than this is ever accepted. */
export interface ContentId {
  readonly digest: string;
  readonly sizeBytes: number;
}

/**
 * Passes a stream through and throws {@link ContentError} at byte `sizeBytes + 1` (endless data), at the end of a short
 * stream, and at the end when the digest differs. Bytes that were passed on are trustworthy only after it has ended
 * without an error. With `digester`, the stream continues what that digester has already seen.
 */
export async function* verified(
  source: AsyncIterable<Uint8Array>,
  expected: ContentId,
  digester: Digester = createDigester(),
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    if (digester.sizeBytes() + chunk.byteLength > expected.sizeBytes) throw new ContentError("too-large");
    digester.update(chunk);
    yield chunk;
  }
  if (digester.sizeBytes() < expected.sizeBytes) throw new ContentError("truncated");
  if (digester.digest() !== expected.digest) throw new ContentError("digest-mismatch");
}
