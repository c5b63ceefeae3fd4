import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { programOf } from "./install.ts";
import { freePort } from "./postgres.ts";

const execute = promisify(execFile);
const READY_TIMEOUT_MS = 15_000;

/** The registry that most others are made of (Distribution), on a loopback port, with its content in a folder of its own. */
export interface DockerRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly url: string;
  /** Stops it, collects what nothing refers to (untagged manifests first), and starts it again. */
  collectGarbage(): Promise<void>;
}

export async function startDockerRegistry(): Promise<DockerRegistry> {
  const binary = await programOf({ packageName: "docker-registry", paths: ["/usr/bin/docker-registry"] });
  const folder = await mkdtemp(join(tmpdir(), "muto-docker-registry-"));
  const host = `127.0.0.1:${await freePort()}`;
  const config = join(folder, "config.yml");
  await writeFile(
    config,
    [
      "version: 0.1",
      "log: { level: error, accesslog: { disabled: true } }",
      `storage: { filesystem: { rootdirectory: ${join(folder, "data")} }, delete: { enabled: true } }`,
      `http: { addr: ${host} }`,
      "",
    ].join("\n"),
  );
  const start = async () => {
    const child = spawn(binary, ["serve", config], { stdio: "ignore" });
    await ready(`http://${host}/v2/`);
    return child;
  };
  let server = await start();
  const stop = async () => {
    await new Promise<void>((resolve) => {
      server.once("exit", () => resolve());
      server.kill("SIGTERM");
    });
  };
  return {
    host,
    url: `http://${host}`,
    collectGarbage: async () => {
      await stop();
      await execute(binary, ["garbage-collect", "--delete-untagged=true", config]);
      server = await start();
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function ready(url: string): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    try {
      if ((await fetch(url)).ok) return;
    } catch (cause) {
      if (performance.now() > deadline) throw new Error("docker-registry did not become ready", { cause });
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
