import {
  all,
  earlier,
  endedBy,
  exits,
  lastBoot,
  looked,
  one,
  rollbackOf,
  releaseA as A,
  releaseB as B,
} from "../model/situation.ts";
import { announced, back, check, trouble } from "../model/table.ts";

check("a rollback", {
  "decided: the vehicle is told, through the motion and mode gates": [
    { ...back("pending"), instances: all(B) },
    "rollback announce [stop]",
  ],
  "window and battery never hold it up": [
    { ...back("pending"), instances: all(B), open: "stop" },
    "rollback announce [stop]",
  ],
  "in motion the failing stack goes on (H4)": [
    { ...back("pending"), instances: all(B), open: "none" },
    "hold blocked rollback CRASH_LOOP_DETECTED DENY_MOVING",
  ],
  "in motion its dead workloads are restarted": [
    { ...back("pending"), instances: [one(B, "control")], open: "none" },
    "restart start lidar of 2.0.0",
  ],
  "all workloads died at speed: other software does not start (H4)": [
    {
      ...back("pending"),
      instances: [],
      open: "none",
      state: { rollback: rollbackOf(B, A), exits: [...exits(B, "control", 4, 0), ...exits(B, "lidar", 4, 0)] },
    },
    "hold blocked rollback CRASH_LOOP_DETECTED DENY_MOVING",
  ],
  "the computer was restarted: nothing runs that could be stopped": [
    { ...back("pending", { begun: lastBoot, since: lastBoot }), open: "none" },
    "rollback rollback-phase stopping",
  ],
  "the computer was restarted: on the way back no gate sends it to the failing stack again": [
    { ...back("stopping", { begun: lastBoot, since: earlier(0) }), open: "none" },
    "rollback rollback-phase starting",
  ],
  "the computer was restarted: what fails is not started first, even where the gates closed on the way back": [
    { ...back("pending", { begun: lastBoot, since: earlier(0) }), open: "none" },
    "rollback rollback-phase stopping",
  ],
  "the computer was restarted, and what fails has run since: the gates (H4)": [
    {
      ...back("stopping", { begun: lastBoot, since: earlier(0) }),
      instances: [one(B, "control", endedBy(1))],
      open: "none",
    },
    "rollback rollback-phase pending",
  ],
  "announced: the gates once more": [
    { ...back("pending"), instances: all(B), seen: { announced } },
    "rollback rollback-phase stopping [stop]",
  ],
  "first stop of a stack that was ready: the gates in this very pass": [
    { ...back("stopping"), instances: all(B) },
    "rollback stop lidar of 2.0.0 [stop]",
  ],
  "the gates closed again before anything was stopped": [
    { ...back("stopping"), instances: all(B), open: "none" },
    "rollback rollback-phase pending",
  ],
  "a stack that was never ready is stopped at once": [
    { ...back("stopping", { wasReady: false }), instances: all(B), open: "none" },
    "rollback stop lidar of 2.0.0",
  ],
  "nothing of it runs any more": [
    { ...back("stopping", { wasReady: false }), open: "none" },
    "rollback rollback-phase starting",
  ],
  "the good set is started, whatever the gates say": [
    { ...back("starting"), open: "none" },
    "rollback start control of 1.0.0",
  ],
  "it was started": [{ ...back("starting"), instances: all(A) }, "rollback rollback-phase probing"],
  "it is ready": [
    { ...back("probing"), instances: all(A), seen: { probes: looked(A, true) } },
    "rollback ended applied",
  ],
  "it was ready before it was stopped for the change, and nobody has looked since": [
    {
      ...back("probing"),
      instances: all(A),
      seen: {
        probes: { ...looked(A, true), lookedMs: earlier(60).monotonicMs, readySinceMs: earlier(90).monotonicMs },
      },
    },
    "probe 1.0.0",
  ],
  "instances were seen ready that are gone": [
    {
      ...back("probing"),
      instances: A.manifest.workloads.map(({ name }) => one(A, name, { instanceId: `new-${name}` })),
      seen: { probes: looked(A, true) },
    },
    "hold applying rollback CRASH_LOOP_DETECTED",
  ],
  "it does not become ready": [
    { ...back("probing", { since: earlier(31) }), instances: all(A), seen: { probes: looked(A, false) } },
    "rollback ended failed",
  ],
  "it crash-loops": [
    {
      ...back("probing"),
      instances: [one(A, "control")],
      state: { rollback: rollbackOf(B, A, { phase: "probing" }), exits: exits(A, "lidar", 4, 1) },
    },
    "rollback ended failed",
  ],
  "its manifest is gone": [{ ...back("starting"), here: new Map([[A, null]]) }, "rollback ended failed"],
  "there is nothing to return to: safe hold": [
    { wants: B, state: { rollback: rollbackOf(B, null, { phase: "starting" }) } },
    "rollback ended failed",
  ],
  "what fails cannot be ended: nothing else starts beside it": [
    {
      ...back("stopping", { wasReady: false }),
      instances: [one(B, "control")],
      seen: { stops: new Map([["2.0.0-control", trouble({ subject: "2.0.0-control", attempts: 3 })]]) },
    },
    "hold failed rollback CRASH_LOOP_DETECTED ROLLBACK_FAILED",
  ],
  "a recalled trial waits for every gate, like any change": [
    {
      ...back("pending", { cause: { reasonCodes: [], evidence: [] } }),
      instances: all(B),
      open: "stop",
    },
    "hold blocked rollback DENY_LOW_BATTERY DENY_OUTSIDE_WINDOW",
  ],
});
