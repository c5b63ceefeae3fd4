import type { SignalReader } from "@muto/agent/ports";
import { noSamples, silentProvider } from "@muto/agent/safety/signals";
import type { Sample, SignalSamples } from "@muto/agent/safety/signals";
import type { Clock } from "@muto/kit/clock";
import type { AgentConfigInput } from "@muto/spec";

/** The only provider of a simulated vehicle. */
const PROVIDER = "simulated";

/** Configuration that fits {@link SimulatedSignals}. */
export const simulatedSources: AgentConfigInput["signals"] = {
  speed: [{ provider: PROVIDER }],
  mode: [{ provider: PROVIDER }],
  battery: [{ provider: PROVIDER }],
  providers: [{ name: PROVIDER, kind: "file", path: "/simulated" }],
};

/** What a simulated vehicle does; signals are as fresh as the look at them, so that an idle vehicle costs nothing. */
export class SimulatedSignals implements SignalReader {
  readonly #clock: Clock;
  readonly #watchers = new Set<() => void>();
  #parkedSinceMs: number | null;

  constructor(clock: Clock, start: "parked" | "driving") {
    this.#clock = clock;
    // A parked vehicle has stood for a day when the simulation begins.
    this.#parkedSinceMs = start === "parked" ? clock.monotonicMs() - 86_400_000 : null;
  }

  park(): void {
    this.#parkedSinceMs ??= this.#clock.monotonicMs();
    for (const watcher of this.#watchers) watcher();
  }

  drive(): void {
    this.#parkedSinceMs = null;
    for (const watcher of this.#watchers) watcher();
  }

  async read(): Promise<SignalSamples> {
    const takenMs = this.#clock.monotonicMs();
    const sample = <Value>(value: Value): Sample<Value> => ({ value, takenMs, takenWallMs: this.#clock.wallMs() });
    const since = this.#parkedSinceMs;
    const provider = {
      ...silentProvider,
      lastLine: "good" as const,
      samples: {
        speedMps: sample(since === null ? 9 : 0),
        yawRateRadps: sample(0),
        mode: sample("manual" as const),
        batteryPct: sample(80),
        charging: sample(false),
      },
      calmSinceMs: { speedMps: since, yawRateRadps: since },
      contradictedMs: since === null ? takenMs : null,
    };
    return { ...noSamples, providers: new Map([[PROVIDER, provider]]) };
  }

  watch(onChange: () => void): AsyncDisposable {
    this.#watchers.add(onChange);
    return {
      [Symbol.asyncDispose]: async () => {
        this.#watchers.delete(onChange);
      },
    };
  }
}
