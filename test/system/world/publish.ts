import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { systemHttp } from "@muto/kit/http";
import { createRegistryClient } from "@muto/oci/client";
import { pushSignature } from "@muto/oci/signature-push";
import { stackArchives } from "@muto/oci/stack-artifact";
import { buildStackArtifact, type StackSource } from "@muto/oci/stack-build";
import { pushStackArtifact } from "@muto/oci/stack-push";
import type { StackManifestInput } from "@muto/spec";
import { signRelease } from "@muto/trust/cosign";
import { parsePrivateKey } from "@muto/trust/keys";
import type { Cloud } from "./cloud.ts";
import { layOut } from "./stack.ts";
import type { StackSpec } from "./stack.ts";

/** A release that the control plane knows, signed with the release key of its own trust file. */
export interface Published {
  readonly name: string;
  readonly version: string;
  readonly manifestDigest: string;
  readonly archiveDigests: readonly string[];
  /** Of everything that a vehicle has to fetch. */
  readonly layerDigests: readonly string[];
}

/** A stack of native workloads, published. */
export async function publish(cloud: Cloud, spec: StackSpec): Promise<Published> {
  const folder = releaseFolder(cloud, spec);
  const { manifest, archive } = layOut(spec, folder);
  const folders = new Map(manifest.workloads.map(({ name }) => [name, archive]));
  return await publishStack(cloud, { manifest, folders });
}

export function releaseFolder(cloud: Cloud, { name = "stack", version }: Pick<StackSpec, "name" | "version">): string {
  return join(cloud.folder, "releases", `${name}-${version}`);
}

/** Builds, pushes, signs and registers a stack, with the parts that `muto release push --create` is made of. */
export async function publishStack(
  cloud: Cloud,
  { manifest, folders, images }: Pick<StackSource, "folders" | "images"> & { readonly manifest: StackManifestInput },
): Promise<Published> {
  const output = join(releaseFolder(cloud, manifest), "built");
  mkdirSync(output, { recursive: true });
  const disk = systemDisk();
  const source = { manifest: { ...manifest }, folders, outputFolder: output };
  const built = await buildStackArtifact(disk, { ...source, ...(images === undefined ? {} : { images }) });
  if (!built.ok) throw new Error(`the stack cannot be built: ${JSON.stringify(built)}`);
  const { name, version } = manifest;
  const { artifact } = built.built;
  const { manifestDigest } = artifact;
  const client = createRegistryClient(
    { http: systemHttp(), clock: systemClock() },
    { origin: cloud.url, credentials: { kind: "bearer", token: cloud.token } },
  );
  const pushed = await pushStackArtifact({ client }, name, built.built, { tag: version });
  if (!pushed.ok) throw new Error(`the stack cannot be pushed: ${pushed.problem}`);
  const key = parsePrivateKey(readFileSync(join(cloud.dataDir, "keys", "release.key"), "utf8"));
  if (!key.ok) throw new Error(`the release key cannot be used: ${key.problem}`);
  const dockerReference = `${new URL(cloud.url).host}/${name}`;
  const signature = await signRelease(key.signer, { dockerReference, manifestDigest });
  const signed = await pushSignature(client, { repository: name, manifestDigest, signature });
  if (!signed.ok) throw new Error(`the signature cannot be pushed: ${signed.problem}`);
  await cloud.session.call("createRelease", { body: { stackName: name, version, manifestDigest, repository: name } });
  const layerDigests = artifact.layers.map(({ digest }) => digest);
  return {
    name,
    version,
    manifestDigest,
    layerDigests,
    archiveDigests: stackArchives(artifact).map(({ digest }) => digest),
  };
}
