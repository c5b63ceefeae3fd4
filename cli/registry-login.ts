import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import type { RegistryCredentials } from "@muto/oci/auth";

/**
 * What `podman login` and `docker login` left for a registry, in their files; credential helpers are programs and are not run.
 * Undefined when there is nothing.
 */
export async function savedLogin(
  disk: Disk,
  registry: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<RegistryCredentials | undefined> {
  for (const file of loginFiles(environment)) {
    const bytes = await disk.read(file).catch(() => undefined);
    const found = bytes === undefined ? undefined : loginIn(bytes, registry);
    if (found !== undefined) return found;
  }
  return undefined;
}

function loginFiles(environment: Readonly<Record<string, string | undefined>>): readonly string[] {
  const { REGISTRY_AUTH_FILE: file, XDG_RUNTIME_DIR: runtime, DOCKER_CONFIG: docker, HOME: home } = environment;
  return [
    ...(file === undefined ? [] : [file]),
    ...(runtime === undefined ? [] : [join(runtime, "containers", "auth.json")]),
    ...(docker === undefined ? [] : [join(docker, "config.json")]),
    ...(home === undefined ? [] : [join(home, ".docker", "config.json")]),
  ];
}

function loginIn(bytes: Uint8Array, registry: string): RegistryCredentials | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
  const auths = field(value, "auths");
  const names = registry === DOCKER_HUB ? [registry, "docker.io", "https://index.docker.io/v1/"] : [registry];
  for (const name of names) {
    const auth = field(field(auths, name) ?? field(auths, `https://${name}`), "auth");
    const text = typeof auth === "string" ? Buffer.from(auth, "base64").toString("utf8") : "";
    const [, username, password] = /^([^:]+):(.+)$/s.exec(text) ?? [];
    if (username !== undefined && password !== undefined) return { kind: "basic", username, password };
  }
  return undefined;
}

/** Where the images of `docker.io` really lie. */
export const DOCKER_HUB = "registry-1.docker.io";

function field(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? new Map(Object.entries(value)).get(key) : undefined;
}
