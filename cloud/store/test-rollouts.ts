import type { Actor, RolloutSettings, RolloutSettingsInput, StackRef } from "@muto/spec";
import type { Command } from "../rollout/commands.ts";
import type { Step } from "../rollout/machine.ts";
import { planRollout } from "../rollout/plan.ts";
import { vehicleList } from "./assignments.ts";
import type { Db } from "./database.ts";
import { readCandidates } from "./rollout-candidates.ts";
import { commandRollout } from "./rollout-commands.ts";
import type { CommandResult } from "./rollout-commands.ts";
import { insertRollout } from "./rollout-create.ts";
import { takeStep } from "./rollout-steps.ts";
import { closeTurn, newTurn } from "./rollout-turn.ts";
import type { Turn } from "./rollout-turn.ts";
import { findRollout, lockRollout } from "./rollouts.ts";
import type { RolloutRow } from "./rollouts.ts";
import type { TestFleet } from "./test-fleet.ts";

/** The same for all of these. */
export function each(ids: readonly string[], text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(ids.map((id) => [id, text]));
}

export const ADA: Actor = { type: "operator", id: "ada" };

const SETTINGS: RolloutSettings = {
  canaryPerGroup: 1,
  wavePercent: 100,
  maxInFlight: 1000,
  convergedPercentMin: 95,
  soakSec: 600,
  watchSec: 3600,
  stageDeadlineSec: 7 * 86_400,
  blockedMaxAgeSec: 3 * 86_400,
  startBeforeSec: 3 * 86_400,
  limits: { crashLoops: 0, readinessTimeouts: 0, signatureFailures: 0 },
};

export interface TestRolloutOptions {
  readonly settings?: Omit<RolloutSettingsInput, "limits">;
  readonly retry?: boolean;
}

/** Rollouts driven step by step over a test fleet, as the controller and people would drive them. */
export class TestRollouts {
  readonly fleet: TestFleet;
  private carPools = 0;
  /** Wraps every transaction; tests of crashes put a database in between that dies. */
  around: (db: Db) => Db = (db) => db;

  constructor(fleet: TestFleet) {
    this.fleet = fleet;
  }

  /** New vehicles that are converged on a release; the first is the one that becomes the canary. */
  async cars(size: number, runs: StackRef): Promise<readonly string[]> {
    const prefix = `car${++this.carPools}`;
    const ids = Array.from({ length: size }, (_, index) => `${prefix}-${String(index).padStart(3, "0")}`);
    await this.fleet.addVehicles(ids.map((id) => ({ id, runs })));
    return ids;
  }

  async converge(...ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.fleet.report(id, { status: "converged" });
  }

  async create(stack: StackRef, vehicleIds: readonly string[], options: TestRolloutOptions = {}): Promise<string> {
    const id = `ro_${this.fleet.newId()}`;
    const settings = { ...SETTINGS, ...options.settings };
    const policy = { requireVehicleStationary: true, denyIfAutonomousMode: true, requireBatteryPctMin: 35 };
    const target = { type: "vehicleList", vehicleIds } as const;
    await this.turn(async (turn) => {
      const candidates = await readCandidates(turn.db, vehicleList(vehicleIds), turn.moment);
      const request = {
        digest: stack.manifestDigest,
        compatibility: { vehicleModels: [], os: [], rosDistro: [] },
        diskMbMin: 0,
        policy,
        settings,
        supersedes: null,
        nowMs: turn.moment.nowMs,
      };
      await insertRollout(turn, {
        id,
        target,
        stack,
        policy,
        policyWeakened: false,
        retry: options.retry ?? false,
        settings,
        supersedes: null,
        correlationId: "00000000-0000-4000-8000-000000000001",
        by: ADA,
        comment: null,
        plan: planRollout(request, candidates),
      });
    });
    return id;
  }

  async step(id: string): Promise<Step> {
    return await this.turn(async (turn) => await takeStep(turn, await locked(turn, id)));
  }

  /** Steps until there is nothing to do; the kinds of the steps taken. */
  async run(id: string): Promise<readonly Step["kind"][]> {
    const kinds: Step["kind"][] = [];
    for (;;) {
      const { kind } = await this.step(id);
      if (kind === "wait") return kinds;
      kinds.push(kind);
      if (kinds.length > 50) throw new Error(`the rollout does not come to rest: ${kinds.join(", ")}`);
    }
  }

  async command(id: string, command: Command, comment: string | null = null): Promise<CommandResult> {
    return await this.turn(async (turn) => await commandRollout(turn, id, command, { actor: ADA, comment }));
  }

  async row(id: string): Promise<RolloutRow> {
    const row = await findRollout(this.fleet.db, id);
    if (row === undefined) throw new Error(`no rollout ${id}`);
    return row;
  }

  /** `status stage outcome`, as far as there is one. */
  async state(id: string): Promise<string> {
    const { status, stage, outcome } = await this.row(id);
    return [status, stage, ...(outcome === null ? [] : [outcome])].join(" ");
  }

  /** What the newest assignment of each vehicle says: `version stage`, with `withheld` where it is. */
  async holding(ids: readonly string[]): Promise<Readonly<Record<string, string>>> {
    const entries: [string, string][] = [];
    for (const id of ids) {
      const found = await this.fleet.assignment(id);
      const text =
        found === undefined
          ? "nothing"
          : [found.version, found.stage ?? "direct", ...(found.start === "withheld" ? ["withheld"] : [])].join(" ");
      entries.push([id, text]);
    }
    return Object.fromEntries(entries);
  }

  async turn<T>(work: (turn: Turn) => Promise<T>): Promise<T> {
    return await this.fleet.db.transaction().execute(async (trx) => {
      const turn = newTurn(this.around(trx), this.fleet.moment(), () => `dsr_${this.fleet.newId()}`);
      const result = await work(turn);
      await closeTurn(turn);
      return result;
    });
  }
}

async function locked(turn: Turn, id: string): Promise<RolloutRow> {
  const row = await lockRollout(turn.db, id, "skip");
  if (row === undefined) throw new Error(`rollout ${id} is taken`);
  return row;
}
