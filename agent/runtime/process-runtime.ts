import { readFile, realpath } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Clock } from "@muto/kit/clock";
import { DiskError, type Disk } from "@muto/kit/disk";
import type { Logger } from "@muto/kit/logger";
import type { NativeWorkload, StackManifest, Workload } from "@muto/spec";
import type { BlobReader, Instance, PrepareResult, Runtime, SetOnDisk, StartResult, StopResult } from "../ports.ts";
import { archiveFolder, asPrepareResult, unpackedArchives, type Archives } from "./archives.ts";
import { InstanceWatch } from "./instance-watch.ts";
import { areParamsWhole, paramsFolderOf, writeParams } from "./parameter-files.ts";
import { ownProcess, procTable } from "./process-table.ts";
import { MENDED_STOP, RunFolder } from "./run-folder.ts";
import { ownerText, type RunOrder } from "./run-records.ts";
import { SpareFolders } from "./spare-folders.ts";
import { supervisorSpawner, type SupervisorSpawned, type SupervisorSpawner } from "./supervisor-process.ts";
import {
  nativeCommand,
  workloadConfigHash,
  workloadEnvironment,
  type HostEnvironment,
  type NativeCommand,
} from "./workload-config.ts";

export interface ProcessRuntimeOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Absolute; one folder below it for each instance. Belongs to this agent alone (see agent-lock.ts). */
  readonly runs: string;
  readonly bootId: string;
  /** Program that runs the supervisors: the agent's own Node.js. */
  readonly nodePath: string;
  readonly host: HostEnvironment;
  /** See MUTO_PROBE_ADDRESS; 127.0.0.1 unless told. */
  readonly probeAddress?: string;
  /** `auto`: namespaces where kernel and rights allow; `required`: nothing starts without them; `degraded`: never. */
  readonly isolation?: "auto" | "required" | "degraded";
  /**
   * Fixed path at which each workload sees its archive, and where it runs: install trees of colcon cannot be moved. The
   * folder has to be there; without namespaces a workload sees its archive only where it was unpacked.
   */
  readonly prefix?: string;
  /** `runtime.allow.gpus`. No device is hidden from a native workload; this says whether one may count on them. */
  readonly allowGpus?: boolean;
  readonly startLimitMs?: number;
  readonly terminateLimitMs?: number;
  readonly killLimitMs?: number;
  readonly answerLimitMs?: number;
  readonly outputSegmentBytesMax?: number;
  /** The supervisor's program, where it does not lie beside this file. */
  readonly supervisorFile?: string;
}

/** What log probes ask: was this text ever in the instance's output? Null when that cannot be known. */
export interface OutputSearch {
  saw(instanceId: string, text: string): Promise<boolean | null>;
}

export const PROCESS_LIMITS = {
  startLimitMs: 10_000,
  /** Of supervisors that died without a word, in one start; one more, and the start is refused. */
  supervisorDeathsMax: 2,
  /** For a supervisor to answer: it has nothing else to do. */
  answerLimitMs: 5_000,
  /** Between SIGTERM to everything and SIGKILL. */
  terminateLimitMs: 5_000,
  /** After SIGKILL: what still lives then is stuck in the kernel. */
  killLimitMs: 10_000,
  /** One of the two parts of an instance's kept output. */
  outputSegmentBytesMax: 128 * 1024,
} as const;

const DEFAULT_PROBE_ADDRESS = "127.0.0.1";

/** Between two looks at an instance that is being stopped, should its supervisor's news not arrive. */
const STOP_LOOK_MS = 1_000;
const STOP_LOOK_SOON_MS = 100;

const INSTANCE_ID = /^[0-9A-Za-z_-]{1,64}$/;
const SUPERVISOR = fileURLToPath(new URL("./supervisor.mjs", import.meta.url));

/**
 * Native workloads, each under a supervisor of its own that outlives the agent (H2). Disposing of the runtime closes
 * connections and signals nobody.
 */
export class ProcessRuntime implements Runtime, OutputSearch {
  readonly #options: ProcessRuntimeOptions;
  readonly #archives: Archives;
  readonly #spawner: SupervisorSpawner;
  readonly #watch: InstanceWatch;
  readonly #spares: SpareFolders;
  readonly #starting = new Set<string>();
  #strays: Promise<void> | undefined;

  constructor(options: ProcessRuntimeOptions) {
    this.#options = options;
    this.#archives = unpackedArchives(options.disk);
    this.#spawner = supervisorSpawner(options.nodePath, options.clock);
    const supervisor = () => readFile(options.supervisorFile ?? SUPERVISOR);
    const maker = ownerText(ownProcess(), options.bootId);
    this.#spares = new SpareFolders({ disk: options.disk, runs: options.runs, supervisor, maker });
    const answerLimitMs = options.answerLimitMs ?? PROCESS_LIMITS.answerLimitMs;
    const processes = procTable();
    this.#watch = new InstanceWatch({ ...options, answerLimitMs, processes, spawner: this.#spawner, supervisor });
  }

  async prepare(set: SetOnDisk, blobs: BlobReader, signal: AbortSignal): Promise<PrepareResult> {
    const prepared = await this.#archives.prepare(set, blobs, signal);
    if (!prepared.ok) return prepared;
    try {
      await writeParams(this.#options.disk, set);
    } catch (error) {
      return asPrepareResult(error);
    }
    await this.#keepSpares(set);
    return prepared;
  }

  async verify(set: SetOnDisk): Promise<boolean> {
    return (await this.#archives.verify(set)) && (await areParamsWhole(this.#options.disk, set));
  }

  async start(set: SetOnDisk, workload: Workload, instanceId: string): Promise<StartResult> {
    const folder = this.#folder(instanceId);
    if (workload.type !== "native") return { ok: false, problem: "start-refused", code: "NO_CONTAINER_ENGINE" };
    if (workload.gpus === "all" && this.#options.allowGpus !== true) {
      return { ok: false, problem: "start-refused", code: "GPUS_NOT_ALLOWED" };
    }
    const paramsFolder = paramsFolderOf(set, workload);
    const command = nativeCommand(archiveFolder(set, workload.archive), workload, paramsFolder);
    if (!command.ok) return { ok: false, problem: "start-refused", code: command.code };
    const order = runOrder(this.#options, { set, workload, command, instanceId, paramsFolder });
    // What is only being made must not look abandoned to an inspection at the same time.
    this.#starting.add(instanceId);
    try {
      await this.#archives.dropAsides(set, async () => await this.#isRunning(set));
      return await this.#start(folder, order);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      return { ok: false, problem: "start-refused", code: error.code };
    } finally {
      this.#starting.delete(instanceId);
      await this.#keepSpares(set);
    }
  }

  async stop(instanceId: string): Promise<StopResult> {
    return await this.#stop(this.#folder(instanceId));
  }

  async inspect(): Promise<readonly Instance[]> {
    await (this.#strays ??= this.#seekStrays());
    const names = (await this.#options.disk.list(this.#options.runs))
      .filter(({ kind, name }) => kind === "folder" && INSTANCE_ID.test(name) && !this.#starting.has(name))
      .map(({ name }) => name);
    const found = await Promise.all(names.map((name) => this.#watch.lookFromAside(this.#folder(name))));
    return found.flatMap((one) => (one === undefined ? [] : [one.instance]));
  }

  watch(onChange: () => void): AsyncDisposable {
    // News come over connections, and a look is what makes them.
    this.inspect().catch((error: unknown) => this.#options.logger.warn("instances cannot be watched yet", { error }));
    return this.#watch.subscribe(onChange);
  }

  async collect(instanceId: string, bytesMax: number): Promise<Uint8Array> {
    return await this.#folder(instanceId).output(bytesMax);
  }

  async forget(instanceId: string): Promise<void> {
    const folder = this.#folder(instanceId);
    const found = await this.#watch.look(folder);
    if (found?.instance.state.kind === "running") throw new Error("an instance that runs cannot be forgotten");
    await this.#watch.release(folder);
    await this.#spares.giveBack(folder);
  }

  async saw(instanceId: string, text: string): Promise<boolean | null> {
    const folder = this.#folder(instanceId);
    const found = await this.#watch.look(folder);
    if (found?.instance.state.kind === "ended") return (await folder.seenTexts()).has(text);
    const answer = await found?.link?.ask({ op: "seen", text });
    return answer?.kind === "answered" ? answer.seen : null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
  }

  /** A supervisor that dies before it says a word is the computer's hiccup, not the release's fault: it is tried again. */
  async #start(folder: RunFolder, order: RunOrder): Promise<StartResult> {
    for (let triesLeft: number = PROCESS_LIMITS.supervisorDeathsMax; ; triesLeft--) {
      await this.#spares.take(folder);
      const started = await this.#spawner.start(
        folder.path,
        order,
        this.#options.startLimitMs ?? PROCESS_LIMITS.startLimitMs,
      );
      if (started.kind !== "died") return await this.#settleStart(folder, started);
      const { instanceId, workload } = order;
      const { exitCode, signal, lastWords } = started;
      const facts = { instanceId, workload, exitCode, signal, lastWords, triesLeft };
      this.#options.logger.error("supervisor died before it said whether its workload runs", facts);
      const isUndone = await this.#undoStart(folder);
      if (!isUndone || triesLeft === 0) return { ok: false, problem: "start-refused", code: "SUPERVISOR_DIED" };
    }
  }

  async #isRunning({ manifestDigest }: SetOnDisk): Promise<boolean> {
    return (await this.inspect()).some(({ set, state }) => set === manifestDigest && state.kind === "running");
  }

  async #settleStart(folder: RunFolder, started: Exclude<SupervisorSpawned, { kind: "died" }>): Promise<StartResult> {
    switch (started.kind) {
      case "running":
        // The connection that is made by looking brings the news of this instance from now on.
        await this.#watch.look(folder);
        await folder.markMade();
        return { ok: true };
      case "refused":
        await this.#watch.release(folder);
        await this.#spares.giveBack(folder);
        return { ok: false, problem: "start-refused", code: started.code };
      case "timeout":
        await this.#undoStart(folder);
        return { ok: false, problem: "start-timeout", code: "START_TIMEOUT" };
    }
  }

  /** As many as a set has workloads, so that all of it can be started on a full disk. */
  async #keepSpares({ manifest }: SetOnDisk): Promise<void> {
    try {
      await this.#options.disk.makeFolder(this.#options.runs);
      await this.#spares.keep(manifest.workloads.length);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#options.logger.warn("no spare folders for workloads can be made", { code: error.code });
    }
  }

  /**
   * Once in an agent's life: somebody may have removed the state under a running stack. It is given folders again, or the
   * agent would start a second stack beside it.
   */
  async #seekStrays(): Promise<void> {
    const { disk, logger, runs } = this.#options;
    const truePath = await realpath(runs).catch(() => runs);
    for (const { runFolder } of await procTable().bearers()) {
      const folder = new RunFolder(disk, runs, basename(runFolder));
      if (dirname(runFolder) !== truePath || !INSTANCE_ID.test(folder.instanceId) || (await folder.exists())) continue;
      logger.warn("workload runs whose folder is gone", { instanceId: folder.instanceId });
      await disk.makeFolder(folder.path);
      await disk.setPermissions(folder.path, 0o700);
    }
  }

  /** What a supervisor that failed may have started is stopped. It never counted as started, so nothing is left to tell. */
  async #undoStart(folder: RunFolder): Promise<boolean> {
    const { ok } = await this.#stop(folder);
    if (!ok) return false;
    await this.#watch.release(folder);
    await this.#spares.giveBack(folder);
    return true;
  }

  async #stop(folder: RunFolder): Promise<StopResult> {
    const { clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + (await this.#stopLimitMs(folder));
    for (;;) {
      const changed = this.#watch.nextChange(folder);
      const found = await this.#watch.look(folder);
      if (found === undefined || found.instance.state.kind === "ended") return { ok: true };
      const leftMs = deadlineMs - clock.monotonicMs();
      if (leftMs <= 0) return { ok: false, problem: "stop-timeout" };
      const answer = await found.link?.ask({ op: "stop" });
      if (answer?.kind === "silent") await this.#watch.dismiss(folder);
      await changed(Math.min(leftMs, answer?.kind === "answered" ? STOP_LOOK_MS : STOP_LOOK_SOON_MS));
    }
  }

  async #stopLimitMs(folder: RunFolder): Promise<number> {
    const { limitMs, terminateLimitMs } = (await folder.spec())?.stop ?? MENDED_STOP;
    return limitMs + terminateLimitMs + (this.#options.killLimitMs ?? PROCESS_LIMITS.killLimitMs);
  }

  #folder(instanceId: string): RunFolder {
    if (!INSTANCE_ID.test(instanceId)) throw new Error("that is no instance id");
    return new RunFolder(this.#options.disk, this.#options.runs, instanceId);
  }
}

interface Planned {
  readonly set: SetOnDisk;
  readonly workload: NativeWorkload;
  readonly command: Extract<NativeCommand, { ok: true }>;
  readonly instanceId: string;
  readonly paramsFolder: string | undefined;
}

function runOrder(
  options: ProcessRuntimeOptions,
  { set, workload, command, instanceId, paramsFolder }: Planned,
): RunOrder {
  return {
    instanceId,
    set: set.manifestDigest,
    workload: workload.name,
    configHash: workloadConfigHash(set.manifest, workload),
    bootId: options.bootId,
    startedAtMs: options.clock.wallMs(),
    program: command.program,
    args: command.args,
    cwd: archiveFolder(set, workload.archive),
    env: workloadEnvironment(set.manifest, workload, options.host, {
      instanceId,
      set: set.manifestDigest,
      probeAddress: options.probeAddress ?? DEFAULT_PROBE_ADDRESS,
      paramsFolder,
    }),
    ...(paramsFolder === undefined ? {} : { paramsFolder }),
    ...(Object.keys(workload.resources).length === 0 ? {} : { resources: workload.resources }),
    isolation: options.isolation ?? "auto",
    ...(options.prefix === undefined ? {} : { prefix: options.prefix }),
    stop: {
      signal: workload.stop.signal,
      limitMs: workload.stop.limitSec * 1000,
      terminateLimitMs: options.terminateLimitMs ?? PROCESS_LIMITS.terminateLimitMs,
    },
    output: {
      segmentBytesMax: options.outputSegmentBytesMax ?? PROCESS_LIMITS.outputSegmentBytesMax,
      texts: logTexts(set.manifest, workload),
    },
  };
}

function logTexts({ healthModel }: StackManifest, workload: Workload): readonly string[] {
  return healthModel.probes.flatMap((probe) =>
    probe.kind === "log" && probe.workload === workload.name ? [probe.text] : [],
  );
}
