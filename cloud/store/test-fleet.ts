import { timestamp } from "@muto/kit/clock";
import { ulid } from "@muto/kit/ids";
import { seededRandom } from "@muto/kit/random";
import type { Compatibility, ReasonCode, ReconcileReport, SafetySnapshot, StackRef } from "@muto/spec";
import type { Db } from "./database.ts";
import { momentAt } from "./rollout-moment.ts";
import type { Moment } from "./rollout-moment.ts";

/*
 * A fleet in the database for tests of what follows from reports: vehicles, releases and reports are put in place as the
 * ingest leaves them, and the clock is turned by hand.
 */

export const OFFLINE_AFTER_MS = 300_000;
const START_MS = Date.UTC(2026, 10, 23, 1, 0);
const CALM: SafetySnapshot = {
  moving: { value: false, ageMs: 0 },
  autonomousMode: { value: false, ageMs: 0 },
  batteryPct: { value: 90, ageMs: 0 },
  insideWindow: { value: true, ageMs: 0 },
};

export interface TestVehicle {
  readonly id: string;
  readonly model?: string;
  readonly region?: string;
  /** Committed and converged there already. */
  readonly runs?: StackRef;
  readonly neverSeen?: boolean;
}

export interface TestReport {
  readonly status: ReconcileReport["status"];
  readonly phase?: ReconcileReport["phase"];
  readonly reasonCodes?: readonly ReasonCode[];
  /** Instead of the newest assignment. */
  readonly sequence?: number;
  readonly signed?: boolean;
  readonly installId?: string;
}

export interface TestAssignment {
  readonly sequence: number;
  readonly rolloutId: string | null;
  readonly stage: string | null;
  readonly start: string;
  readonly version: string;
  readonly retry: boolean;
}

export class TestFleet {
  readonly db: Db;
  private nowMs = START_MS;
  private readonly random = seededRandom(42);
  private readonly seqs = new Map<string, number>();
  private readonly firstInstall: string;

  constructor(db: Db) {
    this.db = db;
    this.firstInstall = this.newId();
  }

  moment(): Moment {
    return momentAt(this.nowMs, OFFLINE_AFTER_MS);
  }

  sleep(ms: number): void {
    this.nowMs += ms;
  }

  newId(): string {
    const clock = { wallMs: () => this.nowMs, monotonicMs: () => this.nowMs, sleep: () => Promise.resolve() };
    return ulid(clock, this.random);
  }

  async addRelease(
    version: string,
    more: { readonly compatibility?: Compatibility; readonly verified?: boolean } = {},
  ): Promise<StackRef> {
    const stack = { name: "autonomy", version, manifestDigest: digestOf(version) };
    await this.db
      .insertInto("releases")
      .values({
        name: stack.name,
        version,
        manifest_digest: stack.manifestDigest,
        repository: "autonomy",
        artifacts: "[]",
        compatibility: JSON.stringify(more.compatibility ?? { vehicleModels: [], os: [], rosDistro: [] }),
        resource_profile: JSON.stringify({ diskMbMin: 100 }),
        health_model: JSON.stringify({ readinessTimeoutSec: 60 }),
        manifest: "{}",
        signatures: "[]",
        signature_present: true,
        signature_verified: more.verified ?? true,
        created_at: this.at(),
        created_by: "operator:ada",
      })
      .execute();
    return stack;
  }

  async addVehicles(vehicles: readonly TestVehicle[]): Promise<void> {
    const rows = vehicles.map((vehicle) => rowOf(vehicle, this.at()));
    await this.db.insertInto("vehicles").values(rows).execute();
  }

  /** Moves `last_seen_at` of these, or of all, to now. */
  async hear(...ids: readonly string[]): Promise<void> {
    const query = this.db.updateTable("vehicles").set({ last_seen_at: this.at() });
    await (ids.length === 0 ? query : query.where("id", "in", ids)).execute();
  }

  /** A report about the newest assignment of a vehicle, received now. A converged one commits what it was assigned. */
  async report(vehicleId: string, report: TestReport): Promise<void> {
    const sequence = report.sequence ?? (await this.assignment(vehicleId))?.sequence ?? 0;
    const known = await this.db
      .selectFrom("assignments")
      .innerJoin("desired_states", "desired_states.revision", "assignments.revision")
      .select(["assignments.revision", "stack_name", "stack_version", "manifest_digest"])
      .where("vehicle_id", "=", vehicleId)
      .where("sequence", "=", sequence)
      .executeTakeFirst();
    await this.insertReport(vehicleId, { ...report, sequence }, known?.revision ?? null);
    const committed =
      report.status !== "converged" || known === undefined
        ? {}
        : {
            committed_name: known.stack_name,
            committed_version: known.stack_version,
            committed_digest: known.manifest_digest,
          };
    await this.db
      .updateTable("vehicles")
      .set({ last_seen_at: this.at(), status: report.status, ...committed })
      .where("id", "=", vehicleId)
      .execute();
  }

  async withdraw(version: string): Promise<void> {
    await this.db
      .updateTable("releases")
      .set({ withdrawn_at: this.at(), withdrawn_by: "operator:ada" })
      .where("version", "=", version)
      .execute();
  }

  async exclude(vehicleId: string, forMs: number): Promise<void> {
    await this.db
      .updateTable("vehicles")
      .set({ excluded_at: this.at(), excluded_until: timestamp(this.nowMs + forMs), excluded_reason: "workshop" })
      .where("id", "=", vehicleId)
      .execute();
  }

  /** The newest assignment of a vehicle. */
  async assignment(vehicleId: string): Promise<TestAssignment | undefined> {
    const row = await this.db
      .selectFrom("assignments")
      .innerJoin("desired_states", "desired_states.revision", "assignments.revision")
      .select(["assignments.sequence", "assignments.rollout_id", "assignments.stage", "assignments.start"])
      .select(["assignments.retry", "desired_states.stack_version"])
      .where("assignments.vehicle_id", "=", vehicleId)
      .orderBy("assignments.sequence", "desc")
      .limit(1)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    const { sequence, stage, start, retry } = row;
    return { sequence, stage, start, retry, rolloutId: row.rollout_id, version: row.stack_version };
  }

  private at(): string {
    return timestamp(this.nowMs);
  }

  private async insertReport(
    vehicleId: string,
    report: TestReport & { readonly sequence: number },
    revision: string | null,
  ): Promise<void> {
    const at = this.at();
    const installId = report.installId ?? this.firstInstall;
    await this.db
      .insertInto("vehicle_installs")
      .values({
        vehicle_id: vehicleId,
        install_id: installId,
        first_at: at,
        first_received_at: at,
        last_received_at: at,
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    const seq = (this.seqs.get(`${vehicleId} ${installId}`) ?? 0) + 1;
    this.seqs.set(`${vehicleId} ${installId}`, seq);
    const phase = report.phase ?? (report.status === "applying" ? "probe" : "idle");
    await this.db
      .insertInto("reconcile_reports")
      .values({
        vehicle_id: vehicleId,
        report_id: this.newId(),
        signed: report.signed ?? true,
        key_id: null,
        install_id: installId,
        seq,
        sequence: report.sequence,
        revision,
        status: report.status,
        reason_codes: report.reasonCodes ?? [],
        stack_name: null,
        stack_version: null,
        stack_digest: null,
        committed_digest: null,
        at,
        received_at: at,
        body: JSON.stringify({ phase }),
      })
      .execute();
  }
}

function rowOf(vehicle: TestVehicle, at: string) {
  const { runs } = vehicle;
  return {
    id: vehicle.id,
    tags: JSON.stringify({ model: vehicle.model ?? "v3", region: vehicle.region ?? "eu" }),
    facts: JSON.stringify({ os: "ubuntu-22.04", rosDistro: "humble", timezone: "UTC", diskFreeMb: 10_000 }),
    created_at: at,
    updated_at: at,
    status: runs === undefined ? ("pending" as const) : ("converged" as const),
    status_since: at,
    last_seen_at: vehicle.neverSeen === true ? null : at,
    safety: JSON.stringify(CALM),
    safety_at: at,
    rollback_ready: true,
    committed_name: runs?.name ?? null,
    committed_version: runs?.version ?? null,
    committed_digest: runs?.manifestDigest ?? null,
    desired_digest: runs?.manifestDigest ?? null,
  };
}

function digestOf(version: string): string {
  return `sha256:${Buffer.from(version).toString("hex").padEnd(64, "0").slice(0, 64)}`;
}
