import type { AgentConfig, Policy } from "@muto/spec";
import type { Instant, SignalSamples } from "./signals.ts";

/** Everything that the gates look at; they look at nothing else, so the same context gives the same verdict. */
export interface GateContext {
  /**
   * `switch`: an unforced change, every gate. `stop`: stopping a stack that fails but still runs, for a rollback or a
   * repair; window, battery and disk never hold that up.
   */
  readonly purpose: "switch" | "stop";
  readonly samples: SignalSamples;
  readonly config: GateConfig;
  /** The policy of the desired state; undefined where there is none, and then only the vehicle's floor speaks. */
  readonly policy: Policy | undefined;
  readonly clock: ClockFacts;
  readonly disk: DiskFacts;
}

/** The parts of the vehicle's own configuration that make up the floor. */
export type GateConfig = Pick<AgentConfig, "vehicle" | "safety" | "signals">;

export interface ClockFacts extends Instant {
  /** Judged by `judgeClock`. */
  readonly trusted: boolean;
}

export interface DiskFacts {
  /** Null when the disk does not say. */
  readonly freeMb: number | null;
  /** What has yet to be written until staged, active and previous sets are complete. */
  readonly neededMb: number;
}
