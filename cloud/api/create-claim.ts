import { ulid } from "@muto/kit/ids";
import { shifted } from "../inventory/times.ts";
import { actorText } from "../store/actor.ts";
import { appendAudit } from "../store/audit.ts";
import { findClaim, hashOfClaim, insertClaim } from "../store/claims.ts";
import { lockVehicle } from "../store/reports.ts";
import { newClaimToken, repeatableClaimToken } from "../trust/claim-token.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";

const DEFAULT_LIFE_SEC = 900;

/** Makes the single-use secret with which a vehicle is known at its first contact. Shown once; only its hash is stored. */
export const createClaim: Handler<"createClaim"> = async (call, context) => {
  const { id } = call.params;
  const actor = actorOf(call.principal);
  const claim =
    call.idempotencyKey === undefined
      ? newClaimToken(context.random)
      : await repeatableClaimToken(context.assignmentSigner, {
          vehicleId: id,
          principal: actorText(actor),
          idempotencyKey: call.idempotencyKey,
        });
  const tokenHash = hashOfClaim(claim);
  const headers = { Location: `/api/v1/vehicles/${id}` };
  return await context.database.db.transaction().execute(async (trx) => {
    const vehicle = await lockVehicle(trx, id);
    if (vehicle === undefined) return refuse("NOT_FOUND", `There is no vehicle ${id}.`, { what: "vehicle", id });
    const repeated = await findClaim(trx, tokenHash);
    if (repeated !== undefined) {
      return repeated.usedAt === null && repeated.expiresAt > call.at
        ? { status: 201 as const, data: { vehicleId: id, claim, expiresAt: repeated.expiresAt }, headers }
        : refuse("CONFLICT_IDEMPOTENCY_KEY", "The claim of this Idempotency-Key was used or has expired.");
    }
    const expiresAt = shifted(call.at, (call.body?.expiresInSec ?? DEFAULT_LIFE_SEC) * 1000);
    await insertClaim(trx, {
      id: ulid(context.clock, context.random),
      vehicleId: id,
      tokenHash,
      at: call.at,
      by: actorText(actor),
      expiresAt,
    });
    await appendAudit(trx, {
      at: call.at,
      actor,
      action: "vehicle.claim-created",
      subject: { type: "vehicle", id },
      after: { expiresAt },
    });
    return await call.remember(trx, { status: 201, data: { vehicleId: id, claim, expiresAt }, headers });
  });
};
