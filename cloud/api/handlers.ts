import { abortRollout } from "./abort-rollout.ts";
import { acceptVehicle } from "./accept-vehicle.ts";
import { confirmRestore } from "./confirm-restore.ts";
import { createClaim } from "./create-claim.ts";
import { createDesiredState } from "./create-desired-state.ts";
import { createRelease } from "./create-release.ts";
import { createRollout } from "./create-rollout.ts";
import { createVehicle } from "./create-vehicle.ts";
import { deleteVehicle } from "./delete-vehicle.ts";
import { enroll } from "./enroll.ts";
import { excludeVehicle } from "./exclude-vehicle.ts";
import { explainVehicle } from "./explain-vehicle.ts";
import { getAttachment } from "./get-attachment.ts";
import { getDesiredState } from "./get-desired-state.ts";
import { getDocs } from "./get-docs.ts";
import { getFleetSummary } from "./get-fleet-summary.ts";
import { getHealth } from "./get-health.ts";
import { getLatestDesired } from "./get-latest-desired.ts";
import { getMetrics } from "./get-metrics.ts";
import { getOpenapi } from "./get-openapi.ts";
import { getReadiness } from "./get-readiness.ts";
import { getRelease } from "./get-release.ts";
import { getRollout } from "./get-rollout.ts";
import { getTrustRoot } from "./get-trust-root.ts";
import { getVehicle } from "./get-vehicle.ts";
import { includeVehicle } from "./include-vehicle.ts";
import { listAuditEntries } from "./list-audit-entries.ts";
import { listHealthReports } from "./list-health-reports.ts";
import { listReconcileReports } from "./list-reconcile-reports.ts";
import { listReleases } from "./list-releases.ts";
import { listRolloutVehicles } from "./list-rollout-vehicles.ts";
import { listRollouts } from "./list-rollouts.ts";
import { listVehicles } from "./list-vehicles.ts";
import { pauseRollout } from "./pause-rollout.ts";
import { postHealthReports } from "./post-health-reports.ts";
import { postReconcileReports } from "./post-reconcile-reports.ts";
import { postVehicleEvents } from "./post-vehicle-events.ts";
import { postVehicleStatus } from "./post-vehicle-status.ts";
import { putAttachment } from "./put-attachment.ts";
import { rejectVehicle } from "./reject-vehicle.ts";
import { resumeRollout } from "./resume-rollout.ts";
import { revokeVehicle } from "./revoke-vehicle.ts";
import { rollbackRollout } from "./rollback-rollout.ts";
import { streamEvents } from "./stream-events.ts";
import { updateVehicle } from "./update-vehicle.ts";
import { withdrawRelease } from "./withdraw-release.ts";
import type { Handlers } from "./server/server.ts";

/** Every operation of the contract, each in a file of its own name. */
export const handlers: Handlers = {
  createVehicle,
  listVehicles,
  getVehicle,
  updateVehicle,
  deleteVehicle,
  postVehicleStatus,
  postVehicleEvents,
  explainVehicle,
  excludeVehicle,
  includeVehicle,
  createClaim,
  acceptVehicle,
  rejectVehicle,
  revokeVehicle,
  enroll,
  getTrustRoot,
  getFleetSummary,
  confirmRestore,
  createRelease,
  listReleases,
  getRelease,
  withdrawRelease,
  createDesiredState,
  getDesiredState,
  getLatestDesired,
  postReconcileReports,
  listReconcileReports,
  postHealthReports,
  listHealthReports,
  getAttachment,
  putAttachment,
  createRollout,
  listRollouts,
  getRollout,
  listRolloutVehicles,
  pauseRollout,
  resumeRollout,
  rollbackRollout,
  abortRollout,
  listAuditEntries,
  streamEvents,
  getHealth,
  getReadiness,
  getMetrics,
  getOpenapi,
  getDocs,
};
