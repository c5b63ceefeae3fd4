import assert from "node:assert/strict";
import { test } from "node:test";
import { classify, isAnswer, MEMBER_CLASSES } from "./classify.ts";
import type { MemberFacts } from "./classify.ts";
import type { MemberClass } from "@muto/spec";

const table: readonly (readonly [name: string, member: MemberFacts, expected: MemberClass])[] = [
  ["nothing said, within reach", { assigned: true, terminal: null, latest: null, online: true }, "pending"],
  ["nothing said, never heard of", { assigned: true, terminal: null, latest: null, online: false }, "offline"],
  ["not assigned", { assigned: false, terminal: null, latest: null, online: true }, "waiting"],
  ["not assigned and out of reach", { assigned: false, terminal: null, latest: null, online: false }, "waiting"],
  ["says pending", { assigned: true, terminal: null, latest: "pending", online: true }, "pending"],
  ["says applying", { assigned: true, terminal: null, latest: "applying", online: true }, "applying"],
  ["says blocked", { assigned: true, terminal: null, latest: "blocked", online: true }, "blocked"],
  [
    "blocked and gone: out of reach is no answer",
    { assigned: true, terminal: null, latest: "blocked", online: false },
    "offline",
  ],
  ["applying and gone", { assigned: true, terminal: null, latest: "applying", online: false }, "offline"],
  ["converged", { assigned: true, terminal: "converged", latest: "converged", online: true }, "converged"],
  [
    "converged and gone keeps its answer",
    { assigned: true, terminal: "converged", latest: "converged", online: false },
    "converged",
  ],
  ["failed", { assigned: true, terminal: "failed", latest: "failed", online: true }, "failed"],
  ["rolled back", { assigned: true, terminal: "rolled_back", latest: "rolled_back", online: true }, "rolledBack"],
  [
    "failed, now waits for a gate: still failed (H15)",
    { assigned: true, terminal: "failed", latest: "blocked", online: true },
    "failed",
  ],
  [
    "rolled back, now pending: still so",
    { assigned: true, terminal: "rolled_back", latest: "pending", online: true },
    "rolledBack",
  ],
  [
    "converged and re-assigned",
    { assigned: true, terminal: "converged", latest: "applying", online: true },
    "converged",
  ],
];

for (const [name, member, expected] of table) {
  test(`classify: ${name}`, () => assert.equal(classify(member), expected));
}

test("every member is in exactly one known class", () => {
  const terminals: readonly MemberFacts["terminal"][] = [null, "converged", "failed", "rolled_back"];
  const latests: readonly MemberFacts["latest"][] = [null, "applying", "blocked", "pending", ...terminals];
  for (const terminal of terminals) {
    for (const latest of latests) {
      for (const online of [true, false]) {
        for (const assigned of [true, false]) {
          const found = classify({ assigned, terminal, latest, online });
          assert.ok(MEMBER_CLASSES.includes(found));
          assert.equal(isAnswer(found), terminal !== null);
          if (found === "offline") assert.equal(online, false);
        }
      }
    }
  }
});
