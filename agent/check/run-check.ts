import { access, constants } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { systemClock, type Clock } from "@muto/kit/clock";
import { systemDisk, type Disk } from "@muto/kit/disk";
import { systemHttp } from "@muto/kit/http";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import type { AgentConfig, AgentView, SignalSource } from "@muto/spec";
import { loadTrustFile } from "@muto/trust/trust-file";
import { loadAgentConfig } from "../config.ts";
import { createTechnicianReader } from "../local/technician-reader.ts";
import { systemUptime } from "../local/uptime.ts";
import { engineAt } from "../runtime/oci/engine.ts";
import { findEngineSocket } from "../runtime/oci/find-socket.ts";
import { evaluateGates } from "../safety/gates.ts";
import { openSignals } from "../signals/system-signals.ts";
import { judgeLooked, type Finding, type Looked, type Reached } from "./findings.ts";
import { graphView, providersOf } from "./view.ts";
import { askForView } from "./view-server.ts";

export interface CheckResult {
  /** Whether this vehicle could take and run a release. */
  readonly fit: boolean;
  readonly findings: readonly Finding[];
  /** What the agent that runs here says; null when none does. */
  readonly view: AgentView | null;
}

/** For one answer from the network. */
const REACH_MS_MAX = 5_000;
/** How long to listen to the vehicle's signals where no agent does. */
const LISTEN_MS = 3_000;
const BOOT_ID = "/proc/sys/kernel/random/boot_id";
const SYSTEMD = "/run/systemd/system";

/** Looks at everything that a vehicle needs, and changes nothing. A configuration that cannot be read is a finding, too. */
export async function runCheck(configFile: string): Promise<CheckResult> {
  const disk = systemDisk();
  const loaded = await loadAgentConfig(disk, configFile);
  if (!loaded.ok) {
    const findings = loaded.problems.map((says): Finding => ({ about: "configuration", verdict: "fail", says }));
    return { fit: false, findings, view: null };
  }
  const { config, warnings } = loaded;
  const clock = systemClock();
  const view = await askForView(config.stateDir);
  const [engine, cloud, registry, broker, state, seen] = await Promise.all([
    engineOf(config),
    reachHttp(`${config.cloud.url.replace(/\/$/, "")}/healthz`),
    config.registry === undefined ? undefined : reachHttp(`${config.registry.url.replace(/\/$/, "")}/v2/`),
    config.mqtt === undefined ? undefined : reachTcp(config.mqtt.url),
    stateOf(disk, config),
    view === undefined ? lookWithout(config, clock, disk) : { ...view, agentRuns: true },
  ]);
  const looked: Looked = {
    warnings,
    trust: await trustOf(disk, config.trustFile),
    hasKey: (await disk.stat(join(config.stateDir, "key", "vehicle.pem")).catch(() => undefined)) !== undefined,
    state,
    clock: { wallMs: clock.wallMs(), cloudDateMs: cloud.dateMs },
    engine,
    native: { adapter: config.runtime.adapter, systemdRuns: (await disk.stat(SYSTEMD)) !== undefined },
    cloud,
    registry,
    broker,
    seen,
    optionalProviders: optionalProviders(config),
    graph: seen.graph,
  };
  const findings = judgeLooked(looked);
  return { fit: findings.every(({ verdict }) => verdict !== "fail"), findings, view: view ?? null };
}

async function engineOf({ runtime }: AgentConfig): Promise<Looked["engine"]> {
  if (runtime.oci === undefined) return { kind: "not-configured" };
  const socket = await findEngineSocket(runtime.oci.socket);
  using engine = engineAt(socket);
  const answer = await engine.version();
  if (answer.ok) return { kind: "answers", socket, name: answer.value.kind, version: answer.value.version };
  return { kind: "trouble", socket, problem: answer.said === "" ? answer.problem : answer.said };
}

async function reachHttp(url: string): Promise<Reached & { readonly dateMs: number | null }> {
  const started = performance.now();
  try {
    const signal = AbortSignal.timeout(REACH_MS_MAX);
    const { status, headers } = await systemHttp()({ method: "GET", url, signal });
    const dateMs = Date.parse(headers.get("date") ?? "");
    return { url, status, ms: performance.now() - started, dateMs: Number.isNaN(dateMs) ? null : dateMs };
  } catch {
    return { url, status: null, ms: performance.now() - started, dateMs: null };
  }
}

/** A connection is all that can be asked of a broker without the vehicle's credentials. */
function reachTcp(url: string): Promise<Reached> {
  const started = performance.now();
  const { hostname, port, protocol } = new URL(url);
  return new Promise((resolve) => {
    const usual = protocol === "mqtts:" ? 8883 : protocol === "wss:" ? 443 : protocol === "ws:" ? 80 : 1883;
    const socket = connect({ host: hostname, port: port === "" ? usual : Number(port), timeout: REACH_MS_MAX });
    const give = (status: 0 | null) => {
      socket.destroy();
      resolve({ url, status, ms: performance.now() - started });
    };
    socket.once("connect", () => give(0));
    socket.once("timeout", () => give(null));
    socket.once("error", () => give(null));
  });
}

async function stateOf(disk: Disk, { stateDir, safety }: AgentConfig): Promise<Looked["state"]> {
  const reserveMb = safety.diskReserveMb;
  const folder = (await disk.stat(stateDir).catch(() => undefined)) === undefined ? dirname(stateDir) : stateDir;
  const freeMb = await disk.freeBytes(folder).then(
    (bytes) => Math.floor(bytes / 1_000_000),
    () => null,
  );
  try {
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return { problem: null, freeMb, reserveMb };
  } catch {
    return { problem: `${folder} cannot be written by this user`, freeMb, reserveMb };
  }
}

async function trustOf(disk: Disk, file: string): Promise<Looked["trust"]> {
  const bytes = await disk.read(file).catch(() => undefined);
  if (bytes === undefined) return { ok: false, problem: `${file} is not there or cannot be read` };
  const trust = loadTrustFile(bytes);
  if (!trust.ok) return { ok: false, problem: `${file}: ${trust.problem}` };
  const keys = (["assignment", "release"] as const).reduce((sum, role) => sum + trust.roots.role(role).keys.length, 0);
  return { ok: true, keys };
}

/** Where no agent runs, this look opens the signals itself, listens for a moment, and closes them again. */
async function lookWithout(config: AgentConfig, clock: Clock, disk: Disk) {
  const bootId = new TextDecoder().decode(await disk.read(BOOT_ID)).trim();
  const boot = { id: async () => bootId };
  const technician = createTechnicianReader({
    disk,
    stateDir: config.stateDir,
    clock,
    boot,
    uptime: systemUptime(),
  });
  await using signals = await openSignals({ config, clock, random: systemRandom(), logger: silentLogger, technician });
  await clock.sleep(LISTEN_MS);
  const samples = await signals.read();
  const freeMb = await disk.freeBytes(dirname(config.stateDir)).then(
    (bytes) => Math.floor(bytes / 1_000_000),
    () => null,
  );
  // A look of three seconds cannot prove that a vehicle has stood for minutes; everything else it can.
  const now = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs(), trusted: true };
  const context = { purpose: "switch", samples, config, policy: undefined, clock: now } as const;
  const verdict = evaluateGates({ ...context, disk: { freeMb, neededMb: 0 } });
  const refusals = verdict.open ? [] : verdict.refusals.map(({ evidence }) => evidence);
  return {
    agentRuns: false,
    providers: providersOf(config.signals.providers, samples, now.monotonicMs),
    gate: { open: verdict.open, refusals },
    graph: await graphView(signals.graph, config),
  };
}

/** Providers whose silence alone closes no gate: every signal that names them calls them optional. */
function optionalProviders({ signals }: AgentConfig): ReadonlySet<string> {
  const sources = [signals.speed, signals.yawRate, signals.mode, signals.battery, signals.parked, signals.hold];
  const named = sources.flatMap((source: SignalSource | undefined) =>
    source === undefined || source === "none" ? [] : source,
  );
  const required = new Set(named.filter(({ optional }) => !optional).map(({ provider }) => provider));
  return new Set(signals.providers.map(({ name }) => name).filter((name) => !required.has(name)));
}
