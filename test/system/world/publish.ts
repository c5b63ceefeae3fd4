import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { systemHttp } from "@muto/kit/http";
import { createRegistryClient } from "@muto/oci/client";
import { pushSignature } from "@muto/oci/signature-push";
import { stackArchives } from "@muto/oci/stack-artifact";
import { buildStackArtifact } from "@muto/oci/stack-build";
import { pushStackArtifact } from "@muto/oci/stack-push";
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
}

/** Builds, pushes, signs and registers a stack, with the parts that `muto release push --create` is made of. */
export async function publish(cloud: Cloud, spec: StackSpec): Promise<Published> {
  const folder = join(cloud.folder, "releases", `${spec.name ?? "stack"}-${spec.version}`);
  const output = join(folder, "built");
  mkdirSync(output, { recursive: true });
  const { manifest, archive } = layOut(spec, folder);
  const disk = systemDisk();
  const folders = new Map(manifest.workloads.map(({ name }) => [name, archive]));
  const built = await buildStackArtifact(disk, { manifest: { ...manifest }, folders, outputFolder: output });
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
  return { name, version, manifestDigest, archiveDigests: stackArchives(artifact).map(({ digest }) => digest) };
}
