import { HEADERS } from "@muto/spec";
import { noteInstallOfPoll } from "../inventory/installs.ts";
import { ACCEPT_FOR_MS, renewAssignment } from "../store/assignments.ts";
import type { Db } from "../store/database.ts";
import { latestAssignment, pollState } from "../store/latest.ts";
import type { PollState } from "../store/latest.ts";
import { lockVehicle } from "../store/reports.ts";
import { noteFloor, restoreGuard } from "../store/restore-guard.ts";
import { offerOf, offerTag } from "../trust/assignment-signer.ts";
import { refuse } from "./server/operation.ts";
import type { Call, Handler } from "./server/operation.ts";

/**
 * What vehicles poll. The ordinary poll is one statement and no answer body; only a vehicle that brings news (a higher floor,
 * another installation) or that needs its assignment renewed costs a transaction.
 */
export const getLatestDesired: Handler<"getLatestDesired"> = async (call, context) => {
  const { vehicleId, installId } = call.query;
  const own = call.principal.kind === "vehicle";
  if (own && call.principal.id !== vehicleId) return refuse("FORBIDDEN", "A vehicle may ask only for itself.");
  const { db } = context.database;
  let state = await pollState(db, vehicleId, installId);
  if (state === undefined) {
    return refuse("NOT_FOUND", `There is no vehicle ${vehicleId}.`, { what: "vehicle", id: vehicleId });
  }
  if (own) {
    context.heartbeats.seen(vehicleId);
    if (bringsNews(call, state)) {
      await db.transaction().execute(async (trx) => await takeNews(trx, call));
      state = (await pollState(db, vehicleId, installId)) ?? state;
    }
  }
  const headers = headersOf(state, offerTag(state.sequence, context.assignmentSigner), own && installId !== undefined);
  if (namesTag(call.headers["if-none-match"], headers[HEADERS.etag])) {
    context.metrics.count("muto_assignments_served_total", { answer: "unchanged" });
    return { status: 304, raw: undefined, headers };
  }
  // What is older than the vehicle's own knowledge would only be rejected there; after the guard it is issued anew.
  const row = state.floor > state.sequence ? undefined : await latestAssignment(db, vehicleId);
  if (row === undefined) {
    context.metrics.count("muto_assignments_served_total", { answer: "none" });
    return { status: 200, data: { assignment: null }, headers };
  }
  const offer = await offerOf(row, { tenant: context.config.tenant, signer: context.assignmentSigner });
  context.metrics.count("muto_assignments_served_total", { answer: "signed" });
  // The row may be newer than the state: the tag must name what is sent.
  const tag = offerTag(row.sequence, context.assignmentSigner);
  return { status: 200, data: { assignment: offer }, headers: { ...headers, [HEADERS.etag]: tag } };
};

/** Sequences beyond this are no vehicle's honest floor; one above it could leave no room for the next. */
const FLOOR_MAX = 2 ** 52;

function bringsNews(call: Call<"getLatestDesired">, state: PollState): boolean {
  const { sequenceFloor, installId } = call.query;
  const floor = sequenceFloor === undefined || sequenceFloor > FLOOR_MAX ? undefined : sequenceFloor;
  if (floor !== undefined && (floor > state.floor || state.unchecked)) return true;
  if (installId !== undefined && installId !== state.installId) return true;
  if (state.guarded || state.sequence === 0) return false;
  return state.floor > state.sequence || isHalfOver(state, call.at);
}

/** Half of the time to start or to accept has passed, and the vehicle has not answered yet. */
function isHalfOver(state: PollState, at: string): boolean {
  const { start_before: startBefore, accept_before: acceptBefore, start_before_sec: startBeforeSec } = state;
  if (startBefore === null || acceptBefore === null || startBeforeSec === null) return false;
  if (state.status !== "pending" && state.status !== "applying" && state.status !== "blocked") return false;
  const nowMs = Date.parse(at);
  return Date.parse(startBefore) < nowMs + startBeforeSec * 500 || Date.parse(acceptBefore) < nowMs + ACCEPT_FOR_MS / 2;
}

async function takeNews(trx: Db, call: Call<"getLatestDesired">): Promise<void> {
  const { vehicleId, sequenceFloor, installId } = call.query;
  const vehicle = await lockVehicle(trx, vehicleId);
  if (vehicle === undefined) return;
  if (installId !== undefined) await noteInstallOfPoll(trx, vehicle, installId, call.at);
  if (sequenceFloor !== undefined && sequenceFloor <= FLOOR_MAX) {
    await noteFloor(trx, vehicle, sequenceFloor, call.at);
  }
  if ((await restoreGuard(trx)) === undefined) await renewAssignment(trx, vehicleId, call.at);
}

function headersOf(state: PollState, tag: string, acknowledges: boolean): Readonly<Record<string, string>> {
  const acked = acknowledges && state.acked !== null && state.acked > 0 ? state.acked : undefined;
  return {
    [HEADERS.etag]: tag,
    ...(acked === undefined ? {} : { [HEADERS.mutoAcknowledgedSeq]: String(acked) }),
  };
}

function namesTag(ifNoneMatch: string | undefined, tag: string | undefined): boolean {
  if (ifNoneMatch === undefined || tag === undefined) return false;
  return ifNoneMatch.split(",").some((each) => each.trim().replace(/^W\//, "") === tag);
}
