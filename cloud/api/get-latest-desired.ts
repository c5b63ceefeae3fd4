import { HEADERS } from "@muto/spec";
import { noteInstallOfPoll } from "../inventory/installs.ts";
import { SEQUENCE_FLOOR_MAX } from "../inventory/fold.ts";
import { renewAssignment } from "../store/assignments.ts";
import type { Db } from "../store/database.ts";
import { keepPayload, latestAssignment, pollState } from "../store/latest.ts";
import type { PollState } from "../store/latest.ts";
import { lockVehicle } from "../store/reports.ts";
import { noteFloor, restoreGuard } from "../store/restore-guard.ts";
import { offerOf, offerTag, payloadOf } from "../trust/assignment-signer.ts";
import { refuse } from "./server/operation.ts";
import type { Call, Handler } from "./server/operation.ts";

/**
 * What vehicles poll. The ordinary poll costs the one row that its authentication reads, and has no answer body; only a
 * vehicle that brings news (a higher floor, another installation) or needs its assignment renewed costs a transaction.
 */
export const getLatestDesired: Handler<"getLatestDesired"> = async (call, context) => {
  const { vehicleId, installId } = call.query;
  const { principal } = call;
  const own = principal.kind === "vehicle";
  if (own && principal.id !== vehicleId) return refuse("FORBIDDEN", "A vehicle may ask only for itself.");
  const { db } = context.database;
  let state = own ? principal.poll : await pollState(db, vehicleId);
  if (state === undefined) {
    return refuse("NOT_FOUND", `There is no vehicle ${vehicleId}.`, { what: "vehicle", id: vehicleId });
  }
  if (own) {
    context.heartbeats.seen(vehicleId);
    if (bringsNews(call, state)) {
      await db.transaction().execute(async (trx) => await takeNews(trx, call));
      state = (await pollState(db, vehicleId)) ?? state;
    }
  }
  const tag = offerTag(state.desired_sequence, context.assignmentSigner);
  const headers = headersOf(tag, own && state.install_id === installId ? state.acked_seq : 0);
  if (namesTag(call.headers["if-none-match"], tag)) {
    context.metrics.count("muto_assignments_served_total", { answer: "unchanged" });
    return { status: 304, raw: undefined, headers };
  }
  // What is older than the vehicle's own knowledge would only be rejected there; after the guard it is issued anew.
  const row = state.sequence_floor > state.desired_sequence ? undefined : await latestAssignment(db, vehicleId);
  if (row === undefined) {
    context.metrics.count("muto_assignments_served_total", { answer: "none" });
    return { status: 200, data: { assignment: null }, headers };
  }
  const payload = row.payload ?? (await keepPayload(db, row, payloadOf(row, context.config.tenant)));
  const offer = await offerOf(payload, row, context.assignmentSigner);
  context.metrics.count("muto_assignments_served_total", { answer: "signed" });
  // The row may be newer than the state: the tag must name what is sent.
  const sent = offerTag(row.sequence, context.assignmentSigner);
  return { status: 200, data: { assignment: offer }, headers: { ...headers, [HEADERS.etag]: sent } };
};

function bringsNews(call: Call<"getLatestDesired">, state: PollState): boolean {
  const { sequenceFloor, installId } = call.query;
  const floor = sequenceFloor === undefined || sequenceFloor > SEQUENCE_FLOOR_MAX ? undefined : sequenceFloor;
  if (floor !== undefined && (floor > state.sequence_floor || state.floor_unchecked)) return true;
  if (installId !== undefined && installId !== state.install_id) return true;
  if (state.desired_sequence === 0) return false;
  return state.sequence_floor > state.desired_sequence || isHalfOver(state, call.at);
}

/** Half of the time to start or to accept has passed, and the vehicle has not answered yet, or only that it came too late. */
function isHalfOver(state: PollState, at: string): boolean {
  if (state.desired_renew_at === null || state.desired_renew_at > at) return false;
  const late = state.status === "failed" && state.reason_codes.includes("DESIRED_STATE_REJECTED");
  return late || state.status === "pending" || state.status === "applying" || state.status === "blocked";
}

async function takeNews(trx: Db, call: Call<"getLatestDesired">): Promise<void> {
  const { vehicleId, sequenceFloor, installId } = call.query;
  const vehicle = await lockVehicle(trx, vehicleId);
  if (vehicle === undefined) return;
  if (installId !== undefined) await noteInstallOfPoll(trx, vehicle, installId, call.at);
  if (sequenceFloor !== undefined && sequenceFloor <= SEQUENCE_FLOOR_MAX) {
    await noteFloor(trx, vehicle, sequenceFloor, call.at);
  }
  if ((await restoreGuard(trx)) === undefined) await renewAssignment(trx, vehicleId, call.at);
}

function headersOf(tag: string, acknowledged: number): Readonly<Record<string, string>> {
  return {
    [HEADERS.etag]: tag,
    ...(acknowledged > 0 ? { [HEADERS.mutoAcknowledgedSeq]: String(acknowledged) } : {}),
  };
}

function namesTag(ifNoneMatch: string | undefined, tag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch.split(",").some((each) => each.trim().replace(/^W\//, "") === tag);
}
