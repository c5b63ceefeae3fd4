import { execFile, spawn, type ChildProcess } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { programOf } from "../install.ts";

const execute = promisify(execFile);

/** A computer that systemd has booted, in a container of its own on a file system that is thrown away at the end. */
export interface Machine extends AsyncDisposable {
  /** Its root, as this computer sees it. */
  readonly root: string;
  /** A program before a program's arguments that makes it run in there; what a systemd adapter would call. */
  readonly enter: readonly string[];
  /** Runs a program in there; never rejects because of its exit code. */
  run(program: string, ...args: string[]): Promise<Ran>;
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const CACHE = join(import.meta.dirname, "..", "..", "..", "node_modules", ".cache", "systemd-machine");
const RELEASE = "bookworm";
const MAKER = join(CACHE, "maker");
const BUILD_MS_MAX = 600_000;
const BOOT_MS_MAX = 30_000;
const LOOK_MS = 50;

export async function bootMachine(prepare: (root: string) => void = () => {}): Promise<Machine> {
  const base = await baseSystem();
  const nspawn = await programOf({ packageName: "systemd-container", paths: ["/usr/bin/systemd-nspawn"] });
  const folder = mkdtempSync(join(tmpdir(), "muto-machine-"));
  const [root, upper, work] = ["root", "upper", "work"].map((name) => join(folder, name));
  if (root === undefined || upper === undefined || work === undefined) throw new Error("three folders");
  for (const path of [root, upper, work]) mkdirSync(path);
  const layers = `lowerdir=${base},upperdir=${upper},workdir=${work}`;
  await execute("mount", ["-t", "overlay", "overlay", "-o", layers, root]);
  try {
    prepare(root);
    const container = spawn(
      nspawn,
      ["-q", "-b", "-D", root, "--register=no", "--keep-unit", "--console=pipe", "--private-network"],
      { stdio: "ignore" },
    );
    const first = await firstProcess(container);
    const enter = ["nsenter", "-t", String(first), "-m", "-p", "-u", "-i", "-n", "-C", "--"];
    const machine = machineAt(root, enter);
    await booted(machine);
    return { ...machine, [Symbol.asyncDispose]: () => end(container, first, { folder, root }) };
  } catch (error) {
    await execute("umount", ["-l", root]);
    rmSync(folder, { recursive: true });
    throw error;
  }
}

function machineAt(root: string, enter: readonly string[]): Omit<Machine, typeof Symbol.asyncDispose> {
  const [program = "", ...before] = enter;
  return {
    root,
    enter,
    run: (inside, ...args) =>
      new Promise((resolve) => {
        execFile(program, [...before, inside, ...args], { maxBuffer: 16_777_216 }, (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
          resolve({ code, stdout, stderr });
        });
      }),
  };
}

/** Debian with systemd and nothing else, made once and kept; of test files that run at the same time one makes it. */
async function baseSystem(): Promise<string> {
  const base = join(CACHE, RELEASE);
  if (existsSync(base)) return base;
  const debootstrap = await programOf({ packageName: "debootstrap", paths: ["/usr/sbin/debootstrap"] });
  mkdirSync(CACHE, { recursive: true });
  const deadline = performance.now() + BUILD_MS_MAX;
  while (!isMaker()) {
    if (performance.now() > deadline) throw new Error(`nobody has made ${base}`);
    await pause();
    if (existsSync(base)) return base;
  }
  try {
    if (!existsSync(base)) await make(debootstrap, base);
    return base;
  } finally {
    rmSync(MAKER);
  }
}

async function make(debootstrap: string, base: string): Promise<void> {
  const partial = join(CACHE, `${RELEASE}~`);
  rmSync(partial, { recursive: true, force: true });
  const options = ["--variant=minbase", "--include=systemd,systemd-sysv,dbus", RELEASE, partial];
  await execute(debootstrap, options, { timeout: BUILD_MS_MAX, maxBuffer: 16_777_216 });
  renameSync(partial, base);
}

/** Whether this process is the one that makes the base; a maker that has died is nobody. */
function isMaker(): boolean {
  try {
    symlinkSync(String(process.pid), MAKER);
    return true;
  } catch {
    const maker = linkedTo(MAKER);
    if (maker !== undefined && !existsSync(`/proc/${maker}`)) rmSync(MAKER, { force: true });
    return false;
  }
}

function linkedTo(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** The systemd of the container, which is the one child of systemd-nspawn. */
async function firstProcess({ pid }: ChildProcess): Promise<number> {
  const deadline = performance.now() + BOOT_MS_MAX;
  while (performance.now() < deadline) {
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
    if (child !== undefined && child !== "" && readFileSync(`/proc/${child}/comm`, "utf8").trim() === "systemd") {
      return Number(child);
    }
    await pause();
  }
  throw new Error("the container did not start a systemd");
}

async function booted(machine: Pick<Machine, "run">): Promise<void> {
  const deadline = performance.now() + BOOT_MS_MAX;
  let said = "";
  while (performance.now() < deadline) {
    const { stdout, stderr } = await machine.run("systemctl", "is-system-running");
    said = `${stdout}${stderr}`.trim();
    if (said === "running" || said === "degraded") return;
    await pause();
  }
  throw new Error(`systemd did not come up: ${said}`);
}

/** With the first process of its own process namespace everything in it ends, whoever started it. */
async function end(
  container: ChildProcess,
  first: number,
  { folder, root }: { readonly folder: string; readonly root: string },
): Promise<void> {
  const exited = new Promise((resolve) => container.once("exit", resolve));
  process.kill(first, "SIGKILL");
  await exited;
  await execute("umount", ["-l", root]);
  rmSync(folder, { recursive: true });
}

function pause(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, LOOK_MS));
}
