import type { ErrorCode, Vehicle } from "@muto/spec";
import { viewVehicle } from "../../inventory/vehicle-view.ts";
import { vehicleList } from "../../store/assignments.ts";
import type { Db } from "../../store/database.ts";
import { lockVehicle } from "../../store/reports.ts";
import type { VehicleRow } from "../../store/reports.ts";
import { appendVehicleEvents } from "../../store/vehicle-events.ts";
import { viewTime } from "./context.ts";
import type { ApiContext } from "./context.ts";
import { refuse } from "./operation.ts";

/** What a change of one vehicle did: nothing, something that the feed should tell, or it refuses. */
export type VehicleChange<Code extends ErrorCode> =
  | { readonly kind: "unchanged" }
  | { readonly kind: "changed" }
  | { readonly kind: "refused"; readonly refusal: ReturnType<typeof refuse<Code>> };

export interface VehicleChangeCall {
  readonly at: string;
  readonly params: { readonly id: string };
  remember(
    trx: Db,
    answer: { readonly status: 200; readonly data: Vehicle },
  ): Promise<{
    readonly status: 200;
    readonly data: Vehicle;
  }>;
}

/** Locks the vehicle of the path, lets the operation change it, and answers with how it stands then; one transaction. */
export async function changeVehicle<Code extends ErrorCode = never>(
  call: VehicleChangeCall,
  context: ApiContext,
  change: (trx: Db, vehicle: VehicleRow) => Promise<VehicleChange<Code>>,
) {
  const { id } = call.params;
  const time = viewTime(context, call.at);
  return await context.database.db.transaction().execute(async (trx) => {
    const vehicle = await lockVehicle(trx, id);
    if (vehicle === undefined) return refuse("NOT_FOUND", `There is no vehicle ${id}.`, { what: "vehicle", id });
    const done = await change(trx, vehicle);
    if (done.kind === "refused") return done.refusal;
    if (done.kind === "changed") await appendVehicleEvents(trx, time, vehicleList([id]));
    const view = await viewVehicle(trx, id, time);
    if (view === undefined) throw new Error("a vehicle that is locked is not there");
    return await call.remember(trx, { status: 200, data: view });
  });
}
