import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AgentConfigInput } from "@muto/spec";
import type { ControlPlane } from "./control-plane.ts";
import { startMuto } from "./program.ts";
import type { MutoProgram } from "./program.ts";
import { openGateway } from "./signals.ts";
import type { Gateway } from "./signals.ts";

export interface VehicleSpec {
  readonly id: string;
  readonly model: string;
  readonly region: string;
  readonly ring: string;
  /** Its own loopback address, because all vehicles of the demonstration share one computer. */
  readonly address: string;
  /** Origins through which it reaches the control plane and the broker. */
  readonly url: string;
  readonly mqttUrl: string;
  readonly diskReserveMb?: number;
  /** Runs its stack in containers of this engine, and no process beside them. */
  readonly engineSocket: string | undefined;
}

/** One vehicle: a folder, a gateway that writes signals, and a real agent process. */
export interface DemoVehicle {
  readonly spec: VehicleSpec;
  readonly gateway: Gateway;
  /** Its folder, with the agent's state in it. */
  readonly home: string;
  readonly configFile: string;
  startAgent(): void;
  stopAgent(): Promise<void>;
  /** Writes the configuration anew; takes effect at the agent's next start. */
  configure(change: Partial<Pick<VehicleSpec, "diskReserveMb">>): void;
}

const DEFAULT_RESERVE_MB = 64;

export function createVehicle(spec: VehicleSpec, claim: string, plane: ControlPlane, folder: string): DemoVehicle {
  mkdirSync(folder, { recursive: true });
  const files = {
    config: join(folder, "agent.json"),
    claim: join(folder, "claim"),
    signals: join(folder, "signals.jsonl"),
    log: join(folder, "agent.log"),
  };
  const write = (diskReserveMb: number) => {
    const config: AgentConfigInput = {
      kind: "muto.agent/v1",
      vehicle: { id: spec.id, model: spec.model, os: "debian-12", rosDistro: "humble", timezone: "Europe/Berlin" },
      cloud: { url: spec.url, claimFile: files.claim, pollSec: 2, healthSec: 2 },
      registry: { url: spec.url },
      mqtt: { url: spec.mqttUrl },
      stateDir: join(folder, "state"),
      trustFile: plane.trustFile,
      runtime: {
        probeAddress: spec.address,
        ...(spec.engineSocket === undefined ? {} : { adapter: "none", oci: { socket: spec.engineSocket } }),
      },
      safety: { standstillSec: 1, diskReserveMb, requireParked: true },
      signals: {
        speed: [{ provider: "gateway" }],
        yawRate: [{ provider: "gateway" }],
        mode: [{ provider: "gateway" }],
        battery: [{ provider: "gateway" }],
        parked: [{ provider: "gateway" }],
        providers: [{ name: "gateway", kind: "file", path: files.signals }],
      },
      changeInProgress: { file: join(folder, "change.json") },
    };
    writeFileSync(files.config, JSON.stringify(config, null, 2));
  };
  write(spec.diskReserveMb ?? DEFAULT_RESERVE_MB);
  writeFileSync(files.claim, `${claim}\n`, { mode: 0o600 });
  let agent: MutoProgram | undefined;
  return {
    spec,
    gateway: openGateway(files.signals),
    home: folder,
    configFile: files.config,
    startAgent: () => {
      agent = startMuto(["agent", "--config", files.config], { logFile: files.log });
    },
    stopAgent: async () => {
      await agent?.stop();
      agent = undefined;
    },
    configure: (change) => write(change.diskReserveMb ?? DEFAULT_RESERVE_MB),
  };
}
