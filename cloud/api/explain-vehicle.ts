import { explain } from "../inventory/explain.ts";
import { intentFor, lastFailureOf } from "../store/explanation.ts";
import { latestProbesOf } from "../store/health.ts";
import { findVehicleRecord, latestReportOf } from "../store/vehicles.ts";
import { viewTime } from "./server/context.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

export const explainVehicle: Handler<"explainVehicle"> = async (call, context) => {
  const { id } = call.params;
  const { db } = context.database;
  await context.heartbeats.flush();
  const record = await findVehicleRecord(db, id, viewTime(context, call.at));
  if (record === undefined) return refuse("NOT_FOUND", `There is no vehicle ${id}.`, { what: "vehicle", id });
  const intent = await intentFor(db, id);
  const probes = await latestProbesOf(db, record);
  const report = await latestReportOf(db, record);
  const lastFailure = await lastFailureOf(db, record);
  return { status: 200, data: explain({ record, report, lastFailure, probes, ...intent }) };
};
