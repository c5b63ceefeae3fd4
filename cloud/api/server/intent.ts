import type { PolicyRequest, RolloutConflict, StackRef, StackSelection, Target } from "@muto/spec";
import { targetQuery, unknownVehicles } from "../../inventory/target.ts";
import { checkPolicy } from "../../rollout/policy.ts";
import type { Db } from "../../store/database.ts";
import type { ReleaseRow } from "../../store/release-rows.ts";
import type { ViewTime } from "../../store/vehicle-events.ts";
import { refuse } from "./operation.ts";
import { selectorRefusal } from "./selector-refusal.ts";

/*
 * What rollouts and direct desired states ask alike: a policy that is meant, a release that vehicles would accept, and a
 * target that can be read. Each gives either what was asked for or the refusal that the request is answered with.
 */

export function readPolicy(requested: PolicyRequest, acknowledged: boolean) {
  const checked = checkPolicy(requested, acknowledged);
  if (checked.ok) return checked;
  switch (checked.problem) {
    case "window-empty":
      return refuse("APPLY_WINDOW_EMPTY", "The apply window starts when it ends, so it would never open.");
    case "unacknowledged": {
      const message = `The policy is weaker than the defaults in ${checked.fields.join(", ")}.`;
      return refuse("POLICY_WEAKENED_UNACKNOWLEDGED", message, { fields: [...checked.fields] });
    }
  }
}

export interface AssignableRelease {
  readonly row: ReleaseRow;
  readonly stack: StackRef;
}

/** Holds the release until the end of the transaction, so that it cannot be withdrawn and assigned at the same time. */
export async function readRelease(trx: Db, wanted: StackSelection) {
  const { name, version, manifestDigest } = wanted;
  const id = `${name}/${version}`;
  const row = await trx
    .selectFrom("releases")
    .selectAll()
    .where("name", "=", name)
    .where("version", "=", version)
    .forShare()
    .executeTakeFirst();
  if (row === undefined) {
    return refuse("RELEASE_UNKNOWN", `There is no release ${id}.`, { what: "release", id });
  }
  if (manifestDigest !== undefined && manifestDigest !== row.manifest_digest) {
    return refuse("RELEASE_UNKNOWN", `The release ${id} has another digest.`, { what: "release", id });
  }
  if (row.withdrawn_at !== null) {
    return refuse("RELEASE_WITHDRAWN", `The release ${id} was withdrawn.`, { what: "release", id });
  }
  if (!row.signature_verified) {
    return refuse("RELEASE_NOT_VERIFIED", `The release ${id} has no signature that holds.`, { what: "release", id });
  }
  const found: AssignableRelease = { row, stack: { name, version, manifestDigest: row.manifest_digest } };
  return found;
}

const UNKNOWN_VEHICLES_MAX = 100;

/** The vehicles of a target as a subquery; a list that names strangers is refused with their names. */
export async function readTarget(
  db: Db,
  target: Target,
  time: ViewTime,
  options: { readonly includesExcluded: boolean },
) {
  if (target.type === "vehicleList") {
    const vehicleIds = await unknownVehicles(db, target.vehicleIds, UNKNOWN_VEHICLES_MAX);
    if (vehicleIds.length > 0) {
      return refuse(
        "VEHICLE_UNKNOWN",
        `The target names vehicles that are not there: ${vehicleIds.slice(0, 5).join(", ")}.`,
        {
          vehicleIds,
        },
      );
    }
  }
  const query = targetQuery(target, time, options);
  return query.ok ? { members: query.members } : selectorRefusal(query);
}

export function emptyTarget() {
  return refuse("TARGET_EMPTY", "The target resolves to no vehicle that can be assigned.");
}

const NAMED_CONFLICTS_MAX = 100;

export function memberConflict(conflicts: readonly RolloutConflict[]) {
  const named = [...new Set(conflicts.map(({ rolloutId }) => rolloutId))].slice(0, 5).join(", ");
  return refuse(
    "CONFLICT_ROLLOUT_MEMBER",
    `${conflicts.length} vehicles are members of unfinished rollouts: ${named}.`,
    {
      conflicts: conflicts.slice(0, NAMED_CONFLICTS_MAX),
    },
  );
}
