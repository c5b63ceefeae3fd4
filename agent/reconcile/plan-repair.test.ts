import {
  all,
  endedBy,
  exits,
  lastBoot,
  liveRelease,
  looked,
  one,
  oneshotRelease,
  orderedRelease as O,
  refOf,
  releaseA as A,
  releaseB as B,
  releaseC as C,
} from "../model/situation.ts";
import { NO_SIGHTINGS } from "./observed.ts";
import { barred, check, outcome, sweptWith } from "../model/table.ts";

const seenA = { seen: { probes: looked(A, true) } };
const unseen = { seen: { probes: NO_SIGHTINGS } };

check("repair of the committed set", {
  "after a boot its workloads are started, without a gate": [
    { wants: A, active: A, open: "none" },
    "restart start control of 1.0.0",
  ],
  "a dead workload is restarted in motion (H3)": [
    { wants: A, active: A, instances: [one(A, "control")], open: "none" },
    "restart start lidar of 1.0.0",
  ],
  "an end that nobody asked for is counted first": [
    { wants: A, active: A, instances: [one(A, "control"), one(A, "lidar", endedBy(139))] },
    "restart note lidar",
  ],
  "an end that came with the restart of the computer is no crash": [
    { wants: A, active: A, instances: [one(A, "control"), one(A, "lidar", { ...endedBy(null), bootId: "boot-1" })] },
    "restart start lidar of 1.0.0",
  ],
  "a oneshot that ended with 0 is done": [
    {
      wants: oneshotRelease,
      active: oneshotRelease,
      instances: [
        one(oneshotRelease, "control"),
        one(oneshotRelease, "lidar"),
        one(oneshotRelease, "calibrate", endedBy(0)),
      ],
    },
    "settled",
  ],
  "a oneshot that ended with 1 is a crash": [
    {
      wants: oneshotRelease,
      active: oneshotRelease,
      instances: [
        one(oneshotRelease, "control"),
        one(oneshotRelease, "lidar"),
        one(oneshotRelease, "calibrate", endedBy(1)),
      ],
    },
    "restart note calibrate",
  ],
  "a oneshot of an earlier boot is run again": [
    {
      wants: oneshotRelease,
      active: oneshotRelease,
      instances: [
        one(oneshotRelease, "control"),
        one(oneshotRelease, "lidar"),
        one(oneshotRelease, "calibrate", { ...endedBy(0), bootId: "boot-1" }),
      ],
    },
    "restart start calibrate of 4.0.0",
  ],
  "an unsupervised workload runs": [
    {
      wants: A,
      active: A,
      instances: [one(A, "control"), one(A, "lidar", { state: { kind: "running", pid: 9, supervised: false } })],
    },
    "settled",
  ],
  "a restart waits for its back-off": [
    { wants: A, active: A, instances: [one(A, "control")], state: { exits: exits(A, "lidar", 3, 1) }, ...seenA },
    "settled",
  ],
  "it crash-loops weeks after its commit: back to the one before, through the gates": [
    { wants: B, active: B, previous: A, instances: [one(B, "control")], state: { exits: exits(B, "lidar", 4, 1) } },
    "rollback begin pending CRASH_LOOP_DETECTED",
  ],
  "it crash-loops and there is nothing before it: named, and restarted for ever": [
    { wants: A, active: A, instances: [one(A, "control")], state: { exits: exits(A, "lidar", 4, 1) } },
    "restart stranded",
  ],
  "named already: it is restarted with a capped back-off": [
    {
      wants: A,
      active: A,
      instances: [one(A, "control")],
      state: { exits: exits(A, "lidar", 9, 60), outcome: { ...outcome("failed", A), from: refOf(A) } },
    },
    "restart start lidar of 1.0.0",
  ],
  "it crash-loops after another release had failed: named as well": [
    {
      wants: B,
      active: A,
      instances: [one(A, "control")],
      state: {
        exits: exits(A, "lidar", 4, 1),
        outcome: { ...outcome("applied", A), from: refOf(B) },
        quarantine: barred(true),
      },
    },
    "restart stranded",
  ],
  "its files are damaged: mended before it is started, whatever is wanted": [
    {
      wants: B,
      active: A,
      state: { outcome: outcome("failed", A), quarantine: barred(true) },
      seen: { damaged: new Set([A.manifestDigest]) },
    },
    "stage 1.0.0",
  ],
  "its files are damaged and it runs: nothing is touched": [
    {
      wants: B,
      active: A,
      instances: all(A),
      state: { outcome: outcome("applied", A), quarantine: barred(true) },
      seen: { damaged: new Set([A.manifestDigest]) },
    },
    "hold failed hold CRASH_LOOP_DETECTED",
  ],
  "what was before it is in quarantine itself (H12)": [
    {
      wants: A,
      active: A,
      previous: B,
      instances: [one(A, "control")],
      state: { exits: exits(A, "lidar", 4, 1), quarantine: barred(true) },
    },
    "restart stranded",
  ],
  "ends of an earlier boot do not add up": [
    {
      wants: B,
      active: B,
      previous: A,
      instances: [one(B, "control")],
      state: { exits: exits(B, "lidar", 4, 1).map((exit) => ({ ...exit, at: lastBoot })) },
    },
    "restart start lidar of 2.0.0",
  ],
  "old ends do not add up": [
    { wants: B, active: B, previous: A, instances: [one(B, "control")], state: { exits: exits(B, "lidar", 4, 301) } },
    "restart start lidar of 2.0.0",
  ],
  "something of ours runs beside it: stopped through the gates only": [
    { wants: A, active: A, instances: [...all(A), one(C, "lidar")] },
    "clean stop-extra lidar of 3.0.0 [stop]",
  ],
  "something of ours runs beside it, in motion": [
    { wants: A, active: A, instances: [...all(A), one(C, "lidar")], open: "none", seen: { swept: sweptWith(A, C) } },
    "settled",
  ],
  "something of ours runs and the committed set does not: nothing starts beside it": [
    { wants: A, active: A, instances: [one(C, "lidar")], open: "none", seen: { swept: sweptWith(A, C) } },
    "settled",
  ],
  "records of ended instances of other sets are dropped": [
    { wants: A, active: A, instances: [...all(A), one(C, "lidar", endedBy(0, true))] },
    "clean forget 3.0.0-lidar",
  ],
  "liveness is looked at now and then": [
    { wants: liveRelease, active: liveRelease, instances: all(liveRelease), ...unseen },
    "probe 5.0.0",
  ],
  "a workload hangs: stopped through the gates, alone (H24)": [
    {
      wants: liveRelease,
      active: liveRelease,
      instances: all(liveRelease),
      seen: { probes: looked(liveRelease, false) },
    },
    "restart stop control of 5.0.0 [stop]",
  ],
  "a workload hangs in motion: it is left alone (H24)": [
    {
      wants: liveRelease,
      active: liveRelease,
      instances: all(liveRelease),
      seen: { probes: looked(liveRelease, false) },
      open: "none",
    },
    "settled",
  ],
  "the good set of a failed rollback is up after all": [
    {
      wants: B,
      active: A,
      instances: all(A),
      seen: { probes: looked(A, true) },
      state: { outcome: outcome("failed", A), quarantine: barred(true) },
    },
    "restart recovered",
  ],
});

check("the order of starting", {
  "what waits for nothing comes first": [{ wants: O, active: O }, "restart start map of 6.0.0"],
  "then the next that waits for nothing": [
    { wants: O, active: O, instances: [one(O, "map")] },
    "restart start driver of 6.0.0",
  ],
  "what is waited for runs and was not looked at": [
    { wants: O, active: O, instances: [one(O, "map"), one(O, "driver")] },
    "probe 6.0.0",
  ],
  "what is waited for is not ready": [
    { wants: O, active: O, instances: [one(O, "map"), one(O, "driver")], seen: { probes: looked(O, false) } },
    "settled",
  ],
  "what is waited for is ready": [
    { wants: O, active: O, instances: [one(O, "map"), one(O, "driver")], seen: { probes: looked(O, true) } },
    "restart start planner of 6.0.0",
  ],
  "an earlier instance was ready, this one is not": [
    {
      wants: O,
      active: O,
      instances: [one(O, "map", { instanceId: "another" }), one(O, "driver")],
      seen: { probes: looked(O, true) },
    },
    "settled",
  ],
  "what is waited for is dead: it is started first": [
    { wants: O, active: O, instances: [one(O, "driver")], seen: { probes: looked(O, true) } },
    "restart start map of 6.0.0",
  ],
});
