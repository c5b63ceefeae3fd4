import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Probe, ProbeProblem } from "@muto/spec";
import { LIMITS } from "./limits.ts";
import { NO_UPKEEP, type Upkeep } from "./observed.ts";
import { addUpkeep, isInDoubt } from "./upkeep.ts";

const SET = "sha256:1";
const WALL_MS = Date.parse("2026-06-01T01:00:00.000Z");
const READINESS_SEC = 60;

/** `+` met, `-` absent, `?` cannot be seen, `.` a window that is not full; each with the seconds at which it was looked at. */
type Look = readonly [sec: number, what: "+" | "-" | "?" | "."];

const PROBLEMS: Readonly<Record<Look[1], ProbeProblem | null>> = {
  "+": null,
  "-": "absent",
  "?": "not-seen",
  ".": "window-not-full",
};

function watch(
  looks: readonly Look[],
  wasReady = true,
  before: Upkeep = NO_UPKEEP,
  kind: Probe["kind"] = "node",
): Upkeep {
  return looks.reduce<Upkeep>((upkeep, [sec, what]) => {
    const problem = PROBLEMS[what];
    const seen = { met: problem === null, problem, required: true, seen: problem === null, ageMs: 0 };
    return addUpkeep(upkeep, {
      set: SET,
      atMs: sec * 1000,
      atWallMs: WALL_MS + sec * 1000,
      wasReady,
      readinessTimeoutSec: READINESS_SEC,
      results: [{ name: "p", kind, seen }],
    });
  }, before);
}

/** `kept`, `drift since 30`, `unknown`. */
function says(upkeep: Upkeep): string {
  const known = upkeep.expectations.get("p");
  if (known?.judged !== true) return "unknown";
  return known.driftSinceWallMs === null ? "kept" : `drift since ${(known.driftSinceWallMs - WALL_MS) / 1000}`;
}

const table: Readonly<Record<string, readonly [readonly Look[], string]>> = {
  "kept all the time": [
    [
      [0, "+"],
      [30, "+"],
      [60, "+"],
    ],
    "kept",
  ],
  "one look in vain is a dip": [
    [
      [0, "+"],
      [30, "-"],
    ],
    "kept",
  ],
  "a dip of six seconds": [
    [
      [0, "+"],
      [30, "-"],
      [33, "-"],
      [36, "-"],
      [39, "+"],
    ],
    "kept",
  ],
  "missed for ten seconds: drift since the first miss": [
    [
      [0, "+"],
      [30, "-"],
      [33, "-"],
      [36, "-"],
      [39, "-"],
      [42, "-"],
    ],
    "drift since 30",
  ],
  "it is back, and not for long enough": [
    [
      [0, "+"],
      [30, "-"],
      [35, "-"],
      [40, "-"],
      [45, "+"],
      [70, "+"],
    ],
    "drift since 30",
  ],
  "it is back for half a minute: over": [
    [
      [0, "+"],
      [30, "-"],
      [35, "-"],
      [40, "-"],
      [45, "+"],
      [60, "+"],
      [75, "+"],
    ],
    "kept",
  ],
  "flapping is one drift, since it began": [
    [
      [0, "+"],
      [30, "-"],
      [35, "-"],
      [40, "-"],
      [45, "+"],
      [60, "-"],
      [63, "+"],
      [80, "-"],
      [83, "+"],
      [100, "+"],
    ],
    "drift since 30",
  ],
  "missed half of the time, five seconds each: drift after a while": [
    [
      [0, "+"],
      [5, "-"],
      [10, "-"],
      [15, "+"],
      [20, "+"],
      [25, "-"],
      [30, "-"],
      [35, "+"],
      [40, "-"],
      [45, "-"],
    ],
    "drift since 5",
  ],
  "a dip every minute is none": [
    [
      [0, "+"],
      [30, "-"],
      [33, "-"],
      [36, "+"],
      [90, "-"],
      [93, "-"],
      [96, "+"],
      [150, "-"],
      [153, "-"],
      [156, "+"],
    ],
    "kept",
  ],
  "a window that is not full says nothing": [
    [
      [0, "."],
      [30, "."],
      [60, "."],
    ],
    "kept",
  ],
  "nor does it end a drift": [
    [
      [0, "-"],
      [10, "-"],
      [20, "."],
      [60, "."],
    ],
    "drift since 0",
  ],
  "what cannot be seen any more is drift as well": [
    [
      [0, "+"],
      [30, "?"],
      [35, "?"],
      [40, "?"],
    ],
    "drift since 30",
  ],
  "a sleep between two looks counts no more than one interval": [
    [
      [0, "+"],
      [30, "-"],
      [9_000, "-"],
    ],
    "drift since 30",
  ],
};

describe("what a ready set keeps up", () => {
  for (const [situation, [looks, expected]] of Object.entries(table)) {
    test(situation, () => assert.equal(says(watch(looks)), expected));
  }

  test("after a start of the agent nobody says that all is well, or over, before it was watched for long enough", () => {
    const sees = (looks: readonly Look[]) => says(watch(looks, false));
    assert.equal(sees([[0, "+"]]), "unknown");
    assert.equal(
      sees([
        [0, "+"],
        [15, "+"],
      ]),
      "unknown",
    );
    assert.equal(
      sees([
        [0, "+"],
        [15, "+"],
        [30, "+"],
      ]),
      "kept",
    );
    assert.equal(
      sees([
        [0, "+"],
        [5, "-"],
        [10, "-"],
        [15, "-"],
      ]),
      "drift since 5",
    );
  });

  test("what was never met has the set's own readiness time, as after a boot of the computer", () => {
    const missing = (untilSec: number) =>
      says(
        watch(
          Array.from({ length: untilSec / 5 + 1 }, (_, index): Look => [index * 5, "-"]),
          false,
        ),
      );
    assert.equal(missing(55), "unknown");
    assert.equal(missing(READINESS_SEC), "drift since 0");
  });

  test("a state that nobody has told since the agent started is no drift, unless it was known before", () => {
    const seen = (looks: readonly Look[]) => says(watch(looks, false, NO_UPKEEP, "lifecycle"));
    assert.equal(
      seen([
        [0, "?"],
        [100, "?"],
        [200, "?"],
      ]),
      "kept",
    );
    assert.equal(
      seen([
        [0, "+"],
        [30, "?"],
        [35, "?"],
        [40, "?"],
      ]),
      "drift since 30",
    );
  });

  test("another set begins anew", () => {
    const drifted = watch([
      [0, "-"],
      [10, "-"],
    ]);
    assert.equal(says(drifted), "drift since 0");
    assert.equal(says(watch([[20, "+"]], true, { ...drifted, set: "sha256:2" })), "kept");
  });

  test("it is looked at more often while something is missed, or may be over soon", () => {
    assert.equal(isInDoubt(watch([[0, "+"]])), false);
    assert.equal(
      isInDoubt(
        watch([
          [0, "+"],
          [30, "-"],
        ]),
      ),
      true,
    );
    assert.equal(
      isInDoubt(
        watch([
          [0, "-"],
          [10, "-"],
        ]),
      ),
      false,
      "it is drift, and nothing is new",
    );
    assert.equal(
      isInDoubt(
        watch([
          [0, "-"],
          [10, "-"],
          [13, "+"],
        ]),
      ),
      true,
    );
    assert.equal(
      isInDoubt(
        watch([
          [0, "-"],
          [10, "-"],
          [13, "+"],
          [43, "+"],
        ]),
      ),
      false,
    );
  });

  test("whatever is seen: drift begins after a miss and its debounce, and ends after a time in which it was kept", () => {
    const looks = fc.array(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.constantFrom<Look[1]>("+", "-")), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(looks, (steps) => {
        let sec = 0;
        let upkeep = NO_UPKEEP;
        let missedSec = 0;
        let keptSec = 0;
        let before: Look[1] = "+";
        for (const [wait, what] of steps) {
          const wasDrift = says(upkeep).startsWith("drift");
          sec += wait;
          upkeep = watch([[sec, what]], true, upkeep);
          if (what === "-" && before === "-") missedSec += wait;
          keptSec = what === "-" ? 0 : before === "+" ? keptSec + wait : 0;
          before = what;
          const isDrift = says(upkeep).startsWith("drift");
          if (isDrift && !wasDrift) assert.ok(what === "-" && missedSec * 1000 >= LIMITS.driftAfterMs);
          if (wasDrift && !isDrift) assert.ok(keptSec * 1000 >= LIMITS.driftOverMs);
          if (wasDrift && !isDrift) missedSec = 0;
        }
      }),
    );
  });
});
