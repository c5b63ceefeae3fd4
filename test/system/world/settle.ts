import { createVehicle, reported, runs } from "./vehicle.ts";
import type { Vehicle, VehicleSpec } from "./vehicle.ts";
import { desire } from "./cloud.ts";
import type { Cloud, DesiredStateBody } from "./cloud.ts";
import type { RunningWorkload } from "./computer.ts";
import type { Published } from "./publish.ts";

/** Wants a release of one vehicle, and waits until it is committed there and runs; its processes. */
export async function converge(
  cloud: Cloud,
  vehicle: Vehicle,
  release: Published,
  more: Partial<DesiredStateBody> = {},
): Promise<readonly RunningWorkload[]> {
  const revision = await desire(cloud, release, [vehicle], more);
  await reported(cloud, vehicle, { status: "converged", codes: [], revision, version: release.version });
  return await runs(cloud, vehicle, release);
}

/** A vehicle on which a release is committed and runs. */
export async function vehicleOn(cloud: Cloud, release: Published, spec: VehicleSpec): Promise<Vehicle> {
  const vehicle = await createVehicle(cloud, spec);
  try {
    vehicle.startAgent();
    await converge(cloud, vehicle, release);
    return vehicle;
  } catch (error) {
    await vehicle[Symbol.asyncDispose]();
    throw error;
  }
}
