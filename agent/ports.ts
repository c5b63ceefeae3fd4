import type { Disk } from "@muto/kit/disk";
import type { Clock } from "@muto/kit/clock";
import type { HttpClient } from "@muto/kit/http";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import type { ChangeInProgress, Probe, ProbeProblem, ProbeValue, StackManifest, Workload } from "@muto/spec";
import type { SignalSamples } from "./safety/signals.ts";

/** Everything the agent needs of the world. main.ts wires the real ones; a simulator replaces them all. */
export interface AgentPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly disk: Disk;
  readonly http: HttpClient;
  readonly mqtt: MqttConnector | undefined;
  readonly runtime: Runtime;
  readonly prober: Prober;
  /** Undefined: no provider of this vehicle shows the ROS graph. */
  readonly graph: GraphReader | undefined;
  readonly signals: SignalReader;
  readonly changeFlag: ChangeFlag;
  readonly boot: Boot;
  readonly logger: Logger;
}

/** The boot the computer is in; a new id after every restart of the computer. */
export interface Boot {
  id(): Promise<string>;
}

// ── Runtime ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A set on disk, ready to be started: every archive unpacked below `folder`, one folder per archive digest. */
export interface SetOnDisk {
  readonly manifestDigest: string;
  readonly folder: string;
  readonly manifest: StackManifest;
}

/**
 * Runs workloads. The adapter never restarts anything by itself and never decides: the agent counts and decides.
 * Workloads do not depend on the agent: its exit, crash or upgrade never signals them (H2).
 */
export interface Runtime {
  /** Makes a set startable from verified blobs; idempotent; leaves nothing half done that counts as prepared. */
  prepare(set: SetOnDisk, blobs: BlobReader, signal: AbortSignal): Promise<PrepareResult>;
  /** Re-hashes what `prepare` made; false when a byte, mode or name differs. */
  verify(set: SetOnDisk): Promise<boolean>;
  /** Starts one workload and resolves when it runs under supervision, or says why not. Rejects like `inspect`. */
  start(set: SetOnDisk, workload: Workload, instanceId: string): Promise<StartResult>;
  /**
   * Graceful, then harder (SIGINT or SIGTERM as declared, then SIGTERM, then SIGKILL); resolves when nothing of it is left.
   * Rejects like `inspect`.
   */
  stop(instanceId: string): Promise<StopResult>;
  /**
   * All instances that bear our mark, running or ended and not yet forgotten; the truth of this moment. Rejects with
   * {@link RuntimeUnseen} while that cannot be known: "nothing is seen" must never look like "nothing runs".
   */
  inspect(): Promise<readonly Instance[]>;
  /** Calls back when something may have changed; only a wake-up. */
  watch(onChange: () => void): AsyncDisposable;
  /** The newest output of an instance, at most `bytesMax`. */
  collect(instanceId: string, bytesMax: number): Promise<Uint8Array>;
  /** Drops the records of an ended instance. */
  forget(instanceId: string): Promise<void>;
  /** Lets go of what sets other than these left outside their folders, such as images in an engine. */
  sweep?(keep: readonly string[]): Promise<void>;
}

/** What runs cannot be seen at this moment: a container engine is away or restarts. Nothing is decided until it is back. */
export class RuntimeUnseen extends Error {
  override readonly name = "RuntimeUnseen";

  constructor(what: string) {
    super(`what runs cannot be seen: ${what}`);
  }
}

export type BlobReader = (digest: string) => AsyncIterable<Uint8Array>;

export type PrepareResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly problem: "malformed-archive" | "no-space" | "storage"; readonly code: string };

export type StartResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly problem: "start-refused" | "start-timeout" | "tampered"; readonly code: string };

export type StopResult = { readonly ok: true } | { readonly ok: false; readonly problem: "stop-timeout" };

export interface Instance {
  /** ULID given by the agent at start. */
  readonly instanceId: string;
  /** Manifest digest of the set that it belongs to, proved by the supervisor's own record, never by process id alone. */
  readonly set: string;
  readonly workload: string;
  /** Hash of the workload's configuration (argv, env, archive). */
  readonly configHash: string;
  readonly bootId: string;
  readonly startedAtMs: number;
  readonly isolation: "full" | "degraded";
  /** Nodes whose death `ros2 launch` reported in the output since the start; left out where there were none. */
  readonly deaths?: number;
  readonly state: InstanceState;
}

export type InstanceState =
  | { readonly kind: "running"; readonly pid: number; readonly supervised: boolean }
  /** `requested` is true when a stop of ours ended it. A lost exit has neither code nor signal. */
  | {
      readonly kind: "ended";
      readonly requested: boolean;
      /** The engine that held it ended it, when it restarted or because somebody asked it to: no crash of the workload. */
      readonly byOutage?: boolean;
      readonly code: number | null;
      readonly signal: string | null;
      readonly atMs: number;
    };

/** Looks once at one probe; never throws; a probe that cannot be taken is not met. */
export interface Prober {
  look(probe: Probe, instance: Instance | undefined, signal: AbortSignal): Promise<ProbeSeen>;
}

export interface ProbeSeen {
  readonly met: boolean;
  /** Null exactly when it is met. */
  readonly problem: ProbeProblem | null;
  /** The two numbers that decided; the problem says which of a probe's they are. */
  readonly required: ProbeValue;
  readonly seen: ProbeValue;
  /** How old what was seen was at the look, in milliseconds; null when nothing was. */
  readonly ageMs: number | null;
}

/**
 * What the ROS graph shows at this moment, through the provider that the configuration names. Every answer is null when it
 * cannot be seen: not connected, not supported by the provider, or not answered in time. Never rejects.
 */
export interface GraphReader {
  /** Whether a fully qualified node (`/planner`) is in the graph. */
  node(name: string, signal: AbortSignal): Promise<boolean | null>;
  /** Watches the topic from the first question on, so that a rate is known at a later one. */
  topic(watch: TopicWatch, signal: AbortSignal): Promise<TopicSeen | null>;
  /** The primary state of a managed node: 1 unconfigured, 2 inactive, 3 active, 4 finalized (lifecycle_msgs/msg/State). */
  lifecycle(node: string, signal: AbortSignal): Promise<number | null>;
  /** Calls a std_srvs/srv/Trigger service: what it answered as success. */
  trigger(service: string, signal: AbortSignal): Promise<boolean | null>;
  /** The newest status by name on /diagnostics_agg. Levels: 0 OK, 1 WARN, 2 ERROR, 3 STALE. */
  diagnostics(signal: AbortSignal): Promise<readonly DiagnosticSeen[] | null>;
  /** Calls back when nodes or publishers came or went; only a wake-up. */
  watch(onChange: () => void): AsyncDisposable;
}

export interface TopicWatch {
  readonly topic: string;
  /** `package/msg/Type`. */
  readonly messageType: string;
  readonly windowSec: number;
}

export interface TopicSeen {
  /** Messages per second over the window; over a shorter time while it is not full yet. */
  readonly hz: number;
  /** Null when none has come since the watch began. */
  readonly ageMs: number | null;
  readonly publishers: number;
  /** Whether the whole window was watched: before that a low rate proves nothing. */
  readonly isWindowFull: boolean;
}

export interface DiagnosticSeen {
  readonly name: string;
  readonly level: number;
  readonly ageMs: number;
}

// ── Vehicle ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Reads the newest samples of every configured provider; values only, judged by the pure gates. */
export interface SignalReader {
  read(): Promise<SignalSamples>;
  watch(onChange: () => void): AsyncDisposable;
}

/** Tells the vehicle that its stack is being changed. */
export interface ChangeFlag {
  assert(change: ChangeInProgress): Promise<void>;
  /** Tells only whoever listens at this moment. */
  tell(change: ChangeInProgress): void;
}

// ── Connectivity ────────────────────────────────────────────────────────────────────────────────────────────────────

export interface MqttConnector {
  /** Connects and keeps connecting until closed. The will is retained and sent by the broker when the connection dies. */
  connect(options: MqttOptions): MqttSession;
}

export interface MqttOptions {
  readonly clientId: string;
  readonly username: string;
  /** Asked anew at each connection attempt: short-lived tokens. */
  readonly password: () => Promise<string>;
  readonly will: MqttMessage;
  readonly subscriptions: readonly string[];
  readonly onMessage: (topic: string, payload: Uint8Array) => void;
  readonly onConnected: () => void;
  readonly onDisconnected: () => void;
}

export interface MqttMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1;
  readonly retain: boolean;
}

export interface MqttSession extends AsyncDisposable {
  readonly connected: boolean;
  /** Resolves true when the broker took it (QoS 1: acknowledged) within the limit; false otherwise. Never queues while away. */
  publish(message: MqttMessage, timeoutMs: number): Promise<boolean>;
}
