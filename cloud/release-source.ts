import type { Clock } from "@muto/kit/clock";
import type { HttpClient } from "@muto/kit/http";
import { createRegistryClient } from "@muto/oci/client";
import type { RegistryClient } from "@muto/oci/client";
import { lookUpSignatures } from "@muto/oci/signature-lookup";
import type { SignatureLookup } from "@muto/oci/signature-lookup";
import { stackArchives, stackImages } from "@muto/oci/stack-artifact";
import { pullStack } from "@muto/oci/stack-pull";
import { registryBase } from "@muto/oci/transport";
import type { TrustRole } from "@muto/spec";
import { parsePublicKey } from "@muto/trust/keys";
import type { PublicKey } from "@muto/trust/keys";
import type { ReleaseLookup, ReleaseSource } from "./ports.ts";

export interface ReleaseSourceOptions {
  readonly http: HttpClient;
  readonly clock: Clock;
  /** Asked at each look-up, because the development registry knows its port only once it listens. */
  readonly registryUrl: () => string;
  readonly role: TrustRole;
}

/** Looks releases up in the fleet's OCI registry: the signed stack manifest, and signatures that cosign would accept. */
export function createReleaseSource(options: ReleaseSourceOptions): ReleaseSource {
  const keys = options.role.keys.flatMap(({ publicKey }) => {
    const parsed = parsePublicKey(publicKey);
    return parsed.ok ? [parsed.key] : [];
  });
  const client = (): RegistryClient | undefined => {
    const base = registryBase(options.registryUrl());
    return base.ok ? createRegistryClient(options, { origin: base.origin }) : undefined;
  };
  return {
    look: async (repository, manifestDigest, signal) => {
      const registry = client();
      if (registry === undefined) return { ok: false, problem: "unreachable" };
      return await look(registry, { repository, manifestDigest, signal, keys, threshold: options.role.threshold });
    },
    alive: async (signal) => {
      const registry = client();
      if (registry === undefined) return false;
      const answer = await registry.pullManifest("muto/alive", "none", signal).catch(() => undefined);
      return answer !== undefined && (answer.ok || answer.problem !== "unreachable");
    },
  };
}

interface Look {
  readonly repository: string;
  readonly manifestDigest: string;
  readonly signal: AbortSignal;
  readonly keys: readonly PublicKey[];
  readonly threshold: number;
}

async function look(client: RegistryClient, wanted: Look): Promise<ReleaseLookup> {
  const { repository, manifestDigest, signal, keys, threshold } = wanted;
  const pulled = await pullStack(client, repository, manifestDigest, signal);
  if (!pulled.ok) return refusalOf(pulled);
  const signatures = await lookUpSignatures(client, { repository, manifestDigest, keys, signal });
  if (signatures.found.length === 0 && signatures.failures.some(({ failure }) => failure.problem !== "not-found")) {
    return { ok: false, problem: "unreachable" };
  }
  const host = new URL(client.origin).host;
  const ref = (digest: string) => `${host}/${repository}@${digest}`;
  return {
    ok: true,
    manifest: pulled.stack,
    artifacts: [
      ...stackImages(pulled.artifact).map(({ digest }) => ({ type: "oci_image" as const, digest, ref: ref(digest) })),
      ...stackArchives(pulled.artifact).map(({ digest }) => ({
        type: "native_archive" as const,
        digest,
        ref: ref(digest),
      })),
    ],
    signatures: signatures.found.map(({ signature }) => signature).slice(0, SIGNATURES_MAX),
    signatureRef: signatureRef(signatures, `${host}/${repository}`),
    keyids: signatures.keyids,
    verified: signatures.keyids.length >= threshold,
  };
}

/** As many as an assignment hands out; valid ones come first. */
const SIGNATURES_MAX = 8;

function signatureRef({ found }: SignatureLookup, place: string): string | null {
  const [first] = found;
  return first === undefined ? null : `cosign://${place}@${first.digest}`;
}

function refusalOf(refusal: Exclude<Awaited<ReturnType<typeof pullStack>>, { ok: true }>): ReleaseLookup {
  if (refusal.problem === "not-found") return { ok: false, problem: "not-found" };
  if ("problems" in refusal && refusal.problems !== undefined) {
    return { ok: false, problem: "invalid", details: refusal.problems.map(({ path, message }) => ({ path, message })) };
  }
  switch (refusal.problem) {
    case "unauthorized":
    case "too-slow":
    case "truncated":
    case "unreachable":
    case "unexpected-status":
      return { ok: false, problem: "unreachable" };
    case "digest-mismatch":
    case "too-large":
    case "not-a-manifest":
    case "wrong-artifact-type":
    case "wrong-config-type":
    case "wrong-layer-type":
    case "too-many-layers":
    case "not-a-stack-manifest":
    case "layer-twice":
    case "archive-missing":
    case "archive-not-named":
    case "image-missing":
    case "image-not-named":
    case "not-an-image":
    case "image-blob-missing":
    case "image-blob-not-named":
      return { ok: false, problem: "invalid", details: [{ path: "", message: refusal.problem }] };
  }
}
