import type { Clock } from "@muto/kit/clock";
import type { HttpClient } from "@muto/kit/http";
import type { Logger } from "@muto/kit/logger";
import { seededRandom } from "@muto/kit/random";
import type { VehicleCreateInput } from "@muto/spec";
import { generateKey } from "@muto/trust/keys";
import type { TrustRoots } from "@muto/trust/roots";
import { createMeasure } from "./measure.ts";
import type { Measure } from "./measure.ts";
import { createSimulatedVehicle } from "./vehicle.ts";
import type { SimulatedVehicle } from "./vehicle.ts";

export interface SimulatedFleetOptions {
  readonly vehicles: number;
  /** Decides models, regions, rings and jitter; keys are always fresh. */
  readonly seed: number;
  readonly idPrefix: string;
  readonly url: string;
  readonly mqttUrl: string | undefined;
  readonly pollSec: number;
  readonly healthSec: number;
  /** Vehicles come up evenly over this time, as a fleet does in the morning. */
  readonly rampMs: number;
  readonly roots: TrustRoots;
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Left out, all are parked. */
  readonly start?: "parked" | "driving";
  /** Left out, as the agent's configuration says by default. */
  readonly standstillSec?: number;
  /** For a broker that keeps passwords; left out, a vehicle shows a token made with its key. */
  readonly mqttPassword?: (vehicleId: string) => string;
  /** Makes one vehicle known to the control plane, with its key. */
  readonly register: (vehicle: VehicleCreateInput) => Promise<void>;
}

export interface SimulatedFleet extends AsyncDisposable {
  readonly measure: Measure;
  readonly vehicles: readonly SimulatedVehicle[];
  /** Agents that ended by a bug; none may. */
  readonly faults: readonly string[];
}

const MODELS = ["vehicle-v3", "vehicle-v4"];
const REGIONS = ["eu", "us"];
const RINGS = ["1", "2", "3"];
const REGISTERING_AT_ONCE = 8;

/** Registers and starts the vehicles; resolves when all are up. Disposing of it ends the agents. */
export async function startSimulatedFleet(options: SimulatedFleetOptions): Promise<SimulatedFleet> {
  const { clock, logger } = options;
  const measure = createMeasure(options.http, clock);
  const stop = new AbortController();
  const vehicles: SimulatedVehicle[] = [];
  const faults: string[] = [];
  const running: Promise<void>[] = [];
  const waiting = Array.from({ length: options.vehicles }, (_, index) => index);
  const startedMs = clock.monotonicMs();
  const worker = async () => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
      const due = startedMs + (options.rampMs * index) / options.vehicles;
      await clock.sleep(due - clock.monotonicMs(), stop.signal);
      const vehicle = await createOne(options, index, measure.http);
      vehicles.push(vehicle);
      running.push(
        vehicle.run(stop.signal).catch((error: unknown) => {
          faults.push(`${vehicle.id}: ${String(error)}`);
          logger.error("simulated agent ended by a fault", { vehicleId: vehicle.id, error });
        }),
      );
    }
  };
  await Promise.all(Array.from({ length: REGISTERING_AT_ONCE }, worker));
  return {
    measure,
    vehicles,
    faults,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all(running);
      for (const vehicle of vehicles) await vehicle[Symbol.asyncDispose]();
    },
  };
}

async function createOne(options: SimulatedFleetOptions, index: number, http: HttpClient): Promise<SimulatedVehicle> {
  const { url, mqttUrl, pollSec, healthSec, clock, roots } = options;
  const random = seededRandom(options.seed * 1_000_003 + index);
  const pick = (values: readonly string[]) => values[Math.floor(random.fraction() * values.length)] ?? "";
  const id = `${options.idPrefix}${String(index + 1).padStart(5, "0")}`;
  const [model, region, ring] = [pick(MODELS), pick(REGIONS), pick(RINGS)];
  const { signer } = await generateKey("ed25519");
  await options.register({ id, tags: { model, region, ring, simulated: "yes" }, publicKey: signer.publicKey.pem });
  const bootId = uuidOf(random.bytes(16));
  return await createSimulatedVehicle({
    id,
    model,
    url,
    mqttUrl,
    pollSec,
    healthSec,
    signer,
    roots,
    http,
    clock,
    random,
    bootId,
    start: options.start ?? "parked",
    ...(options.standstillSec !== undefined && { standstillSec: options.standstillSec }),
    ...(options.mqttPassword !== undefined && { mqttPassword: options.mqttPassword(id) }),
  });
}

function uuidOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
