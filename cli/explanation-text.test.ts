import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReconcileReport, VehicleExplanation } from "@muto/spec";
import { explanationText } from "./explanation-text.ts";

const AT = "2026-11-24T03:00:00.000Z";
const NOW_MS = Date.parse("2026-11-24T03:05:00.000Z");
const KEY = "45a5".repeat(16);
const enrolment = { state: "accepted", keyid: KEY, pendingKeyid: null, alarm: "none" } as const;
const stack = { name: "nav", version: "1.2.0", manifestDigest: `sha256:${"b".repeat(64)}` };
const explained: VehicleExplanation = {
  vehicleId: "vehicle-1",
  status: "converged",
  convergence: "converged",
  connectivity: "online",
  since: AT,
  lastSeenAt: AT,
  reasons: [],
  assignment: null,
  lastReport: null,
  lastFailure: null,
  enrolment,
  drift: [],
  probes: [],
  rollout: null,
  exclusion: null,
};
const rolledBack: ReconcileReport = {
  kind: "muto.reconcile-report/v1",
  vehicleId: "vehicle-1",
  desiredStateRevision: "ds_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  sequence: 2,
  status: "rolled_back",
  reasonCodes: ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"],
  timings: {},
  reportId: "01ARZ3NDEKTSV4RRFFQ69G5FAV",
  installId: "01ARZ3NDEKTSV4RRFFQ69G5FAW",
  seq: 7,
  bootId: "00000000-0000-4000-8000-000000000000",
  at: AT,
  stack: null,
  set: null,
  attempt: 1,
  phase: "idle",
  rollbackReady: true,
  evidence: [
    {
      kind: "probe",
      reasonCode: "READINESS_TIMEOUT",
      probe: "planner-there",
      probeKind: "node",
      met: false,
      problem: "absent",
      required: true,
      seen: false,
      before: null,
      attempts: 3,
      waitedSec: 20,
    },
  ],
};
const pending = { state: "pending", keyid: null, pendingKeyid: KEY, alarm: "none" } as const;

const situations: readonly (readonly [what: string, about: Partial<VehicleExplanation>, told: string])[] = [
  ["converged", {}, "nothing stands in its way"],
  [
    "a key that waits",
    { status: "pending", enrolment: pending },
    `its key ${KEY} waits: muto vehicle accept vehicle-1 --keyid ${KEY}, or bring a new claim: muto vehicle claim vehicle-1`,
  ],
  [
    "no key",
    { status: "pending", enrolment: { ...enrolment, state: "none", keyid: null } },
    "it has no key yet: muto vehicle claim vehicle-1",
  ],
  ["nothing assigned", { status: "pending" }, "nothing is assigned to it"],
  [
    "converged again after a rollback",
    { lastFailure: { stack, report: rolledBack } },
    [
      "nothing stands in its way",
      "",
      "last failed change: nav 1.2.0 was rolled back 5 min ago: READINESS_TIMEOUT ROLLBACK_APPLIED",
      "  evidence: probe planner-there (node): absent, seen no, needed yes",
    ].join("\n"),
  ],
];

for (const [what, about, told] of situations) {
  test(`vehicle explain: ${what}`, () => {
    const text = explanationText({ ...explained, ...about }, NOW_MS);
    const status = about.status ?? "converged";
    assert.equal(text, `vehicle-1 is ${status} since 5 min ago (last seen 5 min ago)\n${told}\n`);
  });
}
