import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Step } from "./reconcile/step.ts";
import { createRestraint } from "./restraint.ts";

const fetching = (digest: string): Step => ({ kind: "fetchRelease", repository: "stack", digest });
const settled = (afterMs: number): Step => ({ kind: "settled", wakeWhen: { afterMs, on: [] } });

describe("restraint of a loop that gets nowhere", () => {
  it("lets steps that differ follow each other at once", () => {
    const restraint = createRestraint();
    for (let index = 0; index < 500; index++) assert.equal(restraint.after(fetching(`${index}`)), 0);
  });

  it("rests longer and longer while the very same step is taken again and again, up to half a minute", () => {
    const restraint = createRestraint();
    const rests = Array.from({ length: 14 }, () => restraint.after(fetching("a")));
    assert.deepEqual(rests, [0, 0, 0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
    assert.equal(restraint.after(fetching("b")), 0);
  });

  it("begins anew after a hold that waits, and counts one that does not", () => {
    const restraint = createRestraint();
    for (let index = 0; index < 8; index++) {
      assert.equal(restraint.after(fetching("a")), 0);
      assert.equal(restraint.after(settled(500)), 0);
    }
    const rests = Array.from({ length: 5 }, () => restraint.after(settled(0)));
    assert.deepEqual(rests, [0, 0, 0, 100, 200]);
  });

  it("slows down a circle of waits that are too short to be any", () => {
    const restraint = createRestraint();
    const rests = Array.from({ length: 1_001 }, () => restraint.after(settled(1)));
    assert.equal(rests[999], 0);
    assert.equal(rests.at(-1), 1_000);
    assert.equal(restraint.after(settled(500)), 0);
    assert.equal(restraint.after(settled(1)), 0);
  });

  it("slows down a circle of different steps", () => {
    const restraint = createRestraint();
    const rests = Array.from({ length: 1_100 }, (_, index) => restraint.after(fetching(`${index % 2}`)));
    assert.equal(
      rests.slice(0, 1_000).every((ms) => ms === 0),
      true,
    );
    assert.equal(
      rests.slice(1_000).every((ms) => ms === 1_000),
      true,
    );
  });
});
