import type {
  Facts,
  Policy,
  ReasonCode,
  ReconcileReport,
  ReleaseSignature,
  SafetySnapshot,
  StackManifest,
} from "@muto/spec";
import type { ColumnType, Generated, GeneratedAlways, JSONColumnType } from "kysely";

/**
 * The tables of store/migrations as types. Times are RFC 3339 strings with milliseconds, 64-bit numbers are numbers,
 * JSON is read parsed and written as text (`JSON.stringify`), so that both drivers treat it alike.
 */
export interface Tables {
  readonly settings: SettingsTable;
  readonly vehicles: VehiclesTable;
  readonly vehicle_installs: VehicleInstallsTable;
  readonly timeline: TimelineTable;
  readonly releases: ReleasesTable;
  readonly desired_states: DesiredStatesTable;
  readonly assignments: AssignmentsTable;
  readonly rollouts: RolloutsTable;
  readonly rollout_members: RolloutMembersTable;
  readonly reconcile_reports: ReconcileReportsTable;
  readonly health_reports: HealthReportsTable;
  readonly attachments: AttachmentsTable;
  readonly audit_log: AuditLogTable;
  readonly audit_head: AuditHeadTable;
  readonly events: EventsTable;
  readonly vehicle_keys: VehicleKeysTable;
  readonly claims: ClaimsTable;
  readonly idempotency_keys: IdempotencyKeysTable;
}

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** A JSON column that may be null. */
type NullableJson<T> = ColumnType<T | null, string | null, string | null>;
type AnyJson = ColumnType<Json, string, string>;
/** A column with a default, never changed after. */
type Defaulted<T> = ColumnType<T, T | undefined, T>;

export interface SettingsTable {
  readonly key: string;
  readonly value: AnyJson;
}

export type ConvergenceStatus = ReconcileReport["status"];

export interface VehiclesTable {
  readonly id: string;
  readonly tags: JSONColumnType<Readonly<Record<string, string>>>;
  readonly model: GeneratedAlways<string | null>;
  readonly region: GeneratedAlways<string | null>;
  readonly ring: GeneratedAlways<string | null>;
  readonly facts: ColumnType<Facts, string | undefined, string>;
  readonly created_at: string;
  readonly updated_at: string;
  readonly key_id: string | null;
  readonly public_key: string | null;
  readonly install_id: string | null;
  readonly acked_seq: Defaulted<number>;
  readonly clone_alarm_at: string | null;
  readonly status: Defaulted<ConvergenceStatus>;
  readonly status_since: string;
  readonly reason_codes: Defaulted<readonly ReasonCode[]>;
  readonly last_seen_at: string | null;
  readonly offline_since: string | null;
  readonly last_reconcile_at: string | null;
  readonly latest_report_id: string | null;
  readonly safety: NullableJson<SafetySnapshot>;
  readonly safety_at: string | null;
  readonly rollback_ready: boolean | null;
  readonly committed_name: string | null;
  readonly committed_version: string | null;
  readonly committed_digest: string | null;
  readonly actual_revision: string | null;
  readonly actual_name: string | null;
  readonly actual_version: string | null;
  readonly actual_digest: string | null;
  readonly desired_sequence: Defaulted<number>;
  readonly desired_revision: string | null;
  readonly desired_name: string | null;
  readonly desired_version: string | null;
  readonly desired_digest: string | null;
  readonly sequence_floor: Defaulted<number>;
  readonly excluded_at: string | null;
  readonly excluded_until: string | null;
  readonly excluded_reason: string | null;
  readonly decommissioned_at: string | null;
  readonly revoked_at: string | null;
}

export interface VehicleInstallsTable {
  readonly vehicle_id: string;
  readonly install_id: string;
  readonly first_received_at: string;
  readonly first_at: string;
  readonly last_received_at: string;
  readonly acked_seq: Defaulted<number>;
}

export interface TimelineTable {
  readonly id: GeneratedAlways<number>;
  readonly vehicle_id: string;
  readonly at: string;
  readonly kind: string;
  readonly sequence: number | null;
  readonly revision: string | null;
  readonly rollout_id: string | null;
  readonly stack_name: string | null;
  readonly stack_version: string | null;
  readonly stack_digest: string | null;
  readonly reason_codes: Defaulted<readonly ReasonCode[]>;
}

export interface ReleasesTable {
  readonly name: string;
  readonly version: string;
  readonly manifest_digest: string;
  readonly repository: string;
  readonly body: AnyJson;
  readonly manifest: JSONColumnType<StackManifest>;
  readonly security_epoch: Defaulted<number>;
  readonly signatures: JSONColumnType<readonly ReleaseSignature[]>;
  readonly signature_present: boolean;
  readonly signature_verified: boolean;
  readonly created_at: string;
  readonly created_by: string;
  readonly withdrawn_at: string | null;
  readonly withdrawn_by: string | null;
}

export type Target =
  | { readonly type: "fleetSelector"; readonly selector: string }
  | { readonly type: "vehicleList"; readonly vehicleIds: readonly string[] };

export type Start = "allowed" | "withheld";

export interface DesiredStatesTable {
  readonly revision: string;
  readonly target: JSONColumnType<Target>;
  readonly stack_name: string;
  readonly stack_version: string;
  readonly manifest_digest: string;
  readonly policy: JSONColumnType<Policy>;
  readonly start: Start;
  readonly retry: boolean;
  readonly rollout_id: string | null;
  readonly rollout: NullableJson<Json>;
  readonly correlation_id: string;
  readonly created_at: string;
  readonly created_by: string;
}

export type AssignmentCause = "direct" | "rollout" | "withhold" | "resume" | "rollback" | "renewal";

export interface AssignmentsTable {
  readonly vehicle_id: string;
  readonly sequence: number;
  readonly revision: string;
  readonly rollout_id: string | null;
  readonly stage: string | null;
  readonly start: Start;
  readonly cause: AssignmentCause;
  readonly correlation_id: string;
  readonly issued_at: string;
  readonly accept_before: string;
  readonly start_before: string;
  readonly superseded_at: string | null;
  readonly notified_at: string | null;
}

export interface RolloutsTable {
  readonly id: string;
  readonly status: "active" | "paused" | "rolling_back" | "rolled_back" | "completed";
  readonly stage: "canary" | "soak" | "wave" | "watch";
  readonly outcome: "clean" | "stragglers" | "aborted" | "superseded" | null;
  readonly revision: string;
  readonly stack_name: string;
  readonly stack_version: string;
  readonly manifest_digest: string;
  readonly target: JSONColumnType<Target>;
  readonly options: AnyJson;
  readonly correlation_id: string;
  readonly created_at: string;
  readonly created_by: string;
  readonly updated_at: string;
  readonly stage_entered_at: string;
  readonly stage_deadline_at: string | null;
  readonly gate_passed_at: string | null;
  readonly watch_until: string | null;
  readonly ended_at: string | null;
  readonly pause: NullableJson<Json>;
  readonly verdict: NullableJson<Json>;
  readonly supersedes: string | null;
  readonly superseded_by: string | null;
  readonly step_due_at: string | null;
}

export interface RolloutMembersTable {
  readonly rollout_id: string;
  readonly vehicle_id: string;
  readonly group_key: string;
  readonly stage: "canary" | "wave";
  readonly rank: number;
  readonly prior_name: string | null;
  readonly prior_version: string | null;
  readonly prior_digest: string | null;
  readonly assigned_sequence: number | null;
  readonly assigned_at: string | null;
  readonly rollback_sequence: number | null;
  readonly open: Defaulted<boolean>;
}

export interface ReconcileReportsTable {
  readonly id: GeneratedAlways<number>;
  readonly vehicle_id: string;
  readonly report_id: string;
  readonly signed: boolean;
  readonly key_id: string | null;
  readonly install_id: string | null;
  readonly seq: number | null;
  readonly sequence: number | null;
  readonly revision: string | null;
  readonly status: ConvergenceStatus;
  readonly reason_codes: readonly ReasonCode[];
  readonly stack_name: string | null;
  readonly stack_version: string | null;
  readonly stack_digest: string | null;
  readonly committed_digest: string | null;
  readonly at: string;
  readonly received_at: string;
  readonly body: AnyJson;
}

export interface HealthReportsTable {
  readonly vehicle_id: string;
  readonly slot: number;
  readonly install_id: string;
  readonly at: string;
  readonly received_at: string;
  readonly body: AnyJson;
}

export interface AttachmentsTable {
  readonly digest: string;
  readonly vehicle_id: string;
  readonly bytes: Uint8Array;
  readonly created_at: string;
  readonly expires_at: string;
}

export interface AuditLogTable {
  readonly seq: number;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly correlation_id: string | null;
  readonly before: NullableJson<Json>;
  readonly after: NullableJson<Json>;
  readonly comment: string | null;
  readonly prev_hash: string;
  readonly hash: string;
}

export interface AuditHeadTable {
  readonly single: Generated<boolean>;
  readonly seq: number;
  readonly hash: string;
}

export interface EventsTable {
  readonly id: GeneratedAlways<number>;
  readonly xid: GeneratedAlways<number>;
  readonly at: string;
  readonly type: string;
  readonly vehicle_id: string | null;
  readonly rollout_id: string | null;
  readonly data: AnyJson;
}

export interface VehicleKeysTable {
  readonly key_id: string;
  readonly vehicle_id: string;
  readonly public_key: string;
  readonly status: "active" | "pending" | "rejected" | "revoked";
  readonly origin: "claim" | "registered" | "unclaimed";
  readonly facts: ColumnType<Facts, string | undefined, string>;
  readonly created_at: string;
  readonly decided_at: string | null;
  readonly decided_by: string | null;
}

export interface ClaimsTable {
  readonly id: string;
  readonly vehicle_id: string;
  readonly token_hash: string;
  readonly created_at: string;
  readonly created_by: string;
  readonly expires_at: string;
  readonly used_at: string | null;
  readonly used_by_key: string | null;
}

export interface IdempotencyKeysTable {
  readonly principal: string;
  readonly key: string;
  readonly request_hash: string;
  readonly status: number | null;
  readonly headers: NullableJson<Json>;
  readonly body: NullableJson<Json>;
  readonly created_at: string;
}
