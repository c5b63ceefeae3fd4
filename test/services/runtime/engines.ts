import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { removeWithMounts, startPrivatePodman } from "../../../demo/engine.ts";
import { engineAt } from "@muto/agent/runtime/oci/engine";
import { eventually } from "../../system/world/eventually.ts";
import { programOf } from "../install.ts";

const execute = promisify(execFile);

/** A container engine of our own: private socket, private storage, ended by its process id. */
export interface TestEngine extends AsyncDisposable {
  readonly name: "podman" | "docker";
  readonly socket: string;
  /** Ends the engine's service at once, as a crash would; what runs is the engine's business. */
  kill(): Promise<void>;
  /** Asks the service to end, and waits. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** The engine's own command line tool, in the place of somebody who meddles. */
  cli(...args: readonly string[]): Promise<string>;
}

export async function busyboxPath(): Promise<string> {
  return await programOf({ packageName: "busybox-static", paths: ["/bin/busybox", "/usr/bin/busybox"] });
}

/** Podman as the demonstration starts it. */
export async function startPodman(): Promise<TestEngine> {
  await programOf({ packageName: "runc", paths: ["/usr/sbin/runc", "/usr/bin/runc"] });
  await programOf({ packageName: "catatonit", paths: ["/usr/bin/catatonit", "/usr/libexec/podman/catatonit"] });
  await programOf({ packageName: "netavark", paths: ["/usr/lib/podman/netavark", "/usr/libexec/podman/netavark"] });
  const podman = await programOf({ packageName: "podman", paths: ["/usr/bin/podman"] });
  ensurePolicy();
  return { name: "podman", ...(await startPrivatePodman(podman, mkdtempSync(join(tmpdir(), "muto-podman-")))) };
}

/** Docker with a private root. With `liveRestore` containers outlive its daemon, without they end with it. */
export async function startDocker({ liveRestore }: { readonly liveRestore: boolean }): Promise<TestEngine> {
  const dockerd = await programOf({ packageName: "docker.io", paths: ["/usr/sbin/dockerd", "/usr/bin/dockerd"] });
  const folder = mkdtempSync(join(tmpdir(), "muto-docker-"));
  const path = (name: string) => join(folder, name);
  const socket = path("docker.sock");
  const flags = ["--data-root", path("data"), "--exec-root", path("exec"), "-p", path("pid"), "-H", `unix://${socket}`];
  const network = ["--bridge=none", "--iptables=false", "--ip-masq=false"];
  const service = serviceOf(
    dockerd,
    [...flags, ...network, ...(liveRestore ? ["--live-restore"] : [])],
    { ...process.env, TMPDIR: folder },
    path("log"),
  );
  const engine: TestEngine = {
    name: "docker",
    socket,
    ...service,
    start: async () => {
      rmSync(path("pid"), { force: true });
      service.launch();
      await serving(socket, path("log"));
    },
    cli: async (...args) => (await execute("docker", ["-H", `unix://${socket}`, ...args])).stdout,
    [Symbol.asyncDispose]: async () => {
      const ids = (await engine.cli("ps", "-aq").catch(() => "")).split("\n").filter((id) => id !== "");
      if (ids.length > 0) await engine.cli("rm", "-f", ...ids).catch(() => {});
      await service.stop();
      await endContainerd(path("exec"));
      await removeWithMounts(folder);
    },
  };
  await engine.start();
  return engine;
}

interface Service {
  launch(): void;
  kill(): Promise<void>;
  stop(): Promise<void>;
}

function serviceOf(program: string, args: readonly string[], env: NodeJS.ProcessEnv, logFile: string): Service {
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals) => {
    const ending = child;
    child = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => ending.once("exit", () => resolve()));
    ending.kill(signal);
    await gone;
  };
  return {
    launch: () => {
      child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
      const log = createWriteStream(logFile, { flags: "a" });
      child.stdout?.pipe(log, { end: false });
      child.stderr?.pipe(log, { end: false });
    },
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
  };
}

async function serving(socket: string, logFile: string): Promise<void> {
  using engine = engineAt(socket);
  await eventually("the engine serves", async () => ((await engine.version()).ok ? true : undefined), {
    limitMs: 30_000,
    explain: async () => readFileSync(logFile, "utf8").slice(-2_000),
  });
}

/** Image policy is read from one place only; a computer that has none accepts what we load. */
function ensurePolicy(): void {
  if (existsSync("/etc/containers/policy.json")) return;
  mkdirSync("/etc/containers", { recursive: true });
  writeFileSync("/etc/containers/policy.json", JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
}

/** A daemon that was killed leaves its own containerd behind. */
async function endContainerd(execRoot: string): Promise<void> {
  const file = join(execRoot, "containerd", "containerd.pid");
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, "utf8"));
  try {
    if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(execRoot)) process.kill(pid, "SIGTERM");
  } catch {
    // It has ended.
  }
}
