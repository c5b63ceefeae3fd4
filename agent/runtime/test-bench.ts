import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { silentLogger } from "@muto/kit/logger";
import type { NativeWorkload, Probe, StackManifest, Workload } from "@muto/spec";
import type { Instance, SetOnDisk } from "../ports.ts";
import { ProcessRuntime, type ProcessRuntimeOptions } from "./process-runtime.ts";

/** For tests: a vehicle's runtime in a temporary folder, and programs for it to run. Everything it started is gone at the end. */
export interface Bench extends AsyncDisposable {
  readonly root: string;
  readonly runs: string;
  readonly runtime: ProcessRuntime;
  /** Another agent's runtime over the same folder, as after a restart. */
  another(options?: Partial<ProcessRuntimeOptions>): ProcessRuntime;
  /** A set with one workload per program; a program is the text of an executable file. */
  set(
    programs: Readonly<Record<string, string>>,
    details?: Partial<NativeWorkload>,
    probes?: readonly Probe[],
  ): SetOnDisk;
  /** Process id of the supervisor that owns an instance. */
  supervisorOf(instanceId: string): number;
  /** Starts a workload of a set under a new id, and fails the test when that is refused. */
  start(set: SetOnDisk, workload: string): Promise<string>;
}

export const ARCHIVE = `sha256:${"a".repeat(64)}`;
export const BOOT_ID = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();

export function bench(options: Partial<ProcessRuntimeOptions> = {}): Bench {
  const root = mkdtempSync(join(tmpdir(), "muto-runtime-"));
  const runs = join(root, "runs");
  const runtimes: ProcessRuntime[] = [];
  const another = (own: Partial<ProcessRuntimeOptions> = {}) => {
    const runtime = new ProcessRuntime({ ...optionsFor(runs), ...options, ...own });
    runtimes.push(runtime);
    return runtime;
  };
  const runtime = another();
  let sets = 0;
  return {
    root,
    runs,
    runtime,
    another,
    set: (programs, details = {}, probes = []) => {
      const folder = join(root, `set-${++sets}`);
      const archive = join(folder, "a".repeat(64));
      mkdirSync(archive, { recursive: true });
      for (const [name, text] of Object.entries(programs)) writeFileSync(join(archive, name), text, { mode: 0o755 });
      const workloads = Object.keys(programs).map((name) => ({ ...workloadOf(name), ...details }));
      return { manifestDigest: `sha256:${"b".repeat(64)}`, folder, manifest: manifestOf(workloads, probes) };
    },
    supervisorOf: (instanceId) => {
      const folder = join(runs, instanceId);
      const owners = readdirSync(folder).filter((name) => name.startsWith("owner."));
      return Number.parseInt(readlinkSync(join(folder, owners.toSorted().at(-1) ?? "")), 10);
    },
    start: async (set, name) => {
      const instanceId = randomUUID();
      const workload = set.manifest.workloads.find((one) => one.name === name);
      if (workload === undefined) throw new Error(`the set has no workload ${name}`);
      const started = await runtime.start(set, workload, instanceId);
      if (!started.ok) throw new Error(`${name} was refused: ${started.code}`);
      return instanceId;
    },
    [Symbol.asyncDispose]: async () => {
      const last = another({ terminateLimitMs: 1 });
      for (const { instanceId } of await last.inspect()) {
        await killWorkload(last, instanceId);
        await last.stop(instanceId);
        await last.forget(instanceId);
      }
      for (const one of runtimes) await one[Symbol.asyncDispose]();
      rmSync(root, { recursive: true });
    },
  };
}

export function optionsFor(runs: string): ProcessRuntimeOptions {
  return {
    disk: systemDisk(),
    clock: systemClock(),
    logger: silentLogger,
    runs,
    bootId: BOOT_ID,
    nodePath: process.execPath,
    host: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
  };
}

/** Resolves with the instance when the condition holds; looks at every piece of news. */
export async function until(
  runtime: ProcessRuntime,
  instanceId: string,
  holds: (instance: Instance) => boolean,
): Promise<Instance> {
  for (;;) {
    const news = Promise.withResolvers<void>();
    await using _watch = runtime.watch(news.resolve);
    const found = (await runtime.inspect()).find((instance) => instance.instanceId === instanceId);
    if (found !== undefined && holds(found)) return found;
    await news.promise;
  }
}

export const hasEnded = ({ state }: Instance) => state.kind === "ended";

/** Resolves when the output holds the text; the writer gives no event, so this looks every few milliseconds. */
export async function untilOutput(runtime: ProcessRuntime, instanceId: string, text: string): Promise<string> {
  for (;;) {
    const output = Buffer.from(await runtime.collect(instanceId, 1_000_000)).toString();
    if (output.includes(text)) return output;
    await systemClock().sleep(5);
  }
}

/** What this computer allows for a wish: not every one lets us make namespaces. */
export function isolationOf(wish: "auto" | "degraded"): Instance["isolation"] {
  if (wish === "degraded") return "degraded";
  const user = process.getuid?.() === 0 ? [] : ["--user", "--map-current-user"];
  const flags = [...user, "--mount", "--pid", "--fork", "--mount-proc", "--", "true"];
  return spawnSync("unshare", flags).status === 0 ? "full" : "degraded";
}

/** Living processes whose environment has the variable set to the value. */
export function processesWith(name: string, value: string): readonly number[] {
  return processesWhose("environ", `${name}=${value}`);
}

/** Living processes with this argument on their command line. */
export function processesRunning(argument: string): readonly number[] {
  return processesWhose("cmdline", argument);
}

function processesWhose(file: "environ" | "cmdline", entry: string): readonly number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, "utf8").split("\0").includes(entry);
    } catch {
      return false;
    }
  });
}

async function killWorkload(runtime: ProcessRuntime, instanceId: string): Promise<void> {
  const state = (await runtime.inspect()).find((instance) => instance.instanceId === instanceId)?.state;
  if (state?.kind !== "running") return;
  try {
    process.kill(state.pid, "SIGKILL");
  } catch {
    // It was faster.
  }
}

export function workloadOf(name: string): NativeWorkload {
  return {
    name,
    type: "native",
    archive: ARCHIVE,
    argv: [name],
    setup: [],
    launchArguments: {},
    params: [],
    resources: {},
    gpus: "none",
    env: {},
    dependsOn: [],
    stop: { signal: "SIGINT", limitSec: 1 },
    oneshot: false,
  };
}

export function manifestOf(workloads: readonly Workload[], probes: readonly Probe[] = []): StackManifest {
  return {
    kind: "muto.stack/v1",
    name: "stack",
    version: "1.0.0",
    securityEpoch: 0,
    compatibility: { vehicleModels: ["m"], os: ["o"], rosDistro: ["humble"] },
    resourceProfile: { diskMbMin: 0 },
    ros: { distro: "humble", domainId: 17 },
    healthModel: {
      readinessTimeoutSec: 1,
      stableForSec: 0,
      probationSec: 0,
      maxRestarts: 0,
      windowSec: 1,
      probes,
    },
    workloads,
  };
}
