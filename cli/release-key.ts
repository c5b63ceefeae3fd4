import { resolve } from "node:path";
import { systemDisk } from "@muto/kit/disk";
import type { RegistryClient } from "@muto/oci/client";
import { pushSignature } from "@muto/oci/signature-push";
import { signRelease } from "@muto/trust/cosign";
import { parsePrivateKey } from "@muto/trust/keys";
import type { Signer } from "@muto/trust/keys";
import { CommandFailed } from "./command.ts";
import type { Io } from "./io.ts";
import { registryFailed } from "./registry.ts";

export const keyOption = {
  key: { about: "private release key; signs as cosign would", type: "text", value: "FILE" },
} as const;

export async function signerAt(file: string): Promise<Signer> {
  const bytes = await systemDisk().read(resolve(file));
  if (bytes === undefined) throw new CommandFailed(`${file} does not exist`, { hint: "muto trust keygen release" });
  const parsed = parsePrivateKey(Buffer.from(bytes).toString("utf8"));
  if (!parsed.ok) throw new CommandFailed(`${file} is not a usable private key: ${parsed.problem}`);
  return parsed.signer;
}

export async function signAt(
  client: RegistryClient,
  repository: string,
  manifestDigest: string,
  signer: Signer,
  io: Io,
): Promise<void> {
  const dockerReference = `${new URL(client.origin).host}/${repository}`;
  const signature = await signRelease(signer, { dockerReference, manifestDigest });
  const pushed = await pushSignature(client, { repository, manifestDigest, signature, signal: io.signal });
  if (!pushed.ok) throw registryFailed(client, pushed);
  io.error(`signed with key ${signer.publicKey.keyid.slice(0, 16)}…\n`);
}
