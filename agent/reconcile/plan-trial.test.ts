import {
  all,
  earlier,
  endedBy,
  exits,
  lastBoot,
  looked,
  one,
  trialOf,
  releaseA as A,
  releaseB as B,
  releaseC as C,
} from "../model/situation.ts";
import { check, mid, stagedB, stoppedHere, trouble } from "../model/table.ts";
import { NO_SIGHTINGS } from "./observed.ts";

check("a trial that stops the old stack", {
  "first stop: the gates are asked in this very pass (H5)": [
    { ...mid("stopping"), instances: all(A) },
    "switch stop lidar of 1.0.0 [switch]",
  ],
  "the gates have closed and nothing was stopped: the old stack never notices": [
    { ...mid("stopping"), instances: all(A), open: "none" },
    "switch trial-abandoned",
  ],
  "once begun it is carried to its end, whatever the gates say": [
    { ...mid("stopping"), instances: [one(A, "control")], open: "none", seen: stoppedHere },
    "switch stop control of 1.0.0",
  ],
  "after a crash of the agent the supervisors prove that a stop had begun": [
    { ...mid("stopping"), instances: [one(A, "control"), one(A, "lidar", endedBy(0, true))], open: "none" },
    "switch stop control of 1.0.0",
  ],
  "a workload that had died by itself proves nothing": [
    { ...mid("stopping"), instances: [one(A, "control"), one(A, "lidar", endedBy(1))], open: "none" },
    "switch trial-abandoned",
  ],
  "everything is stopped": [
    { ...mid("stopping"), instances: all(A).map((instance) => ({ ...instance, ...endedBy(0, true) })), open: "none" },
    "switch trial-phase starting",
  ],
  "nothing ever ran: the gates are asked before the first start (H4)": [
    { wants: A, staged: A, state: { trial: trialOf(A, null) }, open: "none" },
    "switch trial-abandoned",
  ],
  "the old stack cannot be ended: it is brought back whole": [
    {
      ...mid("stopping"),
      instances: [one(A, "control")],
      seen: { ...stoppedHere, stops: new Map([["1.0.0-control", trouble({ subject: "1.0.0-control", attempts: 3 })]]) },
    },
    "rollback begin stopping APPLY_FAILED",
  ],
});

check("a trial that starts the new stack", {
  "the first workload": [{ ...mid("starting"), open: "none" }, "switch start control of 2.0.0"],
  "the next workload": [{ ...mid("starting"), instances: [one(B, "control")] }, "switch start lidar of 2.0.0"],
  "everything is started": [{ ...mid("starting"), instances: all(B) }, "switch trial-phase probing"],
  "the old stack is back (somebody started it): two sets never run at once": [
    { ...mid("starting"), instances: [one(A, "lidar")] },
    "switch stop lidar of 1.0.0",
  ],
  "a start was refused": [
    { ...mid("starting"), seen: { starts: new Map([["control", trouble({})]]) } },
    "rollback begin stopping APPLY_FAILED",
  ],
  "the set's manifest is gone": [
    { ...mid("starting"), here: new Map([[B, null]]) },
    "rollback begin stopping APPLY_FAILED",
  ],
  "the computer was restarted": [{ ...mid("starting", { since: lastBoot }) }, "switch trial-rebooted"],
  "a second restart": [{ ...mid("probation", { since: lastBoot, reboots: 1 }) }, "switch trial-rebooted"],
  "the third restart ends it (H22)": [
    { ...mid("probation", { since: earlier(0), reboots: 3 }) },
    "rollback begin stopping CRASH_LOOP_DETECTED",
  ],
  "readiness is looked at": [{ ...mid("probing"), instances: all(B) }, "probe 2.0.0"],
  "not ready yet, looked just now": [
    { ...mid("probing"), instances: all(B), seen: { probes: looked(B, false) } },
    "hold applying probe",
  ],
  "what was seen of an earlier try makes nothing ready": [
    {
      ...mid("probing"),
      instances: all(B),
      seen: {
        probes: { ...looked(B, true), lookedMs: earlier(60).monotonicMs, readySinceMs: earlier(90).monotonicMs },
      },
    },
    "probe 2.0.0",
  ],
  ready: [{ ...mid("probing"), instances: all(B), seen: { probes: looked(B, true) } }, "switch trial-phase probation"],
  "ready before, and a workload has died since": [
    {
      ...mid("probing"),
      instances: [one(B, "control"), one(B, "lidar", endedBy(1))],
      seen: { probes: looked(B, true) },
    },
    "restart note lidar",
  ],
  "not ready within its time (READINESS_TIMEOUT), gates closed: back at once": [
    {
      ...mid("probing", { since: earlier(30) }),
      instances: all(B),
      seen: { probes: looked(B, false) },
      open: "none",
    },
    "rollback begin stopping READINESS_TIMEOUT",
  ],
  "ready at the last moment": [
    { ...mid("probing", { since: earlier(30) }), instances: all(B), seen: { probes: looked(B, true) } },
    "switch trial-phase probation",
  ],
  "a crash loop before readiness": [
    {
      ...mid("probing"),
      instances: [one(B, "control")],
      state: { ...mid("probing").state, exits: exits(B, "lidar", 4, 1) },
    },
    "rollback begin stopping CRASH_LOOP_DETECTED",
  ],
  "as many ends as allowed are no crash loop": [
    {
      ...mid("probing"),
      instances: [one(B, "control")],
      state: { ...mid("probing").state, exits: exits(B, "lidar", 3, 9) },
    },
    "switch start lidar of 2.0.0",
  ],
  "a restart waits for its back-off": [
    {
      ...mid("probing"),
      instances: [one(B, "control")],
      state: { ...mid("probing").state, exits: exits(B, "lidar", 3, 1) },
      seen: { probes: looked(B, false) },
    },
    "hold applying probe",
  ],
});

check("a trial on probation", {
  "time passes": [{ ...mid("probation"), instances: all(B) }, "hold applying probation"],
  "progress is made durable": [
    { ...mid("probation", { since: earlier(30) }), instances: all(B) },
    "switch trial-powered",
  ],
  "its time is over and nothing was restarted since it was ready": [
    { ...mid("probation", { since: earlier(10), poweredMs: 50_000 }), instances: all(B) },
    "commit",
  ],
  "it drove into a garage meanwhile: nobody failed (H23)": [
    {
      ...mid("probation", { since: earlier(10), poweredMs: 50_000 }),
      instances: all(B),
      seen: { probes: looked(B, false) },
    },
    "commit",
  ],
  "its time is over, and the computer was restarted: a fresh look": [
    {
      ...mid("probation", { since: earlier(10), poweredMs: 50_000, reboots: 1 }),
      instances: all(B),
      seen: { probes: NO_SIGHTINGS },
    },
    "probe 2.0.0",
  ],
  "ready again at its end": [
    {
      ...mid("probation", { since: earlier(10), poweredMs: 50_000, reboots: 1 }),
      instances: all(B),
      seen: { probes: looked(B, true) },
    },
    "commit",
  ],
  "commits on its own evidence, gates closed and offline": [
    {
      ...mid("probation", { since: earlier(10), poweredMs: 50_000 }),
      instances: all(B),
      seen: { probes: looked(B, true), download: trouble({}) },
      open: "none",
    },
    "commit",
  ],
  "only just restarted at its end": [
    {
      ...mid("probation", { since: earlier(10), poweredMs: 50_000 }),
      instances: all(B),
      state: {
        trial: trialOf(B, A, { phase: "probation", since: earlier(10), poweredMs: 50_000 }),
        exits: exits(B, "lidar", 1, 2),
      },
      seen: { probes: looked(B, true) },
    },
    "hold applying probation",
  ],
  "never ready again after a restart": [
    {
      ...mid("probation", { since: earlier(40), poweredMs: 50_000, reboots: 1 }),
      instances: all(B),
      seen: { probes: looked(B, false) },
    },
    "rollback begin pending READINESS_TIMEOUT",
  ],
  "a dead workload is restarted without a gate": [
    { ...mid("probation"), instances: [one(B, "control")], open: "none" },
    "restart start lidar of 2.0.0",
  ],
  "a crash loop: back, but only through the gates (H4)": [
    {
      ...mid("probation"),
      instances: [one(B, "control")],
      state: { trial: trialOf(B, A, { phase: "probation" }), exits: exits(B, "lidar", 4, 1) },
    },
    "rollback begin pending CRASH_LOOP_DETECTED",
  ],
  "the operator wants the committed release back": [
    { ...mid("probation"), wants: A, instances: all(B) },
    "rollback begin pending",
  ],
  "the operator wants it back, but not now": [
    { ...mid("probation"), wants: A, instances: all(B), assignment: { start: "withheld" } },
    "hold applying probation",
  ],
  "a third release is wanted: the trial is decided first": [
    { ...mid("probation"), wants: C, instances: all(B) },
    "hold applying probation",
  ],
});

check("after a storage fault", {
  "no change begins": [{ ...stagedB, observed: { storage: "faulted" } }, "hold blocked hold APPLY_FAILED"],
  "dead workloads of the selected set are restarted": [
    { wants: A, active: A, instances: [one(A, "control")], observed: { storage: "faulted" } },
    "restart start lidar of 1.0.0",
  ],
  "the old stack is left alone when nothing of it had been stopped": [
    { ...mid("stopping"), instances: all(A), observed: { storage: "faulted" } },
    "hold blocked hold APPLY_FAILED",
  ],
  "a stop that had begun is carried to its end": [
    { ...mid("stopping"), instances: [one(A, "control")], seen: stoppedHere, observed: { storage: "faulted" } },
    "rollback stop control of 1.0.0",
  ],
  "the set on trial is started where nothing else runs": [
    { ...mid("starting"), observed: { storage: "faulted" } },
    "restart start control of 2.0.0",
  ],
});
