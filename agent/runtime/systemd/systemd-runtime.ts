import { existsSync, watch } from "node:fs";
import { DiskError, type Disk } from "@muto/kit/disk";
import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { NativeWorkload, Workload } from "@muto/spec";
import {
  RuntimeUnseen,
  type BlobReader,
  type Instance,
  type PrepareResult,
  type Runtime,
  type SetOnDisk,
  type StartResult,
  type StopResult,
} from "../../ports.ts";
import { archiveFolder } from "../archives.ts";
import { paramsFolderOf } from "../parameter-files.ts";
import type { OutputSearch } from "../process-runtime.ts";
import { nativeCommand, workloadConfigHash, workloadEnvironment, type HostEnvironment } from "../workload-config.ts";
import { JournalReader } from "./journal-reader.ts";
import type { RunProgram } from "./run-program.ts";
import { UnitRecords, type UnitRecord } from "./unit-records.ts";
import { isPlainPath, parseShow, systemdRunArguments, unitName, type UnitSeen } from "./unit.ts";

export interface SystemdRuntimeOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Absolute; holds the records of the units. Belongs to this agent alone. */
  readonly units: string;
  readonly bootId: string;
  readonly host: HostEnvironment;
  readonly probeAddress: string;
  readonly prefix?: string;
  readonly allowGpus: boolean;
  readonly startLimitMs: number;
  /** False: new workloads go to `process`, and only what runs as a unit already is kept. */
  readonly startsUnits: boolean;
  readonly run: RunProgram;
  /** Prepares and verifies sets, and keeps what it started before units were asked for. */
  readonly process: Runtime & OutputSearch & AsyncDisposable;
}

const SYSTEMD_LIMITS = {
  /** For systemctl to answer. */
  askMs: 10_000,
  /** Beyond a workload's own limit: systemd kills, reaps and runs what notes the exit. */
  stopSlackMs: 15_000,
  /** From the end of a unit until what it noted can be read. */
  exitNoteMs: 2_000,
  exitLookMs: 20,
} as const;

/** Whether systemd is what booted this computer. */
export function isSystemdHere(): boolean {
  return existsSync("/run/systemd/system");
}

/**
 * Native workloads as transient units of systemd, which supervises them: the agent's exit changes nothing (H2). systemd
 * forgets a unit that has ended, so each notes its own end; a unit without record is nobody's.
 */
export class SystemdRuntime implements Runtime, OutputSearch, AsyncDisposable {
  readonly #options: SystemdRuntimeOptions;
  readonly #records: UnitRecords;
  readonly #journal: JournalReader;
  readonly #starting = new Set<string>();

  constructor(options: SystemdRuntimeOptions) {
    this.#options = options;
    this.#records = new UnitRecords(options.disk, options.units);
    this.#journal = new JournalReader(options.run);
  }

  async prepare(set: SetOnDisk, blobs: BlobReader, signal: AbortSignal): Promise<PrepareResult> {
    return await this.#options.process.prepare(set, blobs, signal);
  }

  async verify(set: SetOnDisk): Promise<boolean> {
    return await this.#options.process.verify(set);
  }

  async start(set: SetOnDisk, workload: Workload, instanceId: string): Promise<StartResult> {
    if (workload.type !== "native") return refused("NO_CONTAINER_ENGINE");
    if (!this.#options.startsUnits) return await this.#options.process.start(set, workload, instanceId);
    if (workload.gpus === "all" && !this.#options.allowGpus) return refused("GPUS_NOT_ALLOWED");
    this.#starting.add(instanceId);
    try {
      return await this.#start(set, workload, instanceId);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      return refused(error.code);
    } finally {
      this.#starting.delete(instanceId);
    }
  }

  async stop(instanceId: string): Promise<StopResult> {
    const record = await this.#records.get(instanceId);
    if (record === undefined) return await this.#options.process.stop(instanceId);
    if ((await this.#records.exit(instanceId)) !== undefined) return { ok: true };
    await this.#records.markStop(instanceId);
    const limitMs = record.stopLimitMs + SYSTEMD_LIMITS.stopSlackMs;
    await this.#options.run("systemctl", ["stop", unitName(instanceId)], limitMs);
    const { state } = await this.#instanceOf(record, await this.#show([record]));
    return state.kind === "ended" ? { ok: true } : { ok: false, problem: "stop-timeout" };
  }

  async inspect(): Promise<readonly Instance[]> {
    const others = await this.#options.process.inspect();
    const records = (await this.#records.all()).filter(({ instanceId }) => !this.#starting.has(instanceId));
    if (records.length === 0) return others;
    const seen = await this.#show(records);
    return [...others, ...(await Promise.all(records.map(async (record) => await this.#instanceOf(record, seen))))];
  }

  watch(onChange: () => void): AsyncDisposable {
    const others = this.#options.process.watch(onChange);
    const stop = new AbortController();
    void this.#watchExits(onChange, stop.signal);
    return {
      [Symbol.asyncDispose]: async () => {
        stop.abort();
        await others[Symbol.asyncDispose]();
      },
    };
  }

  async collect(instanceId: string, bytesMax: number): Promise<Uint8Array> {
    if (!(await this.#records.has(instanceId))) return await this.#options.process.collect(instanceId, bytesMax);
    return await this.#journal.tail(instanceId, bytesMax);
  }

  async forget(instanceId: string): Promise<void> {
    const record = await this.#records.get(instanceId);
    if (record === undefined) return await this.#options.process.forget(instanceId);
    const { state } = await this.#instanceOf(record, await this.#show([record]));
    if (state.kind === "running") throw new Error("an instance that runs cannot be forgotten");
    this.#journal.forget(instanceId);
    await this.#records.remove(instanceId);
  }

  async saw(instanceId: string, text: string): Promise<boolean | null> {
    if (!(await this.#records.has(instanceId))) return await this.#options.process.saw(instanceId, text);
    return await this.#journal.saw(instanceId, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.process[Symbol.asyncDispose]();
  }

  async #start(set: SetOnDisk, workload: NativeWorkload, instanceId: string): Promise<StartResult> {
    const { bootId, clock, host, prefix, probeAddress, run, startLimitMs, logger } = this.#options;
    const archive = archiveFolder(set, workload.archive);
    const paramsFolder = paramsFolderOf(set, workload);
    const exitFile = this.#records.exitFile(instanceId);
    if (![archive, exitFile, prefix ?? archive].every(isPlainPath)) return refused("STATE_PATH_UNUSABLE");
    const command = nativeCommand(archive, workload, paramsFolder);
    if (!command.ok) return refused(command.code);
    const configHash = workloadConfigHash(set.manifest, workload);
    const identity = { instanceId, set: set.manifestDigest, workload: workload.name, configHash, bootId };
    const marks = { instanceId, set: set.manifestDigest, probeAddress, paramsFolder };
    await this.#records.add({ ...identity, startedAtMs: clock.wallMs(), stopLimitMs: workload.stop.limitSec * 1000 });
    const args = systemdRunArguments({
      ...command,
      instanceId,
      description: `${workload.name} of a Muto stack`,
      env: workloadEnvironment(set.manifest, workload, host, marks),
      archive,
      prefix,
      paramsFolder,
      resources: workload.resources,
      stop: workload.stop,
      exitFile,
    });
    const answer = await run("systemd-run", args, startLimitMs);
    if (answer.kind === "exited" && answer.code === 0) return { ok: true };
    const said = answer.kind === "exited" ? answer.stderr.slice(-500) : answer.problem;
    logger.warn("systemd does not start a unit", { instanceId, workload: workload.name, said });
    // What may have begun all the same is stopped; it never counted as started.
    await run("systemctl", ["stop", unitName(instanceId)], SYSTEMD_LIMITS.askMs);
    const exit = await this.#records.exit(instanceId);
    await this.#records.remove(instanceId);
    if (answer.kind === "failed") return { ok: false, problem: "start-timeout", code: "START_TIMEOUT" };
    return refused(exit?.code === EXIT_EXEC ? "ENOEXEC" : "SYSTEMD_REFUSED");
  }

  async #show(records: readonly UnitRecord[]): Promise<ReadonlyMap<string, UnitSeen>> {
    const names = records.map(({ instanceId }) => unitName(instanceId));
    const args = ["show", "--property=Id,ActiveState,MainPID", ...names];
    const answer = await this.#options.run("systemctl", args, SYSTEMD_LIMITS.askMs);
    if (answer.kind === "failed" || answer.code !== 0) throw new RuntimeUnseen("systemd does not answer");
    return parseShow(answer.stdout);
  }

  async #instanceOf(record: UnitRecord, seen: ReadonlyMap<string, UnitSeen>): Promise<Instance> {
    const { instanceId, set, workload, configHash, bootId, startedAtMs } = record;
    const common = { instanceId, set, workload, configHash, bootId, startedAtMs, isolation: "full" } as const;
    const unit = seen.get(unitName(instanceId));
    if (unit?.isAlive === true && bootId === this.#options.bootId) {
      const deaths = (await this.#journal.deaths(instanceId)) ?? 0;
      const told = deaths === 0 ? {} : { deaths };
      return { ...common, ...told, state: { kind: "running", pid: unit.pid, supervised: true } };
    }
    const requested = await this.#records.isStopMarked(instanceId);
    const exit =
      bootId === this.#options.bootId ? await this.#exitOf(instanceId) : await this.#records.exit(instanceId);
    const { code, signal, atMs } = exit ?? { code: null, signal: null, atMs: this.#options.clock.wallMs() };
    return { ...common, state: { kind: "ended", requested, code, signal, atMs } };
  }

  /** A unit that is gone has noted its end just before. */
  async #exitOf(instanceId: string): Promise<ReturnType<UnitRecords["exit"]>> {
    const { clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + SYSTEMD_LIMITS.exitNoteMs;
    for (;;) {
      const exit = await this.#records.exit(instanceId);
      if (exit !== undefined || clock.monotonicMs() > deadlineMs) return exit;
      await clock.sleep(SYSTEMD_LIMITS.exitLookMs);
    }
  }

  /** The kernel tells when a unit writes down its end: nothing is asked of systemd meanwhile. */
  async #watchExits(onChange: () => void, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.disk.makeFolder(this.#options.units);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
    }
    if (signal.aborted || !existsSync(this.#options.units)) return;
    const watcher = watch(this.#options.units, { persistent: false }, (_event, name) => {
      if (name?.endsWith(".exit") === true) onChange();
    });
    // A folder that cannot be watched any more is looked at by the next pass all the same.
    watcher.on("error", () => watcher.close());
    signal.addEventListener("abort", () => watcher.close());
  }
}

/** What systemd says of a program that could not be executed. */
const EXIT_EXEC = 203;

function refused(code: string): StartResult {
  return { ok: false, problem: "start-refused", code };
}
