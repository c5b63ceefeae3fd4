-- breaking: true
-- Everything the control plane knows. Times come from the control plane's clock as parameters, never from the server's.

-- Single facts of this database: its instance id, the guard of a restored database.
create table settings (
  key text primary key,
  value jsonb not null
);

-- ── Inventory ──────────────────────────────────────────────────────────────────────────────────────────────────────

create table vehicles (
  id text primary key check (id ~ '^[a-z0-9][a-z0-9-]{1,62}$'),
  tags jsonb not null default '{}',
  model text generated always as (tags ->> 'model') stored,
  region text generated always as (tags ->> 'region') stored,
  ring text generated always as (tags ->> 'ring') stored,
  facts jsonb not null default '{}',
  created_at timestamptz not null,
  updated_at timestamptz not null,

  -- The key that tokens and reports are checked against; null until the vehicle has enrolled, and after revocation.
  key_id text,
  public_key text,

  -- The installation whose reports count now, and how far they have arrived without a gap.
  install_id text,
  -- of that installation, as in vehicle_installs; here, too, so that a poll reads one row
  acked_seq bigint not null default 0,
  -- seq of the newest report that status, stack and codes below come from
  report_seq bigint not null default 0,
  clone_alarm_at timestamptz,

  -- Convergence. Whether the vehicle is offline stands beside it: it follows from last_seen_at and the clock.
  status text not null default 'pending'
    check (status in ('converged', 'applying', 'pending', 'blocked', 'failed', 'rolled_back')),
  status_since timestamptz not null,
  reason_codes text[] not null default '{}',
  last_seen_at timestamptz,
  -- Set by the sweep when the vehicle has gone silent, so that the loss is told once; null again at contact.
  offline_since timestamptz,
  last_reconcile_at timestamptz,
  latest_report_id text,
  safety jsonb,
  safety_at timestamptz,
  rollback_ready boolean,

  -- What was committed last on the vehicle by its own evidence: what a rollback returns to.
  committed_name text,
  committed_version text,
  committed_digest text,
  actual_revision text,
  actual_name text,
  actual_version text,
  actual_digest text,

  -- The newest assignment. Zero and null while there is none.
  desired_sequence bigint not null default 0,
  desired_revision text,
  desired_name text,
  desired_version text,
  desired_digest text,
  -- When half of its time to start or to accept is over, and it is renewed at contact while it is wanted.
  desired_renew_at timestamptz,
  -- The highest sequence that the vehicle itself has accepted, as its polls and reports say (H16).
  sequence_floor bigint not null default 0,
  -- A restored database was confirmed, and the vehicle has not said its floor since.
  floor_unchecked boolean not null default false,

  excluded_at timestamptz,
  excluded_until timestamptz,
  excluded_reason text,
  excluded_by text,
  decommissioned_at timestamptz,
  revoked_at timestamptz
) with (fillfactor = 70);

create index vehicles_tags on vehicles using gin (tags jsonb_path_ops);
create index vehicles_model on vehicles (model, id);
create index vehicles_region on vehicles (region, id);
create index vehicles_ring on vehicles (ring, id);
create index vehicles_status on vehicles (status, id);
create index vehicles_reasons on vehicles using gin (reason_codes);
create index vehicles_key on vehicles (key_id) where key_id is not null;

-- Every installation that has ever signed a report for a vehicle. One that comes back after another took over is a clone (H19).
create table vehicle_installs (
  vehicle_id text not null references vehicles (id),
  install_id text not null,
  first_received_at timestamptz not null,
  first_at timestamptz not null,
  last_received_at timestamptz not null,
  acked_seq bigint not null default 0,
  primary key (vehicle_id, install_id)
);

-- What happened to a vehicle, newest last, bounded per vehicle by maintenance.
create table timeline (
  id bigint generated always as identity primary key,
  vehicle_id text not null references vehicles (id),
  at timestamptz not null,
  event text not null,
  sequence bigint,
  revision text,
  rollout_id text,
  stack_name text,
  stack_version text,
  stack_digest text,
  reason_codes text[] not null default '{}'
);
create index timeline_vehicle on timeline (vehicle_id, id desc);

-- ── Intent ─────────────────────────────────────────────────────────────────────────────────────────────────────────

create table releases (
  name text not null,
  version text not null,
  manifest_digest text not null unique,
  -- Path of the repository inside the registry.
  repository text not null,
  artifacts jsonb not null,
  compatibility jsonb not null,
  resource_profile jsonb not null,
  health_model jsonb not null,
  security_epoch bigint not null default 0,
  -- The whole signed stack manifest as it lies in the registry.
  manifest jsonb not null,
  signature_ref text,
  -- As they are handed out with every assignment, so that a vehicle verifies offline.
  signatures jsonb not null default '[]',
  signature_present boolean not null,
  signature_verified boolean not null,
  signature_keyids text[] not null default '{}',
  created_at timestamptz not null,
  created_by text not null,
  withdrawn_at timestamptz,
  withdrawn_by text,
  withdrawn_comment text,
  primary key (name, version)
);

create table desired_states (
  revision text primary key,
  target jsonb not null,
  stack_name text not null,
  stack_version text not null,
  manifest_digest text not null,
  policy jsonb not null,
  start text not null check (start in ('allowed', 'withheld')),
  retry boolean not null,
  -- How long after its issue an assignment of it may be started.
  start_before_sec integer not null,
  rollout_id text,
  -- strategy, rollout and wave, as the contract shows them
  rollout jsonb not null,
  reach_vehicles integer not null default 0,
  reach_without_canary integer not null default 0,
  correlation_id text not null,
  created_at timestamptz not null,
  created_by text not null,
  foreign key (stack_name, stack_version) references releases (name, version)
);
create index desired_states_created on desired_states (created_at desc, revision desc);

-- Which desired state is the latest for one vehicle. The signed bytes are made from this row at the poll: Ed25519 is
-- deterministic, so a row is worth its envelope, and issuing to a whole fleet is one statement. Rows never change in what
-- is signed; superseded_at and notified_at are bookkeeping.
create table assignments (
  vehicle_id text not null references vehicles (id),
  sequence bigint not null check (sequence >= 1),
  revision text not null references desired_states (revision),
  rollout_id text,
  -- canary, wave or rollback inside a rollout; null for a direct desired state
  stage text,
  start text not null check (start in ('allowed', 'withheld')),
  -- why it was issued: direct, rollout, withhold, resume, rollback, renewal
  cause text not null,
  -- Lifts a quarantine; never set again once the vehicle has accepted it, or a crash-looper would be let in twice (H15).
  retry boolean not null,
  correlation_id text not null,
  issued_at timestamptz not null,
  accept_before timestamptz not null,
  start_before timestamptz not null,
  superseded_at timestamptz,
  notified_at timestamptz,
  primary key (vehicle_id, sequence)
);
create index assignments_to_notify on assignments (vehicle_id, sequence) where notified_at is null and superseded_at is null;
create index assignments_rollout on assignments (rollout_id, vehicle_id, sequence) where rollout_id is not null;
create index assignments_revision on assignments (revision);

-- ── Rollouts ───────────────────────────────────────────────────────────────────────────────────────────────────────

create table rollouts (
  id text primary key,
  status text not null check (status in ('active', 'paused', 'rolling_back', 'rolled_back', 'completed')),
  stage text not null check (stage in ('canary', 'soak', 'wave', 'watch')),
  outcome text check (outcome in ('clean', 'stragglers', 'aborted', 'superseded')),
  revision text not null references desired_states (revision),
  stack_name text not null,
  stack_version text not null,
  manifest_digest text not null,
  target jsonb not null,
  policy jsonb not null,
  retry boolean not null,
  settings jsonb not null,
  correlation_id text not null,
  created_at timestamptz not null,
  created_by text not null,
  updated_at timestamptz not null,
  ended_at timestamptz,
  -- why it is paused, by whom, since when; null while it is not
  pause jsonb,
  supersedes text,
  superseded_by text,
  -- How many members each stage was given when the rollout was planned: a stage that lost all of them does not pass.
  planned_canary integer not null,
  planned_wave integer not null,
  -- An operator took the inconclusive gate of the present stage as passed.
  accepted boolean not null default false,
  -- The stages whose members were sent back, once a rollback has begun, and until when it is waited for.
  returning_stages text[],
  return_deadline_at timestamptz,
  -- Members by class when the rollout was last looked at.
  counts jsonb,
  -- When the controller should look at it next, at the latest; null once nothing is left to do.
  step_due_at timestamptz
);
create index rollouts_created on rollouts (created_at desc, id desc);
create index rollouts_due on rollouts (step_due_at) where step_due_at is not null;

-- One row per stage that was entered, with the newest verdict of its gate.
create table rollout_stages (
  rollout_id text not null references rollouts (id),
  stage text not null check (stage in ('canary', 'soak', 'wave', 'watch')),
  -- What the members of the stage are assigned.
  revision text not null references desired_states (revision),
  started_at timestamptz not null,
  deadline_at timestamptz,
  ended_at timestamptz,
  verdict jsonb,
  primary key (rollout_id, stage)
);

create table rollout_members (
  rollout_id text not null references rollouts (id),
  vehicle_id text not null references vehicles (id),
  region text not null,
  model text not null,
  -- null outside the wave's percentage
  stage text check (stage in ('canary', 'wave')),
  -- order in which members of a stage are assigned
  rank integer not null,
  -- committed there at plan time: what a rollback returns to
  prior_name text,
  prior_version text,
  prior_digest text,
  assigned_sequence bigint,
  assigned_at timestamptz,
  rollback_sequence bigint,
  -- Why a rollback left the member what it has; null when it did not.
  kept_because text check (kept_because in ('nothing-committed', 'quarantined', 'withdrawn')),
  -- False once the rollout no longer claims the vehicle.
  open boolean not null default true,
  primary key (rollout_id, vehicle_id)
);
-- One unfinished rollout per vehicle (H27).
create unique index rollout_members_open on rollout_members (vehicle_id) where open;
create index rollout_members_next on rollout_members (rollout_id, stage, rank) where assigned_sequence is null;

-- ── Evidence ───────────────────────────────────────────────────────────────────────────────────────────────────────

create table reconcile_reports (
  id bigint generated always as identity primary key,
  vehicle_id text not null references vehicles (id),
  report_id text not null,
  -- False for a report without the vehicle's signature: shown, never counted by a gate (H18).
  signed boolean not null,
  key_id text,
  install_id text,
  seq bigint,
  -- the assignment it is about; null when the report does not say
  sequence bigint,
  revision text,
  status text not null,
  reason_codes text[] not null,
  stack_name text,
  stack_version text,
  stack_digest text,
  committed_digest text,
  at timestamptz not null,
  received_at timestamptz not null,
  body jsonb not null
);
create unique index reconcile_reports_once on reconcile_reports (vehicle_id, install_id, seq) where signed;
create index reconcile_reports_vehicle on reconcile_reports (vehicle_id, id desc);
create index reconcile_reports_assignment on reconcile_reports (vehicle_id, sequence) where signed;

-- The latest health report (slot -1) and one per time bucket in a ring of slots, so that history is bounded by itself.
create table health_reports (
  vehicle_id text not null references vehicles (id),
  slot integer not null,
  install_id text not null,
  at timestamptz not null,
  received_at timestamptz not null,
  body jsonb not null,
  primary key (vehicle_id, slot)
) with (fillfactor = 70);

-- Tails of output, content-addressed, for a bounded time.
create table attachments (
  digest text primary key,
  vehicle_id text not null references vehicles (id),
  bytes bytea not null,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index attachments_expiry on attachments (expires_at);
create index attachments_vehicle on attachments (vehicle_id, created_at);

-- Append-only and hash-chained: each hash covers the entry and the hash before it.
create table audit_log (
  seq bigint primary key,
  at timestamptz not null,
  -- type:id, for instance operator:alice
  actor text not null,
  action text not null,
  subject text not null,
  correlation_id text,
  before jsonb,
  after jsonb,
  comment text,
  prev_hash text not null,
  hash text not null
);
create index audit_log_actor on audit_log (actor, seq desc);
create index audit_log_action on audit_log (action, seq desc);
create index audit_log_correlation on audit_log (correlation_id, seq desc) where correlation_id is not null;
create index audit_log_at on audit_log (at, seq desc);

-- The end of the chain. Whoever appends locks this row first, which puts all entries of all replicas in one order.
create table audit_head (
  single boolean primary key default true check (single),
  seq bigint not null,
  hash text not null
);
insert into audit_head (seq, hash) values (0, 'sha256:0000000000000000000000000000000000000000000000000000000000000000');

create function audit_log_is_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is append-only';
end $$;
create trigger audit_log_append_only before update or delete on audit_log
  for each row execute function audit_log_is_append_only();
create trigger audit_log_no_truncate before truncate on audit_log
  for each statement execute function audit_log_is_append_only();

-- Feed of the server-sent events. A row gets its position only after its transaction has committed, one placer at a time,
-- so that who resumes after a position never misses an event that committed late.
create table events (
  id bigint generated always as identity primary key,
  position bigint,
  at timestamptz not null,
  type text not null,
  data jsonb not null
);
create unique index events_position on events (position) where position is not null;
create index events_unplaced on events (id) where position is null;
create index events_at on events (at);
create table event_head (
  single boolean primary key default true check (single),
  position bigint not null
);
insert into event_head (position) values (0);

-- ── Identity and requests ──────────────────────────────────────────────────────────────────────────────────────────

create table vehicle_keys (
  key_id text primary key,
  vehicle_id text not null references vehicles (id),
  public_key text not null,
  status text not null check (status in ('active', 'pending', 'rejected', 'revoked')),
  -- claim, registered (by an operator) or unclaimed
  origin text not null,
  facts jsonb not null default '{}',
  created_at timestamptz not null,
  decided_at timestamptz,
  decided_by text
);
create unique index vehicle_keys_active on vehicle_keys (vehicle_id) where status = 'active';
create index vehicle_keys_vehicle on vehicle_keys (vehicle_id, created_at);

create table trust_roots (
  version bigint primary key,
  envelope jsonb not null,
  published_at timestamptz not null
);

create table claims (
  id text primary key,
  vehicle_id text not null references vehicles (id),
  token_hash text not null unique,
  created_at timestamptz not null,
  created_by text not null,
  expires_at timestamptz not null,
  used_at timestamptz,
  used_by_key text
);
create index claims_vehicle on claims (vehicle_id);

create table idempotency_keys (
  principal text not null,
  key text not null,
  request_hash text not null,
  -- null while the first request is still being answered
  status integer,
  headers jsonb,
  -- json and not jsonb: the same answer down to the order of its fields
  body json,
  created_at timestamptz not null,
  primary key (principal, key)
);
create index idempotency_keys_created on idempotency_keys (created_at);
