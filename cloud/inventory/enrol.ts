import type { Enrolment } from "@muto/spec";
import type { PublicKey } from "@muto/trust/keys";
import { actorText } from "../store/actor.ts";
import { appendAudit } from "../store/audit.ts";
import { findClaim, hashOfClaim, useClaim } from "../store/claims.ts";
import type { StoredClaim } from "../store/claims.ts";
import type { Db } from "../store/database.ts";
import { lockVehicle, noteInstall } from "../store/reports.ts";
import type { VehicleRow } from "../store/reports.ts";
import { activateKey, boundPending, findKey, hasPendingSince, insertKey } from "../store/vehicle-keys.ts";
import type { VehicleKey } from "../store/vehicle-keys.ts";
import { believedTime } from "./times.ts";

/** What a vehicle is told about the key that it proved. */
export type EnrolmentOutcome =
  | { readonly kind: "accepted" | "pending" }
  | { readonly kind: "refused"; readonly code: "CLAIM_INVALID" | "VEHICLE_REVOKED" | "FORBIDDEN" };

/**
 * Waiting keys of one vehicle: those that asked first, and the newest. Whoever floods a vehicle's name with keys of his own
 * can neither push the honest one out that was there before him, nor keep one out that comes after.
 */
const PENDING_KEYS = { oldestKept: 4, newestKept: 1 } as const;

/** Strangers may ask as often as they like; the audit log, which is never shortened, hears of it once in so long. */
const ANNOUNCED_EVERY_MS = 3_600_000;

/**
 * A vehicle asks to be known by a key whose possession it has proved. With a valid claim for its id the key is accepted at
 * once; without one, or when another key is registered, it waits for an operator: a second key is an alarm, never a silent
 * replacement. Repeating the request answers with the present state. Call it inside a transaction.
 */
export async function enrol(trx: Db, enrolment: Enrolment, key: PublicKey, at: string): Promise<EnrolmentOutcome> {
  const vehicle = await lockVehicle(trx, enrolment.vehicleId);
  // Whether the vehicle exists is nobody's business who has no claim for it.
  if (vehicle === undefined) return { kind: "refused", code: "CLAIM_INVALID" };
  const known = await findKey(trx, key.keyid);
  if (known !== undefined && known.vehicleId !== vehicle.id) return { kind: "refused", code: "FORBIDDEN" };
  if (known?.status === "active" && vehicle.key_id === key.keyid) return { kind: "accepted" };
  if (known?.status === "revoked") return { kind: "refused", code: "VEHICLE_REVOKED" };

  const claim = enrolment.claim === undefined ? undefined : await findClaim(trx, hashOfClaim(enrolment.claim));
  if (enrolment.claim !== undefined) {
    if (claim?.usedByKey === key.keyid && known?.status === "pending") return { kind: "pending" };
    if (!isValid(claim, vehicle.id, at)) return { kind: "refused", code: "CLAIM_INVALID" };
    await useClaim(trx, claim.id, { at, keyid: key.keyid });
  } else if (vehicle.decommissioned_at !== null) {
    return { kind: "refused", code: "VEHICLE_REVOKED" };
  } else if (known?.status === "rejected") {
    return { kind: "refused", code: "FORBIDDEN" };
  }
  const since = new Date(Date.parse(at) - ANNOUNCED_EVERY_MS).toISOString();
  const wasAnnounced = claim === undefined && (await hasPendingSince(trx, vehicle.id, since));
  const candidate = await candidateKey(trx, vehicle, enrolment, key, known, at);
  if (claim === undefined || vehicle.key_id !== null) {
    if (known?.status !== "pending" && !wasAnnounced) await announcePending(trx, vehicle, key, at);
    return { kind: "pending" };
  }
  await accept(trx, vehicle, enrolment, candidate, at);
  return { kind: "accepted" };
}

function isValid(claim: StoredClaim | undefined, vehicleId: string, at: string): claim is StoredClaim {
  return claim !== undefined && claim.vehicleId === vehicleId && claim.usedAt === null && claim.expiresAt > at;
}

async function candidateKey(
  trx: Db,
  vehicle: VehicleRow,
  enrolment: Enrolment,
  key: PublicKey,
  known: VehicleKey | undefined,
  at: string,
): Promise<VehicleKey> {
  if (known !== undefined && known.status !== "rejected") return known;
  const fresh = { vehicleId: vehicle.id, keyid: key.keyid, publicKey: key.pem, status: "pending" } as const;
  if (known === undefined) {
    const origin = enrolment.claim === undefined ? "unclaimed" : "claim";
    await insertKey(trx, { ...fresh, origin, facts: enrolment.facts ?? {}, at, decidedBy: null });
    await boundPending(trx, vehicle.id, PENDING_KEYS);
  } else {
    await trx.updateTable("vehicle_keys").set({ status: "pending" }).where("key_id", "=", key.keyid).execute();
  }
  return fresh;
}

async function accept(
  trx: Db,
  vehicle: VehicleRow,
  enrolment: Enrolment,
  candidate: VehicleKey,
  at: string,
): Promise<void> {
  const actor = { type: "vehicle", id: vehicle.id } as const;
  await activateKey(trx, candidate, { at, by: actorText(actor) });
  const acknowledged = await noteInstall(trx, {
    vehicleId: vehicle.id,
    installId: enrolment.installId,
    at: believedTime(enrolment.at, at),
    receivedAt: at,
  });
  if (vehicle.install_id !== enrolment.installId) {
    await trx
      .updateTable("vehicles")
      .set({ install_id: enrolment.installId, report_seq: acknowledged, acked_seq: acknowledged })
      .where("id", "=", vehicle.id)
      .execute();
  }
  await trx
    .updateTable("vehicles")
    .set({ facts: JSON.stringify({ ...vehicle.facts, ...enrolment.facts }), last_seen_at: at, offline_since: null })
    .where("id", "=", vehicle.id)
    .execute();
  await appendAudit(trx, {
    at,
    actor,
    action: "vehicle.enrolled",
    subject: { type: "vehicle", id: vehicle.id },
    before: { keyid: vehicle.key_id },
    after: { keyid: candidate.keyid, by: "claim" },
  });
}

async function announcePending(trx: Db, vehicle: VehicleRow, key: PublicKey, at: string): Promise<void> {
  await appendAudit(trx, {
    at,
    actor: { type: "vehicle", id: vehicle.id },
    action: "vehicle.enrolment-pending",
    subject: { type: "vehicle", id: vehicle.id },
    before: { keyid: vehicle.key_id },
    after: { pendingKeyid: key.keyid, alarm: vehicle.key_id === null ? "none" : "second-key" },
  });
}
