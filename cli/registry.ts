import { createRegistryClient } from "@muto/oci/client";
import type { RegistryClient } from "@muto/oci/client";
import type { RegistryCredentials } from "@muto/oci/auth";
import type { RegistryFailure } from "@muto/oci/ask";
import { registryBase } from "@muto/oci/transport";
import { systemDisk } from "@muto/kit/disk";
import { registryOrigin } from "@muto/oci/reference";
import { CommandFailed } from "./command.ts";
import type { Input } from "./command.ts";
import type { Io } from "./io.ts";
import { DOCKER_HUB, savedLogin } from "./registry-login.ts";
import type { Session } from "./session.ts";

/** Options of every verb that speaks to a registry. */
export const registryOptions = {
  registry: {
    about: "registry (MUTO_REGISTRY_URL; default the development registry of the control plane)",
    type: "text",
    value: "URL",
  },
  repository: { about: "repository inside the registry; default the stack's name", type: "text" },
  "registry-user-file": {
    about: "file with USER:PASSWORD for the registry; default what podman login or docker login saved",
    type: "text",
    value: "FILE",
  },
} as const;

export async function openRegistry(session: Session, input: Input, io: Io): Promise<RegistryClient> {
  const url = input.text("registry") ?? io.environment["MUTO_REGISTRY_URL"] ?? session.url;
  const base = registryBase(url);
  if (!base.ok) throw new CommandFailed(`${url} cannot be used as a registry: ${base.problem}`, { exitCode: 2 });
  const credentials = await credentialsFor(session, { input, io, origin: base.origin });
  return createRegistryClient(
    { http: io.http, clock: io.clock },
    { origin: base.origin, ...(credentials === undefined ? {} : { credentials }) },
  );
}

export function registryFailed(
  client: RegistryClient,
  failure: Pick<RegistryFailure, "httpStatus"> & { readonly problem: string },
): CommandFailed {
  const status = failure.httpStatus === undefined ? "" : ` (HTTP ${failure.httpStatus})`;
  const hint =
    failure.problem === "unauthorized"
      ? "podman login REGISTRY, --registry-user-file FILE, or MUTO_TOKEN for the development registry"
      : undefined;
  return new CommandFailed(`${client.origin}: ${failure.problem}${status}`, hint === undefined ? {} : { hint });
}

/** A client for the registry that an image is copied from: with the saved login for exactly this registry, or without any. */
export async function openSourceRegistry(registry: string, io: Io): Promise<RegistryClient> {
  const host = registry === "docker.io" ? DOCKER_HUB : registry;
  const credentials = await savedLogin(systemDisk(), host, io.environment);
  const ports = { http: io.http, clock: io.clock };
  const origin = registryOrigin(host);
  return createRegistryClient(ports, { origin, ...(credentials === undefined ? {} : { credentials }) });
}

/** The control plane's own registry takes the operator's token; any other gets only what was meant for it. */
async function credentialsFor(
  session: Session,
  { input, io, origin }: { readonly input: Input; readonly io: Io; readonly origin: string },
): Promise<RegistryCredentials | undefined> {
  const own = origin === new URL(session.url).origin;
  const file = input.text("registry-user-file");
  if (file !== undefined) {
    const text = Buffer.from((await systemDisk().read(file)) ?? new Uint8Array())
      .toString("utf8")
      .trim();
    const [, username, password] = /^([^:]+):(.+)$/.exec(text) ?? [];
    if (username === undefined || password === undefined)
      throw new CommandFailed(`${file} does not hold USER:PASSWORD`, { exitCode: 2 });
    return { kind: "basic", username, password };
  }
  if (own) return session.token === undefined ? undefined : { kind: "bearer", token: session.token };
  return await savedLogin(systemDisk(), new URL(origin).host, io.environment);
}
