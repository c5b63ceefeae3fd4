import { lstat, realpath } from "node:fs/promises";

/** Where Podman and Docker listen by default, in this order. */
const USUAL_SOCKETS = ["/run/podman/podman.sock", "/var/run/docker.sock"] as const;

/**
 * The engine's socket: the configured one, whether or not it is there yet; else the first usual one that is there, else the
 * first usual one, which may come up later.
 */
export async function findEngineSocket(
  configured: string | undefined,
  usual: readonly string[] = USUAL_SOCKETS,
): Promise<string> {
  if (configured !== undefined) return configured;
  for (const path of usual) if (await isSocket(path)) return path;
  return usual[0] ?? USUAL_SOCKETS[0];
}

async function isSocket(path: string): Promise<boolean> {
  try {
    return (await lstat(await realpath(path))).isSocket();
  } catch {
    return false;
  }
}
