import { backoffMs } from "@muto/kit/backoff";
import { DiskError } from "@muto/kit/disk";
import { ContentError } from "@muto/oci/digest";
import { parseStackArtifact, stackImages, type ArtifactProblem } from "@muto/oci/stack-artifact";
import type { DownloadEvidence, Evidence, StorageEvidence } from "@muto/spec";
import { LIMITS } from "../reconcile/limits.ts";
import type { BlobRef, StepOf } from "../reconcile/step.ts";
import { attemptsOf, type Memory } from "../memory.ts";
import type { AgentServices } from "../services.ts";
import { BudgetSpent, openBudget } from "./budget.ts";
import type { Releases } from "./releases.ts";

export interface FetchServices extends Pick<
  AgentServices,
  "registry" | "content" | "clock" | "random" | "logger" | "config" | "store"
> {
  readonly memory: Memory;
  readonly releases: Releases;
}

type FetchProblem = DownloadEvidence["problem"];

/** Gets the manifests of a release and of its images by digest. What they say is judged by the plan, not here. */
export async function fetchRelease(
  services: FetchServices,
  step: StepOf<"fetchRelease">,
  signal: AbortSignal,
): Promise<void> {
  const { registry, content } = services;
  const about = { subject: step.digest, digest: step.digest, bytesReceived: 0, bytesExpected: 0 };
  if (registry === undefined) return trouble(services, { ...about, problem: "unreachable" });
  const pulled = await registry.pullManifest(step.repository, step.digest, signal);
  if (signal.aborted) return;
  if (!pulled.ok) return trouble(services, { ...about, ...pulled });
  const parsed = parseStackArtifact(pulled.bytes, step.digest);
  if (!parsed.ok) return refuse(services, step.digest, parsed.problem);
  for (const blob of [parsed.artifact.config, ...stackImages(parsed.artifact)]) {
    if (!(await fetchBlob(services, step, blob, signal))) return;
  }
  try {
    await content.ingest({ digest: step.digest, sizeBytes: pulled.bytes.byteLength }, once(pulled.bytes));
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    return storageTrouble(services, step.digest, error);
  }
  services.memory.update(() => ({ download: null }));
  services.releases.recheck();
  if ((await services.releases.get(step.digest)) === undefined) refuse(services, step.digest, "not-a-stack-manifest");
}

/** Gets the next artifact. What was received before a failure is kept and resumed. */
export async function download(services: FetchServices, step: StepOf<"download">, signal: AbortSignal): Promise<void> {
  const got = await fetchBlob(services, step, step.blob, signal);
  if (got) services.memory.update(() => ({ download: null }));
}

/** True when the blob is here, verified and durable. */
async function fetchBlob(
  services: FetchServices,
  { repository, digest: subject }: { readonly repository: string; readonly digest: string },
  blob: BlobRef,
  signal: AbortSignal,
): Promise<boolean> {
  const { registry, content } = services;
  if (await content.has(blob.digest)) return true;
  const about = { subject, digest: blob.digest, bytesExpected: blob.sizeBytes };
  if (registry === undefined) {
    trouble(services, { ...about, problem: "unreachable", bytesReceived: 0 });
    return false;
  }
  const budget = openBudget(services, services.config.registry);
  const retryAfterSec = budget.waitSec();
  if (retryAfterSec > 0) {
    trouble(services, { ...about, problem: "budget", retryAfterSec, bytesReceived: 0 });
    return false;
  }
  try {
    await using receiving = await content.begin(blob);
    const { resume } = receiving;
    const write = async (bytes: Uint8Array) => {
      await budget.take(bytes.byteLength, signal);
      await receiving.write(bytes);
    };
    const pulled = await registry.pullBlob(repository, { content: blob, write, resume, signal });
    if (signal.aborted) return false;
    if (!pulled.ok) {
      trouble(services, { ...about, ...pulled, bytesReceived: receiving.offsetBytes + pulled.receivedBytes });
      // Wrong bytes are not worth resuming: every later try would go on from them and fail as well.
      if (pulled.problem === "digest-mismatch") {
        await receiving[Symbol.asyncDispose]();
        await content.remove(blob.digest);
      }
      return false;
    }
    const stored = await receiving.finish();
    if (stored.ok) return true;
    trouble(services, { ...about, problem: stored.problem, bytesReceived: blob.sizeBytes });
    return false;
  } catch (error) {
    if (error instanceof ContentError) {
      trouble(services, { ...about, problem: error.problem, bytesReceived: blob.sizeBytes });
      return false;
    }
    if (error instanceof BudgetSpent) {
      trouble(services, { ...about, problem: "budget", retryAfterSec: LIMITS.downloadMsMax / 1000, bytesReceived: 0 });
      return false;
    }
    if (!(error instanceof DiskError)) throw error;
    storageTrouble(services, subject, error);
    return false;
  } finally {
    await budget.settle();
  }
}

interface FetchTrouble {
  readonly subject: string;
  readonly digest: string;
  readonly problem: FetchProblem;
  readonly httpStatus?: number;
  readonly retryAfterSec?: number;
  readonly bytesReceived: number;
  readonly bytesExpected: number;
}

/** ARTIFACT_DOWNLOAD_FAILED: retried for ever with a capped, jittered delay; what the server asks for counts when it is longer. */
function trouble(services: FetchServices, failed: FetchTrouble): void {
  const { memory, clock, random, logger } = services;
  const { subject, digest, problem, httpStatus, bytesReceived, bytesExpected } = failed;
  const attempts = attemptsOf(memory.seen.download, subject) + 1;
  const evidence: Evidence = {
    kind: "download",
    reasonCode: "ARTIFACT_DOWNLOAD_FAILED",
    digest,
    problem,
    ...(httpStatus === undefined ? {} : { httpStatus }),
    attempts,
    bytesReceived,
    bytesExpected,
  };
  const waitMs = backoffMs({
    attempt: attempts - 1,
    baseMs: LIMITS.downloadBaseMs,
    maxMs: LIMITS.downloadMsMax,
    fraction: random.fraction(),
  });
  const askedMs = Math.min((failed.retryAfterSec ?? 0) * 1000, LIMITS.downloadMsMax);
  const retryAtMs = clock.monotonicMs() + Math.max(waitMs, askedMs);
  logger.warn("download failed", { digest, problem, httpStatus, attempts });
  memory.update(() => ({ download: { subject, attempts, retryAtMs, final: false, evidence: [evidence] } }));
}

/** Bytes that are what was signed and still make no release: nothing but another release can help. */
function refuse(services: FetchServices, digest: string, problem: ArtifactProblem): void {
  const evidence: Evidence = {
    kind: "verification",
    reasonCode: "DESIRED_STATE_REJECTED",
    problem: "malformed",
    digest,
  };
  services.logger.warn("release is no stack", { digest, problem });
  services.memory.update(() => ({
    download: { subject: digest, attempts: 1, retryAtMs: Number.POSITIVE_INFINITY, final: true, evidence: [evidence] },
  }));
}

/** A full disk is a gate that is asked again; a disk that fails otherwise is named as what it is. */
export function storageTrouble(services: FetchServices, subject: string, error: DiskError): void {
  const { memory, clock, random, logger } = services;
  const attempts = attemptsOf(memory.seen.stage, subject) + 1;
  const evidence = storageEvidence("content", error);
  const waitMs = backoffMs({
    attempt: attempts - 1,
    baseMs: LIMITS.stageBaseMs,
    maxMs: LIMITS.stageMsMax,
    fraction: random.fraction(),
  });
  logger.warn("storage refuses", { operation: error.operation, code: error.code });
  const retryAtMs = clock.monotonicMs() + waitMs;
  memory.update(() => ({ stage: { subject, attempts, retryAtMs, final: false, evidence: [evidence] } }));
}

export function storageEvidence(operation: StorageEvidence["operation"], { code }: DiskError): StorageEvidence {
  const isFull = code === "ENOSPC" || code === "EDQUOT";
  const reasonCode = isFull ? "INSUFFICIENT_DISK" : "APPLY_FAILED";
  return { kind: "storage", reasonCode, operation, problem: errorNumber(code) };
}

/** The contract names storage problems by the operating system's numbers; whatever has none is a bad message. */
export function errorNumber(code: string): string {
  return /^E[A-Z0-9]{2,15}$/.test(code) ? code : "EBADMSG";
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
