import { join } from "node:path";
import { systemClock } from "@muto/kit/clock";
import { DiskError, systemDisk, type Disk } from "@muto/kit/disk";
import { systemHttp } from "@muto/kit/http";
import { jsonLogger, type LogLevel, type Logger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import type { RegistryCredentials } from "@muto/oci/auth";
import type { AgentConfig } from "@muto/spec";
import { generateKey, parsePrivateKey, type Signer } from "@muto/trust/keys";
import { loadTrustFile } from "@muto/trust/trust-file";
import type { TrustRoots } from "@muto/trust/roots";
import { loadOrCreateKey } from "./cache/key-store.ts";
import { loadAgentConfig } from "./config.ts";
import { createMqttConnector } from "./link/mqtt-connector.ts";
import { createTechnicianReader } from "./local/technician-reader.ts";
import { systemUptime } from "./local/uptime.ts";
import { openAgent, type RunEnd } from "./open-agent.ts";
import type { AgentPorts } from "./ports.ts";
import { serveView } from "./check/view-server.ts";
import { lockAgentState } from "./runtime/agent-lock.ts";
import { openRuntime, type OpenNative } from "./runtime/open-runtime.ts";
import { procTable } from "./runtime/process-table.ts";
import { processProber } from "./runtime/prober.ts";
import { HOST_VARIABLES } from "./runtime/workload-config.ts";
import { createChangeFlag } from "./signals/change-flag.ts";
import { openSignals } from "./signals/system-signals.ts";
import { AGENT_VERSION } from "./version.ts";

export interface RunAgentOptions {
  /** Absolute path of the vehicle's own configuration file. */
  readonly configFile: string;
  /** Ends the agent, and nothing else: workloads go on running (H2). */
  readonly signal: AbortSignal;
  /** Takes one line of JSON, newline included. */
  readonly log: (line: string) => void;
  readonly level?: LogLevel;
  /** Left out by the confined agent, which runs containers alone. */
  readonly openNative?: OpenNative;
}

/** What the process should exit with. */
const EXIT = { done: 0, failed: 1, badConfiguration: 2 } as const;

const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/** The vehicle agent over the real world, until the signal aborts. The exit code to end the process with. */
export async function runAgent(options: RunAgentOptions): Promise<number> {
  const clock = systemClock();
  const disk = systemDisk();
  const logger = jsonLogger({
    write: options.log,
    level: options.level ?? "info",
    clock,
    with: { program: "muto-agent" },
  });
  const loaded = await loadAgentConfig(disk, options.configFile);
  if (!loaded.ok) return refuse(logger, loaded.code, loaded.problems);
  const { config, warnings } = loaded;
  if (options.openNative === undefined && config.runtime.adapter !== "none") {
    return refuse(logger, "CONFIG_INVALID", ["this agent runs no native workloads: set runtime.adapter to none"]);
  }
  for (const warning of warnings) logger.warn("configuration", { warning });
  const trust = await readTrust(disk, config.trustFile);
  if (!trust.ok) return refuse(logger, "TRUST_UNUSABLE", [trust.problem]);
  const bootId = new TextDecoder().decode(await disk.read(BOOT_ID)).trim();
  const locked = await lockAgentState({ disk, processes: procTable(), bootId, stateDir: config.stateDir });
  if (!locked.ok) {
    logger.error("state folder cannot be locked", { ...locked, stateDir: config.stateDir });
    return EXIT.failed;
  }
  await using lock = locked.lock;
  void lock;
  try {
    await serve({ ...options, clock, disk, logger, config, bootId, roots: trust.roots });
    return EXIT.done;
  } catch (error) {
    logger.error("agent ended by a fault; its workloads go on running", { error });
    return EXIT.failed;
  }
}

interface Serving extends Pick<AgentPorts, "clock" | "disk" | "logger"> {
  readonly config: AgentConfig;
  readonly roots: TrustRoots;
  readonly bootId: string;
  readonly signal: AbortSignal;
  readonly openNative?: OpenNative;
}

async function serve({ clock, disk, logger, config, roots, bootId, signal, openNative }: Serving): Promise<void> {
  await using open = new AsyncDisposableStack();
  const random = systemRandom();
  const boot = { id: async () => bootId };
  const { stateDir } = config;
  const runs = join(stateDir, "runs");
  await disk.makeFolder(runs);
  const technician = createTechnicianReader({ disk, stateDir, clock, boot, uptime: systemUptime() });
  const signals = open.use(await openSignals({ config, clock, random, logger, technician }));
  const runtime = open.use(
    await openRuntime(
      config,
      {
        disk,
        clock,
        logger,
        runs,
        bootId,
        nodePath: process.execPath,
        host: hostEnvironment(),
      },
      openNative,
    ),
  );
  const ports: AgentPorts = {
    clock,
    random,
    disk,
    http: systemHttp(),
    mqtt: config.mqtt === undefined ? undefined : createMqttConnector({ url: config.mqtt.url, clock, random, logger }),
    runtime,
    prober: processProber(runtime, config.runtime.probeAddress, signals.graph),
    graph: signals.graph,
    signals,
    changeFlag: createChangeFlag({ disk, file: config.changeInProgress.file, tell: (change) => signals.tell(change) }),
    boot,
    logger,
  };
  const signer = await vehicleKey(disk, stateDir, logger);
  const credentials = await registryCredentials(disk, config);
  const settings = {
    config,
    roots,
    signer,
    ...(credentials === undefined ? {} : { registryCredentials: credentials }),
  };
  logger.info("agent started", {
    vehicleId: config.vehicle.id,
    version: AGENT_VERSION,
    keyid: signer.publicKey.keyid,
    bootId,
  });
  for (let end: RunEnd | undefined; end !== "stopped";) {
    await using opened = await openAgent(ports, { ...settings, afterFault: end === "storage-recovered" });
    await using view = await serveView({ stateDir, logger }, () => opened.view());
    void view;
    end = await opened.run(signal);
  }
  logger.info("agent ended; its workloads go on running");
}

/** The key is made here, once, and its private half never leaves the vehicle. */
async function vehicleKey(disk: Disk, stateDir: string, logger: Logger): Promise<Signer> {
  const generate = async () => (await generateKey("ed25519")).privatePem;
  const stored = await loadOrCreateKey({ disk, path: join(stateDir, "key", "vehicle.pem"), generate });
  const parsed = parsePrivateKey(stored.privatePem);
  if (!parsed.ok) throw new Error(`the vehicle's key cannot be used: ${parsed.problem}`);
  if (stored.created) logger.info("vehicle key made", { keyid: parsed.signer.publicKey.keyid });
  if (stored.wasExposed) logger.warn("vehicle key could be read by others; enrol the vehicle with a new one");
  return parsed.signer;
}

type ReadTrust = { readonly ok: true; readonly roots: TrustRoots } | { readonly ok: false; readonly problem: string };

async function readTrust(disk: Disk, path: string): Promise<ReadTrust> {
  const bytes = await disk.read(path).catch((error: unknown) => {
    if (error instanceof DiskError) return undefined;
    throw error;
  });
  if (bytes === undefined) return { ok: false, problem: `${path}: there is no such file, or it cannot be read` };
  const loaded = loadTrustFile(bytes);
  if (loaded.ok) return loaded;
  if (loaded.problem !== "malformed") return { ok: false, problem: `${path}: ${loaded.path} ${loaded.problem}` };
  const [first] = loaded.problems;
  return { ok: false, problem: `${path}: ${first?.path ?? ""} ${first?.message ?? "is malformed"}` };
}

async function registryCredentials(disk: Disk, { registry }: AgentConfig): Promise<RegistryCredentials | undefined> {
  if (registry?.usernameFile === undefined || registry.passwordFile === undefined) return undefined;
  const text = async (path: string) => new TextDecoder().decode(await disk.read(path)).trim();
  return { kind: "basic", username: await text(registry.usernameFile), password: await text(registry.passwordFile) };
}

function hostEnvironment(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    HOST_VARIABLES.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}

function refuse(logger: Logger, code: string, problems: readonly string[]): number {
  for (const problem of problems) logger.error("configuration cannot be used", { code, problem });
  return EXIT.badConfiguration;
}
