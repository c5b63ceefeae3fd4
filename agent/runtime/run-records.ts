import type { Resources } from "@muto/spec";
import { Malformed, fieldsOf, readNumber, readText, type Fields } from "../reconcile/fields.ts";

/** Which set and configuration an instance belongs to, as its supervisor wrote it down. */
export interface RunIdentity {
  readonly instanceId: string;
  readonly set: string;
  readonly workload: string;
  readonly configHash: string;
  readonly bootId: string;
  readonly startedAtMs: number;
}

/** One process of one boot: ids are used again, ids with start times (clock ticks since boot) are not. */
export interface ProcessId {
  readonly pid: number;
  readonly startTicks: number;
}

export interface RunExit {
  readonly requested: boolean;
  readonly code: number | null;
  readonly signal: string | null;
  readonly atMs: number;
}

/** What a supervisor says about its workload, over the socket and in state.json. */
export interface RunState extends RunIdentity {
  readonly isolation: "full" | "degraded";
  /** `ended` is said when nothing of the workload is left. */
  readonly phase: "starting" | "running" | "ended";
  /** False when the supervisor that started the workload died: its exit status cannot be learnt any more. */
  readonly supervised: boolean;
  /** Lines in the output so far that say a process has died. */
  readonly deaths: number;
  /** Null in the moment before the workload has been started. */
  readonly process: ProcessId | null;
  readonly exit: RunExit | null;
}

/** exit.json: how an instance ended, or that the operating system refused to execute it. */
export type RunEnd =
  | {
      readonly kind: "ended";
      readonly identity: RunIdentity;
      readonly isolation: "full" | "degraded";
      readonly exit: RunExit;
    }
  | { readonly kind: "refused"; readonly code: string };

/** spec.json as far as the agent reads it again. */
export interface RunSpec extends RunIdentity {
  readonly stop: { readonly limitMs: number; readonly terminateLimitMs: number };
}

/** The spec in full, as the supervisor takes it. */
export interface RunOrder extends RunSpec {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly isolation: "auto" | "required" | "degraded";
  /** Where the archive is shown as well; needs a namespace, and a folder that is there. */
  readonly prefix?: string;
  /** Shown read-only, where there is a namespace. */
  readonly paramsFolder?: string;
  readonly resources?: Resources;
  readonly stop: RunSpec["stop"] & { readonly signal: string };
  readonly output: { readonly segmentBytesMax: number; readonly texts: readonly string[] };
}

/** owner.N: a process, or the agent's word that nothing may ever start here. */
export type RunOwner =
  | { readonly kind: "process"; readonly process: ProcessId; readonly bootId: string }
  | { readonly kind: "abandoned" };

/** Each gives undefined for anything that is not the record: a torn or foreign file is as good as none. */
export const parseRunState = (value: unknown) => parsed(value, readState);
export const parseRunEnd = (value: unknown) => parsed(value, readEnded) ?? parsed(value, readRefused);
export const parseRunSpec = (value: unknown) => parsed(value, readSpec);

export function parseRunOwner(text: string): RunOwner | undefined {
  if (text === ABANDONED) return { kind: "abandoned" };
  const [, pid, startTicks, bootId = ""] = /^(\d{1,9}):(\d{1,15}):([0-9a-f-]{36})$/.exec(text) ?? [];
  if (pid === undefined || startTicks === undefined) return undefined;
  return { kind: "process", process: { pid: Number(pid), startTicks: Number(startTicks) }, bootId };
}

export const ABANDONED = "abandoned";

export function ownerText({ pid, startTicks }: ProcessId, bootId: string): string {
  return `${pid}:${startTicks}:${bootId}`;
}

function parsed<T>(value: unknown, read: (fields: Fields) => T | undefined): T | undefined {
  try {
    return read(fieldsOf(value, ""));
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

const CODE = /^[A-Z0-9_]{1,64}$/;

function readIdentity(fields: Fields): RunIdentity {
  return {
    instanceId: fields.text("instanceId"),
    set: fields.text("set"),
    workload: fields.text("workload"),
    configHash: fields.text("configHash"),
    bootId: fields.text("bootId"),
    startedAtMs: fields.number("startedAtMs"),
  };
}

function readIsolation(fields: Fields): "full" | "degraded" {
  return fields.oneOf("isolation", ["full", "degraded"]);
}

function readState(fields: Fields): RunState {
  const pid = fields.nullable("pid", readNumber);
  const startTicks = fields.nullable("startTicks", readNumber);
  return {
    ...readIdentity(fields),
    isolation: readIsolation(fields),
    phase: fields.oneOf("phase", ["starting", "running", "ended"]),
    supervised: fields.flag("supervised"),
    // Supervisors of earlier versions do not count them.
    deaths: fields.has("deaths") ? fields.count("deaths") : 0,
    process: pid === null || startTicks === null ? null : { pid, startTicks },
    exit: fields.nullable("exit", readExit),
  };
}

function readExit(value: unknown, at: string): RunExit {
  const fields = fieldsOf(value, at);
  return {
    requested: fields.flag("requested"),
    code: fields.nullable("code", readNumber),
    signal: fields.nullable("signal", (signal, where) => readText(signal, where, CODE)),
    atMs: fields.number("atMs"),
  };
}

function readEnded(fields: Fields): RunEnd {
  return {
    kind: "ended",
    identity: readIdentity(fields),
    isolation: readIsolation(fields),
    exit: fields.of("exit", readExit),
  };
}

function readRefused(fields: Fields): RunEnd {
  return { kind: "refused", code: fields.text("refused", CODE) };
}

function readSpec(fields: Fields): RunSpec {
  const stop = fields.of("stop", (value, at) => fieldsOf(value, at));
  return {
    ...readIdentity(fields),
    stop: { limitMs: stop.count("limitMs"), terminateLimitMs: stop.count("terminateLimitMs") },
  };
}
