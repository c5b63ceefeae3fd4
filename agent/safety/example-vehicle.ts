import { parseAgentConfig, type AgentConfig, type AgentConfigInput, type Policy, type SignalLine } from "@muto/spec";
import type { GateContext } from "./context.ts";
import type { GateVerdict } from "./gates.ts";
import { hear, standingLimits } from "./hear.ts";
import { silentProvider, type Instant, type ProviderSamples, type SignalSamples } from "./signals.ts";

/** A vehicle for examples and tests: every gate in force, every gate open, until the example says otherwise. */
export const exampleNow: Instant = { monotonicMs: 10_000_000, wallMs: Date.parse("2026-06-01T01:00:00.000Z") };

export const strictPolicy: Policy = {
  applyWindow: { startLocal: "02:00", endLocal: "05:00" },
  requireVehicleStationary: true,
  denyIfAutonomousMode: true,
  requireBatteryPctMin: 35,
};

/** What a stolen cloud key would ask for: nothing. */
export const emptyPolicy: Policy = {
  requireVehicleStationary: false,
  denyIfAutonomousMode: false,
  requireBatteryPctMin: 0,
};

export type ConfigChanges = Partial<Pick<AgentConfigInput, "safety" | "signals" | "changeInProgress" | "limits">>;

/** One provider `gateway` gives speed, yaw rate, mode and battery, each fresh for two seconds. */
export function exampleConfig(changes: ConfigChanges = {}): AgentConfig {
  const gateway = [{ provider: "gateway", freshForSec: 2 }];
  const parsed = parseAgentConfig({
    kind: "muto.agent/v1",
    vehicle: {
      id: "vehicle-v3-0142",
      model: "vehicle-v3",
      os: "ubuntu-22.04",
      rosDistro: "humble",
      timezone: "Europe/Berlin",
    },
    cloud: { url: "http://127.0.0.1:8080" },
    stateDir: "/var/lib/muto",
    trustFile: "/etc/muto/trust.json",
    signals: { speed: gateway, mode: gateway, battery: gateway },
    ...changes,
  });
  if (!parsed.ok) throw new Error(`the example is no configuration: ${JSON.stringify(parsed.problems)}`);
  return parsed.value;
}

/** A line in which every gate would be satisfied. */
export const calmLine: SignalLine = {
  kind: "muto.signals/v1",
  speedMps: 0,
  yawRateRadps: 0,
  parked: true,
  mode: "manual",
  batteryPct: 80,
  charging: false,
  hold: { held: false },
};

/** What one provider is worth at {@link exampleNow} after saying `line` every second for `forSec` seconds up to `endedSec` ago. */
export function heardFor(
  config: AgentConfig,
  provider: string,
  line: SignalLine | "malformed",
  { forSec = 121, endedSec = 0 }: { readonly forSec?: number; readonly endedSec?: number } = {},
): ProviderSamples {
  const limits = standingLimits(config, provider);
  let samples = silentProvider;
  for (let ageSec = endedSec + forSec; ageSec >= endedSec; ageSec -= 1) {
    samples = hear(samples, line, momentsAgo(ageSec), limits);
  }
  return samples;
}

export function momentsAgo(sec: number): Instant {
  return { monotonicMs: exampleNow.monotonicMs - sec * 1000, wallMs: exampleNow.wallMs - sec * 1000 };
}

export function samplesOf(
  providers: Readonly<Record<string, ProviderSamples>>,
  technician: Partial<SignalSamples["technician"]> = {},
): SignalSamples {
  return {
    providers: new Map(Object.entries(providers)),
    technician: { hold: { kind: "none" }, standing: null, ...technician },
  };
}

export function exampleContext(changes: Partial<GateContext> = {}): GateContext {
  const config = exampleConfig();
  return {
    purpose: "switch",
    samples: samplesOf({ gateway: heardFor(config, "gateway", calmLine) }),
    config,
    policy: strictPolicy,
    clock: { ...exampleNow, trusted: true },
    disk: { freeMb: 10_000, neededMb: 100 },
    ...changes,
  };
}

/** What refuses, shortly: code:signal:problem:seen, so that a table can be read. */
export function refusalsOf(verdict: GateVerdict): readonly string[] {
  if (verdict.open) return [];
  return verdict.refusals.map(
    ({ reasonCode, evidence: { signal, problem, seen } }) => `${reasonCode}:${signal}:${problem}:${seen}`,
  );
}
