import type { Clock } from "@muto/kit/clock";
import type { PublicKey } from "@muto/trust/keys";
import { tokenSubject, verifyVehicleToken } from "@muto/trust/vehicle-token";
import type { Db } from "../store/database.ts";
import { POLL_COLUMNS } from "../store/latest.ts";
import type { PollState } from "../store/latest.ts";
import { createKeyReader } from "./known-keys.ts";

/** Whether a bearer token proves the key that is registered for a vehicle now; the same answer for HTTP and MQTT. */
export interface VehicleAuth {
  authenticate(token: string): Promise<VehicleAuthentication>;
}

export type VehicleAuthentication =
  | {
      readonly ok: true;
      readonly vehicleId: string;
      readonly keyid: string;
      /** What a poll needs, read with the key, so that an ordinary poll is one statement. */
      readonly poll: PollState;
    }
  /** `revoked` is said only to somebody who proved a key that was registered once. */
  | { readonly ok: false; readonly problem: "unknown" | "revoked" };

/** Asks the database at every call, so that a revocation holds at once; only the reading of a key's text is remembered. */
export function createVehicleAuth(options: {
  readonly db: Db;
  readonly clock: Clock;
  readonly tenant: string;
}): VehicleAuth {
  const { db, clock, tenant } = options;
  const readKey = createKeyReader();
  const proves = (token: string, vehicleId: string, pem: string): PublicKey | undefined => {
    const key = readKey(pem);
    if (key === undefined) return undefined;
    return verifyVehicleToken(token, { key, vehicleId, tenant, nowMs: clock.wallMs() }).ok ? key : undefined;
  };
  return {
    authenticate: async (token) => {
      const subject = tokenSubject(token);
      if (subject === undefined) return { ok: false, problem: "unknown" };
      const { vehicleId } = subject;
      const vehicle = await db
        .selectFrom("vehicles")
        .select(["public_key", "revoked_at", "decommissioned_at", ...POLL_COLUMNS])
        .where("id", "=", vehicleId)
        .executeTakeFirst();
      const alive = vehicle !== undefined && vehicle.revoked_at === null && vehicle.decommissioned_at === null;
      const pem = vehicle?.public_key ?? undefined;
      if (alive && pem !== undefined) {
        const key = proves(token, vehicleId, pem);
        if (key !== undefined) return { ok: true, vehicleId, keyid: key.keyid, poll: vehicle };
      }
      const former = await formerKey(db, vehicleId, subject.keyid);
      const revoked = former !== undefined && proves(token, vehicleId, former) !== undefined;
      return { ok: false, problem: revoked ? "revoked" : "unknown" };
    },
  };
}

async function formerKey(db: Db, vehicleId: string, keyid: string | undefined): Promise<string | undefined> {
  if (keyid === undefined) return undefined;
  const row = await db
    .selectFrom("vehicle_keys")
    .select("public_key")
    .where("key_id", "=", keyid)
    .where("vehicle_id", "=", vehicleId)
    .where("status", "=", "revoked")
    .executeTakeFirst();
  return row?.public_key;
}
