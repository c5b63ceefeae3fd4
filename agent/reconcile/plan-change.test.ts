import assert from "node:assert/strict";
import { test } from "node:test";
import {
  all,
  closedBy,
  inWords,
  NOW,
  one,
  planOf,
  releaseA as A,
  releaseB as B,
  releaseC as C,
  type Situation,
} from "../model/situation.ts";
import { announced, back, barred, check, runsA, stagedB, trouble, verifiedB } from "../model/table.ts";

check("nothing is wanted", {
  "a vehicle that never had an assignment": [{}, "settled"],
  "the committed set runs": [{ wants: A, ...runsA }, "settled"],
  "the same release under a newer assignment: no restart": [
    { wants: A, ...runsA, assignment: { sequence: 400 } },
    "settled",
  ],
  "its way back was proved a day ago: prove it again (H9)": [
    { wants: A, ...runsA, state: { rollbackVerifiedAtMs: NOW.wallMs - 24 * 3_600_000 } },
    "switch verify target 1.0.0",
  ],
  "its proof lies in the future because the clock was set back": [
    { wants: A, ...runsA, state: { rollbackVerifiedAtMs: NOW.wallMs + 1 } },
    "switch verify target 1.0.0",
  ],
  "its bytes were found damaged: mend it from the cache while it runs (H9)": [
    { wants: A, ...runsA, seen: { damaged: new Set([A.manifestDigest]) } },
    "stage 1.0.0",
  ],
  "something that nothing needs lies on the disk": [{ wants: A, ...runsA, seen: { swept: "" } }, "clean sweep"],
  "an announcement stands that nothing is behind": [{ wants: A, ...runsA, seen: { announced } }, "switch withdraw"],
});

check("on the way to a new release", {
  "nothing of it is here": [{ wants: B, ...runsA, here: new Map([[B, null]]) }, "fetchRelease 2.0.0"],
  "its manifest is here": [{ wants: B, ...runsA }, "download 2.0.0"],
  "while driving, with every gate closed": [{ wants: B, ...runsA, open: "none" }, "download 2.0.0"],
  "everything is here": [{ wants: B, ...runsA, here: new Map([[B, { missing: [] }]]) }, "stage 2.0.0"],
  "the assignment withholds the start: staging goes on (H10)": [
    { wants: B, ...runsA, assignment: { start: "withheld" } },
    "download 2.0.0",
  ],
  "the network failed a moment ago": [
    { wants: B, ...runsA, seen: { download: trouble({}) } },
    "hold blocked download ARTIFACT_DOWNLOAD_FAILED",
  ],
  "the network failed and the delay is over": [
    { wants: B, ...runsA, seen: { download: trouble({ retryAtMs: NOW.monotonicMs }) } },
    "download 2.0.0",
  ],
  "the trouble was with another release": [
    { wants: B, ...runsA, seen: { download: trouble({ subject: C.manifestDigest }) } },
    "download 2.0.0",
  ],
  "the connection is metered": [{ wants: B, ...runsA, observed: { metered: true } }, "hold pending download"],
  "the disk is too full: a gate, not a verdict (H14)": [
    { wants: B, ...runsA, observed: { disk: { freeMb: 500, reserveMb: 512 } } },
    "hold blocked download INSUFFICIENT_DISK",
  ],
  "the disk does not say how full it is": [
    { wants: B, ...runsA, observed: { disk: { freeMb: null, reserveMb: 0 } } },
    "hold blocked download INSUFFICIENT_DISK",
  ],
  "another release was staged before": [{ wants: B, ...runsA, staged: C }, "clean unstaged"],
  "nothing signed it": [
    { wants: B, ...runsA, verdict: { ok: false, reasonCode: "VERIFY_SIGNATURE_FAILED", evidence: [] } },
    "hold failed verify VERIFY_SIGNATURE_FAILED",
  ],
  "nothing signed what has long been committed: it goes on": [
    { wants: A, ...runsA, verdict: { ok: false, reasonCode: "VERIFY_SIGNATURE_FAILED", evidence: [] } },
    "settled",
  ],
  "the assignment names another version than the manifest (mix and match)": [
    {
      wants: B,
      ...runsA,
      assignment: { stack: { name: "autonomy-core", version: "9.9.9", manifestDigest: B.manifestDigest } },
    },
    "hold failed verify DESIRED_STATE_REJECTED",
  ],
  "it is older than the last security boundary": [
    { wants: B, ...runsA, state: { floors: { sequence: 9, epoch: 1 } } },
    "hold failed verify DESIRED_STATE_REJECTED",
  ],
  "it is in quarantine, whoever issues it again (H15)": [
    { wants: B, ...runsA, staged: B, state: { quarantine: barred(true) } },
    "hold failed hold CRASH_LOOP_DETECTED",
  ],
  "another failure could not be remembered (H15)": [
    {
      wants: B,
      ...runsA,
      staged: B,
      state: { quarantine: Array.from({ length: 62 }, (_, index) => failedOnce(index)) },
    },
    "hold failed hold DESIRED_STATE_REJECTED",
  ],
  "an operator lifted the quarantine": [{ wants: B, ...runsA, state: { quarantine: barred(false) } }, "download 2.0.0"],
});

check("before the switch", {
  "everything is ready: the vehicle is told first (H5)": [stagedB, "switch announce [switch]"],
  "a gate is closed": [{ ...stagedB, open: "none" }, "hold blocked gate DENY_MOVING DENY_OUTSIDE_WINDOW"],
  "battery and window hold a switch": [
    { ...stagedB, open: "stop" },
    "hold blocked gate DENY_LOW_BATTERY DENY_OUTSIDE_WINDOW",
  ],
  "gates were not evaluated: closed": [{ ...stagedB, observed: { gates: undefined } }, "hold blocked gate"],
  "the start is withheld": [{ ...stagedB, assignment: { start: "withheld" } }, "hold pending hold"],
  "the start was withheld after the vehicle was told": [
    { ...stagedB, assignment: { start: "withheld" }, seen: { announced } },
    "switch withdraw",
  ],
  "its time to start is over (H10)": [
    { ...stagedB, assignment: { startBefore: "2026-06-01T01:00:00.000Z" } },
    "hold blocked hold DESIRED_STATE_REJECTED",
  ],
  "the clock says so and the signed documents do not (H20)": [
    {
      ...stagedB,
      assignment: { startBefore: "2026-06-01T00:59:59.000Z" },
      observed: { trustedMs: NOW.wallMs - 60_000 },
    },
    "switch announce [switch]",
  ],
  "nobody proved the way back within a day (H9)": [
    { ...stagedB, state: { rollbackVerifiedAtMs: null } },
    "switch verify target 1.0.0",
  ],
  "the way back is damaged": [{ ...stagedB, seen: { damaged: new Set([A.manifestDigest]) } }, "stage 1.0.0"],
  "the way back is damaged and its archive too": [
    {
      ...stagedB,
      seen: { damaged: new Set([A.manifestDigest]) },
      here: new Map([[A, { missing: [{ digest: "sha256:aa", sizeBytes: 9 }] }]]),
    },
    "download 1.0.0",
  ],
  "a first installation has no way back and needs none": [{ wants: A, staged: A }, "switch announce [switch]"],
  "the vehicle was told: the bytes are hashed right before they are needed": [
    { ...stagedB, seen: { announced } },
    "switch verify staged 2.0.0",
  ],
  "told and hashed: every gate once more, and the intent becomes durable": [
    { ...stagedB, seen: { announced, verifiedMs: verifiedB } },
    "switch trial-begun [switch]",
  ],
  "a gate closed after the vehicle was told (H5)": [
    { ...stagedB, open: "none", seen: { announced, verifiedMs: verifiedB } },
    "switch withdraw",
  ],
  "the vehicle must acknowledge and has not yet": [
    {
      ...stagedB,
      seen: { announced, verifiedMs: verifiedB },
      observed: { acknowledgement: { required: true, timeoutMs: 10_000, changeId: null } },
    },
    "hold applying gate",
  ],
  "the vehicle acknowledged": [
    {
      ...stagedB,
      seen: { announced, verifiedMs: verifiedB },
      observed: { acknowledgement: { required: true, timeoutMs: 10_000, changeId: announced.changeId } },
    },
    "switch trial-begun [switch]",
  ],
  "the vehicle acknowledged another change": [
    {
      ...stagedB,
      seen: { announced, verifiedMs: verifiedB },
      observed: { acknowledgement: { required: true, timeoutMs: 10_000, changeId: "01HZ000000000000000000000Z" } },
    },
    "hold applying gate",
  ],
  "the vehicle did not acknowledge in time": [
    {
      ...stagedB,
      seen: { announced: { ...announced, atMs: NOW.monotonicMs - 10_000 }, verifiedMs: verifiedB },
      observed: { acknowledgement: { required: true, timeoutMs: 10_000, changeId: null } },
    },
    "switch withdraw",
  ],
  "it is asked again after a while": [
    {
      ...stagedB,
      seen: { unacknowledged: trouble({ subject: "change" }) },
      observed: { acknowledgement: { required: true, timeoutMs: 10_000, changeId: null } },
    },
    "hold blocked gate DENY_LOCAL_HOLD",
  ],
  "a workload of the running set is dead: repair comes first": [
    { ...stagedB, instances: [one(A, "control")] },
    "restart start lidar of 1.0.0",
  ],
});

void test("compatibility is judged by the vehicle's own configuration and the signed manifest alone (H17)", () => {
  const cases = [
    [{ vehicleModels: ["vehicle-v4"] }, "INCOMPATIBLE_MODEL"],
    [{ vehicleModels: ["vehicle-v3"], os: ["ubuntu-24.04"] }, "INCOMPATIBLE_OS"],
    [{ vehicleModels: [], os: ["ubuntu-22.04"], rosDistro: ["jazzy"] }, "INCOMPATIBLE_ROS"],
    [{ vehicleModels: ["x"], os: ["y"], rosDistro: ["z"] }, "INCOMPATIBLE_MODEL INCOMPATIBLE_OS INCOMPATIBLE_ROS"],
  ] as const;
  for (const [compatibility, codes] of cases) {
    const manifest = { ...B.manifest, compatibility: { os: [], rosDistro: [], ...compatibility } };
    const step = planOf({ wants: B, ...runsA, here: new Map([[B, { manifest }]]) });
    assert.equal(inWords(step), `hold failed verify ${codes}`);
  }
});

void test("every hold says when it looks again, and why it holds or that nothing is wrong", () => {
  const holds: Situation[] = [
    { wants: B, ...runsA, observed: { metered: true } },
    { wants: B, ...runsA, seen: { download: trouble({}) } },
    { ...stagedB, open: "none" },
    { ...stagedB, assignment: { start: "withheld" } },
    { ...back("pending"), instances: all(B), open: "none" },
  ];
  for (const situation of holds) {
    const step = planOf(situation);
    assert.ok(step.kind === "hold" && step.wakeWhen.afterMs > 0 && step.wakeWhen.on.length > 0, inWords(step));
    if (step.status === "blocked" || step.status === "failed") assert.ok(step.reasons.length > 0);
  }
});

void test("all refusing gates are reported together, each once", () => {
  const both = closedBy("DENY_MOVING", "DENY_AUTONOMOUS_MODE", "DENY_LOCAL_HOLD");
  const step = planOf({ ...stagedB, observed: { gates: { switch: both, stop: both } } });
  assert.ok(step.kind === "hold");
  assert.deepEqual(step.reasons, ["DENY_MOVING", "DENY_AUTONOMOUS_MODE", "DENY_LOCAL_HOLD"]);
  assert.equal(step.evidence.length, 3);
});

function failedOnce(index: number) {
  const manifestDigest = `sha256:${String(index).padStart(64, "0")}`;
  return {
    manifestDigest,
    sinceMs: NOW.wallMs,
    reasonCodes: ["READINESS_TIMEOUT"],
    attempts: 1,
    barred: true,
  } as const;
}
