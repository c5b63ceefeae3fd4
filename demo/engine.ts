import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { engineAt } from "@muto/agent/runtime/oci/engine";
import { findEngineSocket } from "@muto/agent/runtime/oci/find-socket";
import { until } from "./until.ts";

const execute = promisify(execFile);

/** A container engine for the demonstration. */
export interface DemoEngine {
  [Symbol.asyncDispose](): Promise<void>;
  readonly socket: string;
  /** How it was come by, in words. */
  readonly what: string;
}

/** The engine that runs on this computer; else a private Podman where one is installed; else undefined. */
export async function openDemoEngine(folder: string): Promise<DemoEngine | undefined> {
  const socket = await findEngineSocket(undefined);
  if (await answers(socket)) return { socket, what: `the engine at ${socket}`, [Symbol.asyncDispose]: async () => {} };
  const podman = programNamed("podman");
  return podman === undefined ? undefined : await startPrivatePodman(podman, folder);
}

export interface PrivatePodman extends DemoEngine {
  /** SIGKILL to the service; containers go on running. */
  kill(): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
  cli(...args: readonly string[]): Promise<string>;
}

const READY_LIMIT_MS = 30_000;

/**
 * Podman as a service with storage, socket and settings of its own below the folder, which is gone at the end. The settings are
 * for computers on which not everything is allowed: limits that the kernel grants, no systemd, runc where it is installed.
 */
export async function startPrivatePodman(podman: string, folder: string): Promise<PrivatePodman> {
  mkdirSync(folder, { recursive: true });
  const path = (name: string) => join(folder, name);
  writeFileSync(path("containers.conf"), containersConf());
  writeFileSync(path("registries.conf"), "unqualified-search-registries = []\n");
  writeFileSync(
    path("storage.conf"),
    `[storage]\ndriver = "overlay"\nrunroot = "${path("run")}"\ngraphroot = "${path("root")}"\n`,
  );
  const env = {
    ...process.env,
    CONTAINERS_CONF: path("containers.conf"),
    CONTAINERS_REGISTRIES_CONF: path("registries.conf"),
    CONTAINERS_STORAGE_CONF: path("storage.conf"),
    TMPDIR: folder,
  };
  const socket = path("podman.sock");
  const own = ["--tmpdir", path("tmp")];
  let service: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals) => {
    const ending = service;
    service = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => ending.once("exit", () => resolve()));
    ending.kill(signal);
    await gone;
  };
  const cli = async (...args: readonly string[]) => (await execute(podman, [...own, ...args], { env })).stdout;
  const start = async () => {
    rmSync(socket, { force: true });
    const args = [...own, "system", "service", "--time=0", `unix://${socket}`];
    service = spawn(podman, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    const log = createWriteStream(path("podman.log"), { flags: "a" });
    service.stdout?.pipe(log, { end: false });
    service.stderr?.pipe(log, { end: false });
    const up = await until(READY_LIMIT_MS, async () => ((await answers(socket)) ? true : undefined));
    if (up !== true)
      throw new Error(`podman does not serve: ${readFileSync(path("podman.log"), "utf8").slice(-1_000)}`);
  };
  await start();
  return {
    socket,
    what: "a private service of the installed podman",
    cli,
    start,
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
    [Symbol.asyncDispose]: async () => {
      await cli("rm", "-f", "-a", "-t", "0").catch(() => {});
      await end("SIGTERM");
      await removeWithMounts(folder);
    },
  };
}

/** Engines leave mounts of storage and namespaces behind. */
export async function removeWithMounts(folder: string): Promise<void> {
  const mounts = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((path) => path.startsWith(`${folder}/`));
  for (const path of mounts.toReversed()) await execute("umount", ["-l", path]).catch(() => {});
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}

async function answers(socket: string): Promise<boolean> {
  using engine = engineAt(socket);
  return (await engine.version()).ok;
}

function containersConf(): string {
  const runc = programNamed("runc") === undefined ? "" : 'runtime = "runc"\n';
  const [, hard] = /Max open files\s+\d+\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
  const files = Math.min(20_000, Number(hard ?? 1024));
  return `[containers]
default_ulimits = ["nofile=${files}:${files}", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
${runc}cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
`;
}

function programNamed(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/usr/sbin"];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}
