import { createMqttConnector } from "@muto/agent/link/mqtt-connector";
import { openAgent } from "@muto/agent/open-agent";
import type { AgentPorts } from "@muto/agent/ports";
import type { Clock } from "@muto/kit/clock";
import { writeDurably } from "@muto/kit/durable-file";
import type { HttpClient } from "@muto/kit/http";
import { silentLogger } from "@muto/kit/logger";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import { parseAgentConfig } from "@muto/spec";
import type { AgentConfig, AgentConfigInput } from "@muto/spec";
import type { Signer } from "@muto/trust/keys";
import type { TrustRoots } from "@muto/trust/roots";
import { SimulatedDisk } from "./disk.ts";
import { SimulatedRuntime } from "./runtime.ts";
import { simulatedSources, SimulatedSignals } from "./signals.ts";

export interface SimulatedVehicleOptions {
  readonly id: string;
  readonly model: string;
  readonly url: string;
  /** Undefined: it works by polling alone. */
  readonly mqttUrl: string | undefined;
  readonly pollSec: number;
  readonly healthSec: number;
  readonly signer: Signer;
  readonly roots: TrustRoots;
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly bootId: string;
  readonly start: "parked" | "driving";
  /** Seconds that the vehicle must stand before a change; left out, as the configuration's default says. */
  readonly standstillSec?: number;
  /** For a broker that keeps passwords; left out, the password is a token made with the vehicle's key. */
  readonly mqttPassword?: string;
  readonly logger?: Logger;
}

const PASSWORD_FILE = "/mqtt-password";

/** The production agent on a simulated computer: disk, workloads and signals are in memory, the network is whatever it is given. */
export interface SimulatedVehicle extends AsyncDisposable {
  readonly id: string;
  readonly runtime: SimulatedRuntime;
  readonly signals: SimulatedSignals;
  /** Runs the agent until it is told to stop; rejects on a bug of the agent. */
  run(signal: AbortSignal): Promise<void>;
}

export async function createSimulatedVehicle(options: SimulatedVehicleOptions): Promise<SimulatedVehicle> {
  const { id, clock, random, http, mqttUrl, bootId, signer, roots, logger = silentLogger } = options;
  const runtime = new SimulatedRuntime({ clock, bootId });
  const signals = new SimulatedSignals(clock, options.start);
  const disk = new SimulatedDisk({ durability: "immediate" });
  if (options.mqttPassword !== undefined) await writeDurably(disk, PASSWORD_FILE, Buffer.from(options.mqttPassword));
  const ports: AgentPorts = {
    clock,
    random,
    http,
    mqtt: mqttUrl === undefined ? undefined : createMqttConnector({ url: mqttUrl, clock, random, logger }),
    runtime,
    signals,
    disk,
    prober: runtime,
    graph: runtime.graph,
    changeFlag: { assert: async () => {}, tell: () => {} },
    boot: { id: async () => bootId },
    logger,
  };
  const opened = await openAgent(ports, { config: configOf(options), roots, signer });
  return {
    id,
    runtime,
    signals,
    run: async (signal) => void (await opened.run(signal)),
    [Symbol.asyncDispose]: async () => await opened[Symbol.asyncDispose](),
  };
}

function configOf(options: SimulatedVehicleOptions): AgentConfig {
  const { id, model, url, pollSec, healthSec, mqttUrl, mqttPassword, standstillSec } = options;
  const config: AgentConfigInput = {
    kind: "muto.agent/v1",
    vehicle: { id, model, os: "debian-12", rosDistro: "humble", timezone: "Etc/UTC" },
    cloud: { url, pollSec, healthSec },
    registry: { url },
    ...(mqttUrl !== undefined && {
      mqtt: { url: mqttUrl, ...(mqttPassword !== undefined && { passwordFile: PASSWORD_FILE }) },
    }),
    stateDir: "/state",
    trustFile: "/trust.json",
    safety: { diskReserveMb: 1, ...(standstillSec !== undefined && { standstillSec }) },
    signals: simulatedSources,
  };
  const parsed = parseAgentConfig(config);
  if (!parsed.ok) throw new Error(`the simulated vehicle's configuration is wrong: ${JSON.stringify(parsed.problems)}`);
  return parsed.value;
}
