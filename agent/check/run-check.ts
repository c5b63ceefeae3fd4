import { access, constants } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { systemClock, type Clock } from "@muto/kit/clock";
import { systemDisk, type Disk } from "@muto/kit/disk";
import { systemHttp } from "@muto/kit/http";
import { silentLogger } from "@muto/kit/logger";
import { ulid } from "@muto/kit/ids";
import { systemRandom } from "@muto/kit/random";
import type { AgentConfig, AgentView, SignalSource } from "@muto/spec";
import { generateKey } from "@muto/trust/keys";
import { loadTrustFile } from "@muto/trust/trust-file";
import { loadAgentConfig } from "../config.ts";
import { createTechnicianReader } from "../local/technician-reader.ts";
import { systemUptime } from "../local/uptime.ts";
import { engineAt } from "../runtime/oci/engine.ts";
import { findEngineSocket } from "../runtime/oci/find-socket.ts";
import { evaluateGates } from "../safety/gates.ts";
import { openSignals } from "../signals/system-signals.ts";
import { plainEnrolment } from "../link/enrolment.ts";
import { readClaim } from "../link/claim.ts";
import { yawRateSource } from "../safety/hear.ts";
import type { Finding } from "./finding.ts";
import { judgeLooked, type Looked, type Reached } from "./findings.ts";
import type { Freshness } from "./gate-findings.ts";
import type { Identity } from "./key-findings.ts";
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
    identity: await identityOf(disk, clock, config),
    state,
    clock: { wallMs: clock.wallMs(), cloudDateMs: cloud.dateMs },
    engine,
    native: { adapter: config.runtime.adapter, systemdRuns: (await disk.stat(SYSTEMD)) !== undefined },
    cloud,
    registry,
    broker,
    seen,
    freshness: freshnessOf(config),
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

/** Whether there is a claim is asked of a request as the agent would make it, with a key of this moment. */
async function identityOf(disk: Disk, clock: Clock, config: AgentConfig): Promise<Identity> {
  const { stateDir, vehicle, cloud } = config;
  const hasKey = (await disk.stat(join(stateDir, "key", "vehicle.pem")).catch(() => undefined)) !== undefined;
  const identity = { vehicleId: vehicle.id, hasKey };
  const path = cloud.claimFile;
  if (path === undefined) return { ...identity, claim: undefined };
  const { signer } = await generateKey("ed25519");
  const installId = () => ulid(clock, systemRandom());
  const enrolment = plainEnrolment({ clock, signer, tenant: "default", vehicleId: vehicle.id, facts: {}, installId });
  return { ...identity, claim: { path, found: await readClaim(disk, path, enrolment) } };
}

/** Of every source that names a provider; a signal that is declared absent has none. */
function freshnessOf({ signals }: AgentConfig): readonly Freshness[] {
  const of = (signal: Freshness["signal"], source: SignalSource | undefined): readonly Freshness[] =>
    source === undefined || source === "none" ? [] : source.map((named) => ({ signal, ...named }));
  return [
    ...of("speed", signals.speed),
    ...of("angular-speed", yawRateSource(signals)),
    ...of("mode", signals.mode),
    ...of("battery", signals.battery),
    ...of("parked", signals.parked),
    ...of("hold", signals.hold),
  ];
}
