import assert from "node:assert/strict";
import { evaluateGates } from "../safety/gates.ts";
import { judgeClock } from "../safety/clock-trust.ts";
import type { ModelVehicle } from "./vehicle.ts";

/**
 * What must hold at every instant, judged by the model's own truth and never by what the agent claims:
 * one set at a time; nothing is disturbed unless the gates were open when the disturbance began; exactly the selected set
 * or, in the middle of a change, what was before it.
 */
export interface Invariants {
  check(): void;
  rebooted(): void;
}

export function watchInvariants(vehicle: ModelVehicle): Invariants {
  /** Until the first readiness or the end of a rollback, what began with open gates is carried to its end. */
  let disturbed = false;
  let lastRun: string | undefined;
  let isBooted = false;

  const motionOpen = () => {
    const { clock, config, bootId, state } = vehicle;
    const now = { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs(), bootId, aheadMsMax: 86_400_000 };
    const trusted = judgeClock(state.time, now).trusted;
    const verdict = evaluateGates({
      purpose: "stop",
      samples: vehicle.samples(),
      config,
      policy: undefined,
      clock: { ...now, trusted },
      disk: { freeMb: 1, neededMb: 0 },
    });
    return verdict.open;
  };

  vehicle.runtime.onTouch = (what, set, workload) => {
    const others = vehicle.runtime.runningSets().filter((running) => running !== set);
    if (what === "start") assert.deepEqual(others, [], "H: two sets never run at once");
    const { rollback } = vehicle.state;
    const hasFailed = rollback !== null && rollback.cause.reasonCodes.length > 0 ? rollback.from.manifestDigest : null;
    assert.ok(
      what === "stop" || !isBooted || hasFailed !== set || vehicle.diskFaulted,
      "what has failed is the first thing that runs after a boot (H4)",
    );
    const isSameSoftware = what === "start" && (lastRun === undefined || lastRun === set);
    if (!disturbed && !isSameSoftware) {
      assert.ok(motionOpen(), `${what} of ${workload} while the motion gates are closed (H3, H4)`);
      disturbed = true;
    }
    if (what === "start") [lastRun, isBooted] = [set, false];
  };
  vehicle.onRecord = (record) => {
    const leaves = record.kind === "trial-phase" || record.kind === "rollback-phase" ? record.phase : undefined;
    if (leaves === "starting" && !disturbed) {
      assert.ok(isBooted || motionOpen(), "a stack is left while the motion gates are closed (H4)");
      disturbed = true;
    }
    const isOver =
      (record.kind === "trial-phase" && record.phase === "probation") ||
      record.kind === "rollback-ended" ||
      record.kind === "trial-abandoned";
    if (isOver) disturbed = false;
  };
  return {
    check: () => {
      assert.ok(vehicle.runtime.runningSets().length <= 1, "two sets run at once");
      const { active, previous, trial, rollback } = vehicle.state;
      for (const set of [active, previous, trial?.from, rollback?.to]) {
        if (set === null || set === undefined) continue;
        assert.ok(
          vehicle.runtime.prepared.has(set.manifestDigest),
          "a set that may be returned to was thrown away (H7)",
        );
      }
    },
    rebooted: () => {
      // Nothing runs after a boot, so nothing is disturbed by what is started first.
      lastRun = undefined;
      isBooted = true;
      disturbed = false;
    },
  };
}
