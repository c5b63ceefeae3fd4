import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseReconcileReport } from "@muto/spec";
import {
  all,
  exits,
  looked,
  NOW,
  one,
  planOf,
  refOf,
  releaseA as A,
  releaseB as B,
  releaseC as C,
  rollbackOf,
  trialOf,
  worldOf,
  type Situation,
} from "../model/situation.ts";
import { barred, outcome, runsA, stagedB, trouble } from "../model/table.ts";
import { dueReport, type DueReport } from "./report.ts";

function due(situation: Situation): DueReport | undefined {
  const { desired, observed } = worldOf(situation);
  return dueReport(desired, observed, planOf(situation));
}

/** `blocked gate DENY_MOVING`, and about which sequence. */
function says(situation: Situation): string {
  const report = due(situation);
  if (report === undefined) return "nothing";
  const { status, phase, reasonCodes, sequence } = report.draft;
  return [status, phase, ...reasonCodes, `of ${sequence}`].join(" ");
}

const told = { lastReported: { key: "anything", atMs: NOW.wallMs - 1_000 } };
const refusal = {
  offerHash: "",
  contextHash: "",
  reasonCode: "VERIFY_SIGNATURE_FAILED",
  evidence: [],
  sequence: null,
  desiredStateRevision: null,
} as const;
const onTrial = (phase: "stopping" | "probing" | "probation") => ({ ...told, trial: trialOf(B, A, { phase }) });

const table: Readonly<Record<string, readonly [Situation, string]>> = {
  "no assignment was ever accepted": [{}, "nothing"],
  "a first offer was refused": [{ state: { refusal } }, "failed verify VERIFY_SIGNATURE_FAILED of 0"],
  "the committed set is wanted and runs": [{ wants: A, ...runsA, state: told }, "converged idle of 9"],
  "it is not up yet after a boot": [{ wants: A, active: A, state: told }, "nothing"],
  "a forged offer names nothing": [
    { wants: A, ...runsA, state: { ...told, refusal } },
    "failed verify VERIFY_SIGNATURE_FAILED of 0",
  ],
  fetching: [{ wants: B, ...runsA, state: told, here: new Map([[B, null]]) }, "applying verify of 9"],
  downloading: [{ wants: B, ...runsA, state: told }, "applying download of 9"],
  "downloading again after trouble": [
    { wants: B, ...runsA, state: told, seen: { download: trouble({ retryAtMs: 0 }) } },
    "blocked download ARTIFACT_DOWNLOAD_FAILED of 9",
  ],
  "waiting after download trouble": [
    { wants: B, ...runsA, state: told, seen: { download: trouble({}) } },
    "blocked download ARTIFACT_DOWNLOAD_FAILED of 9",
  ],
  staging: [{ wants: B, ...runsA, state: told, here: new Map([[B, { missing: [] }]]) }, "applying stage of 9"],
  "gates are closed": [{ ...stagedB, state: told, open: "none" }, "blocked gate DENY_MOVING DENY_OUTSIDE_WINDOW of 9"],
  withheld: [{ ...stagedB, state: told, assignment: { start: "withheld" } }, "pending hold of 9"],
  "about to tell the vehicle: no news": [{ ...stagedB, state: told }, "nothing"],
  switching: [{ wants: B, ...runsA, state: onTrial("stopping") }, "applying switch of 8"],
  probing: [{ wants: B, active: A, instances: all(B), state: onTrial("probing") }, "applying probe of 8"],
  "on probation": [{ wants: B, active: A, instances: all(B), state: onTrial("probation") }, "applying probation of 8"],
  "on probation, and something newer is wanted": [
    { wants: C, active: A, instances: all(B), state: onTrial("probation") },
    "applying probation of 8",
  ],
  "rolling back": [
    {
      wants: B,
      active: A,
      instances: all(B),
      state: { ...told, rollback: rollbackOf(B, A, { phase: "stopping", wasReady: false }) },
    },
    "applying rollback CRASH_LOOP_DETECTED of 8",
  ],
  "rolling back, and driving": [
    { wants: B, active: A, instances: all(B), open: "none", state: { ...told, rollback: rollbackOf(B, A) } },
    "blocked rollback CRASH_LOOP_DETECTED DENY_MOVING of 8",
  ],
  "rolled back, the failed release is still wanted": [
    {
      wants: B,
      ...runsA,
      assignment: { desiredStateRevision: "dsr_00000000000000000000000008", sequence: 12 },
      state: { ...told, outcome: outcome("applied", A), quarantine: barred(true) },
    },
    "rolled_back idle READINESS_TIMEOUT ROLLBACK_APPLIED of 12",
  ],
  "rolled back, the failed release was issued again (H15)": [
    { wants: B, ...runsA, state: { ...told, outcome: outcome("applied", A), quarantine: barred(true) } },
    "failed hold CRASH_LOOP_DETECTED of 9",
  ],
  "just rolled back, and something newer is wanted already: the outcome first": [
    { wants: C, ...runsA, state: { outcome: outcome("applied", A), quarantine: barred(true), lastReported: null } },
    "rolled_back idle READINESS_TIMEOUT ROLLBACK_APPLIED of 8",
  ],
  "just committed, and something newer is wanted already: the commit first": [
    { wants: C, ...runsA, state: { lastReported: null } },
    "converged idle of 8",
  ],
  "the safe hold": [
    {
      wants: B,
      state: { ...told, outcome: outcome("failed", null), quarantine: barred(true) },
      assignment: { desiredStateRevision: "dsr_00000000000000000000000008" },
    },
    "failed hold READINESS_TIMEOUT ROLLBACK_FAILED of 9",
  ],
  "back on a set that does not come up, and the cloud wants that very set": [
    { wants: A, active: A, state: { ...told, outcome: outcome("failed", A) } },
    "failed hold READINESS_TIMEOUT ROLLBACK_FAILED of 9",
  ],
  "the last good set does not come up, and what failed before is still wanted": [
    {
      wants: B,
      active: A,
      instances: [one(A, "control")],
      state: {
        ...told,
        exits: exits(A, "lidar", 9, 1),
        outcome: { ...outcome("failed", A), from: refOf(A) },
        quarantine: barred(true),
      },
      seen: { probes: looked(A, false) },
    },
    "failed hold READINESS_TIMEOUT ROLLBACK_FAILED of 9",
  ],
  "after a storage fault": [{ wants: A, ...runsA, observed: { storage: "faulted" } }, "nothing"],
};

void describe("what is reported", () => {
  for (const [situation, [given, expected]] of Object.entries(table)) {
    void test(situation, () => assert.equal(says(given), expected));
  }
});

void test("every draft becomes a report of the contract", () => {
  for (const [given] of Object.values(table)) {
    const report = due(given);
    if (report === undefined) continue;
    const parsed = parseReconcileReport({
      kind: "muto.reconcile-report/v1",
      vehicleId: "vehicle-v3-0142",
      reportId: "01HZ000000000000000000000N",
      installId: "01HZ000000000000000000000N",
      seq: 1,
      bootId: "00000000-0000-4000-8000-000000000001",
      at: "2026-06-01T01:00:00.000Z",
      ...report.draft,
    });
    assert.deepEqual(parsed.ok ? [] : parsed.problems, []);
  }
});

void test("a status is told when it changes, and the same one again after an hour; a clock that was set back silences nobody", () => {
  const key = due({ wants: A, ...runsA, state: told })?.key ?? "";
  const after = (ms: number) => due({ wants: A, ...runsA, state: { lastReported: { key, atMs: NOW.wallMs - ms } } });
  assert.equal(after(1_000), undefined);
  assert.equal(after(3_599_999), undefined);
  assert.equal(after(3_600_000)?.terminal, true);
  assert.notEqual(after(-1), undefined);
  assert.notEqual(due({ wants: A, ...runsA, state: told, assignment: { sequence: 10 } })?.key, key);
});

void test("only outcomes are terminal, and numbers alone are no news", () => {
  assert.equal(due({ wants: B, ...runsA, state: told })?.terminal, false);
  const one = due({ wants: B, ...runsA, state: told, seen: { download: trouble({ attempts: 1 }) } });
  const two = due({ wants: B, ...runsA, state: told, seen: { download: trouble({ attempts: 2 }) } });
  assert.equal(one?.key, two?.key);
});

void test("a report names what is selected, what is committed, and whether there is a proved way back", () => {
  const probing = due({ wants: B, active: A, instances: all(B), state: onTrial("probing") })?.draft;
  assert.equal(probing?.stack?.version, "2.0.0");
  assert.equal(probing.set, "staged");
  assert.equal(probing.committed?.version, "1.0.0");
  const back = { ...told, rollback: rollbackOf(B, A, { phase: "starting" }), active: refOf(B), previous: refOf(A) };
  const returning = due({ wants: B, state: back })?.draft;
  assert.equal(returning?.set, "previous");
  const stale = { rollbackVerifiedAtMs: NOW.wallMs - 25 * 3_600_000 };
  assert.equal(due({ wants: B, ...runsA, state: { ...told, ...stale } })?.draft.rollbackReady, false);
  assert.equal(due({ wants: B, ...runsA, state: told })?.draft.rollbackReady, true);
});
