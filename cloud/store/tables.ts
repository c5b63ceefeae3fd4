import type {
  ArtifactRef,
  AuditAction,
  AuditState,
  Compatibility,
  ConvergenceStatus,
  DesiredStateRollout,
  DriftKind,
  DriftList,
  Envelope,
  Facts,
  FleetEvent,
  GateVerdict,
  HealthReport,
  MemberCounts,
  Policy,
  ReasonCode,
  ReconcileReport,
  ReleaseHealth,
  ReleaseResources,
  ReleaseSignature,
  RolloutOutcome,
  RolloutPause,
  RolloutSettings,
  RolloutStage,
  RolloutStatus,
  SafetySnapshot,
  StackManifest,
  StartRule,
  Target,
  TimelineEventName,
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
  readonly rollout_stages: RolloutStagesTable;
  readonly rollout_members: RolloutMembersTable;
  readonly reconcile_reports: ReconcileReportsTable;
  readonly health_reports: HealthReportsTable;
  readonly attachments: AttachmentsTable;
  readonly audit_log: AuditLogTable;
  readonly audit_head: AuditHeadTable;
  readonly events: EventsTable;
  readonly event_head: EventHeadTable;
  readonly vehicle_keys: VehicleKeysTable;
  readonly trust_roots: TrustRootsTable;
  readonly claims: ClaimsTable;
  readonly idempotency_keys: IdempotencyKeysTable;
}

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** A JSON column that may be null. */
type NullableJson<T> = ColumnType<T | null, string | null, string | null>;
/** A JSON column with a default. */
type JsonWithDefault<T> = ColumnType<T, string | undefined, string>;
type AnyJson = ColumnType<Json, string, string>;
/** A column with a default, never changed after. */
type Defaulted<T> = ColumnType<T, T | undefined, T>;

export interface SettingsTable {
  readonly key: string;
  readonly value: AnyJson;
}

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
  readonly report_seq: Defaulted<number>;
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
  readonly drift: JsonWithDefault<DriftList>;
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
  readonly desired_renew_at: string | null;
  readonly sequence_floor: Defaulted<number>;
  readonly floor_unchecked: Defaulted<boolean>;
  readonly excluded_at: string | null;
  readonly excluded_until: string | null;
  readonly excluded_reason: string | null;
  readonly excluded_by: ActorText | null;
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
  readonly event: TimelineEventName;
  readonly drift: Defaulted<readonly DriftKind[]>;
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
  readonly artifacts: JSONColumnType<readonly ArtifactRef[]>;
  readonly compatibility: JSONColumnType<Compatibility>;
  readonly resource_profile: JSONColumnType<ReleaseResources>;
  readonly health_model: JSONColumnType<ReleaseHealth>;
  readonly security_epoch: Defaulted<number>;
  readonly manifest: JSONColumnType<StackManifest>;
  readonly signature_ref: string | null;
  readonly signatures: JSONColumnType<readonly ReleaseSignature[]>;
  readonly signature_present: boolean;
  readonly signature_verified: boolean;
  readonly signature_keyids: Defaulted<readonly string[]>;
  readonly created_at: string;
  readonly created_by: ActorText;
  readonly withdrawn_at: string | null;
  readonly withdrawn_by: ActorText | null;
  readonly withdrawn_comment: string | null;
}

/** `type:id`, for instance `operator:alice`; see store/actor.ts. */
export type ActorText = string;

export interface DesiredStatesTable {
  readonly revision: string;
  readonly target: JSONColumnType<Target>;
  readonly stack_name: string;
  readonly stack_version: string;
  readonly manifest_digest: string;
  readonly policy: JSONColumnType<Policy>;
  readonly start: StartRule;
  readonly retry: boolean;
  readonly start_before_sec: number;
  readonly rollout_id: string | null;
  readonly rollout: JSONColumnType<DesiredStateRollout>;
  readonly reach_vehicles: Defaulted<number>;
  readonly reach_without_canary: Defaulted<number>;
  readonly correlation_id: string;
  readonly created_at: string;
  readonly created_by: ActorText;
}

export type AssignmentCause = "direct" | "rollout" | "withhold" | "resume" | "rollback" | "renewal";

export interface AssignmentsTable {
  readonly vehicle_id: string;
  readonly sequence: number;
  readonly revision: string;
  readonly rollout_id: string | null;
  readonly stage: string | null;
  readonly start: StartRule;
  readonly cause: AssignmentCause;
  readonly retry: boolean;
  readonly correlation_id: string;
  readonly issued_at: string;
  readonly accept_before: string;
  readonly start_before: string;
  readonly superseded_at: string | null;
  readonly notified_at: string | null;
  readonly payload: string | null;
}

export interface RolloutsTable {
  readonly id: string;
  readonly status: RolloutStatus;
  readonly stage: RolloutStage;
  readonly outcome: RolloutOutcome | null;
  readonly revision: string;
  readonly stack_name: string;
  readonly stack_version: string;
  readonly manifest_digest: string;
  readonly target: JSONColumnType<Target>;
  readonly policy: JSONColumnType<Policy>;
  readonly retry: boolean;
  readonly settings: JSONColumnType<RolloutSettings>;
  readonly correlation_id: string;
  readonly created_at: string;
  readonly created_by: ActorText;
  readonly updated_at: string;
  readonly ended_at: string | null;
  readonly pause: NullableJson<RolloutPause>;
  readonly supersedes: string | null;
  readonly superseded_by: string | null;
  readonly planned_canary: number;
  readonly planned_wave: number;
  readonly accepted: Defaulted<boolean>;
  readonly returning_stages: readonly ("canary" | "wave")[] | null;
  readonly return_deadline_at: string | null;
  readonly counts: NullableJson<MemberCounts>;
  readonly step_due_at: string | null;
}

export interface RolloutStagesTable {
  readonly rollout_id: string;
  readonly stage: RolloutStage;
  readonly revision: string;
  readonly started_at: string;
  readonly deadline_at: string | null;
  readonly ended_at: string | null;
  readonly verdict: NullableJson<GateVerdict>;
}

export interface RolloutMembersTable {
  readonly rollout_id: string;
  readonly vehicle_id: string;
  readonly region: string;
  readonly model: string;
  readonly stage: "canary" | "wave" | null;
  readonly rank: number;
  readonly prior_name: string | null;
  readonly prior_version: string | null;
  readonly prior_digest: string | null;
  readonly assigned_sequence: number | null;
  readonly assigned_at: string | null;
  readonly rollback_sequence: number | null;
  readonly kept_because: "nothing-committed" | "quarantined" | "withdrawn" | null;
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
  readonly body: JSONColumnType<ReconcileReport>;
}

export interface HealthReportsTable {
  readonly vehicle_id: string;
  readonly slot: number;
  readonly install_id: string;
  readonly at: string;
  readonly received_at: string;
  readonly body: JSONColumnType<HealthReport>;
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
  readonly actor: ActorText;
  readonly action: AuditAction;
  readonly subject: string;
  readonly correlation_id: string | null;
  readonly before: NullableJson<AuditState>;
  readonly after: NullableJson<AuditState>;
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
  readonly position: number | null;
  readonly at: string;
  readonly type: FleetEvent["type"];
  readonly data: JSONColumnType<FleetEvent>;
}

export interface EventHeadTable {
  readonly single: Generated<boolean>;
  readonly position: number;
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
  readonly decided_by: ActorText | null;
}

export interface TrustRootsTable {
  readonly version: number;
  readonly envelope: JSONColumnType<Envelope>;
  readonly published_at: string;
}

export interface ClaimsTable {
  readonly id: string;
  readonly vehicle_id: string;
  readonly token_hash: string;
  readonly created_at: string;
  readonly created_by: ActorText;
  readonly expires_at: string;
  readonly used_at: string | null;
  readonly used_by_key: string | null;
}

export interface IdempotencyKeysTable {
  readonly principal: string;
  readonly key: string;
  readonly request_hash: string;
  readonly status: number | null;
  readonly headers: NullableJson<Readonly<Record<string, string>>>;
  readonly body: NullableJson<Json>;
  readonly created_at: string;
}
