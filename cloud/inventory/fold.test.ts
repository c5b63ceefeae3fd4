import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Drift, ReconcileReport } from "@muto/spec";
import { foldReport } from "./fold.ts";
import type { VehicleState } from "./fold.ts";

const REVISION = "dsr_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const OLDER = "dsr_01ARZ3NDEKTSV4RRFFQ69G5FAA";
const STACK = { name: "autonomy", version: "1.0.0", manifestDigest: `sha256:${"1".repeat(64)}` };
const RECEIVED = "2026-11-23T10:00:00.000Z";

const fresh: VehicleState = {
  reportSeq: 0,
  status: "pending",
  statusSince: "2026-11-23T09:00:00.000Z",
  reasonCodes: [],
  desiredRevision: REVISION,
  actualStack: null,
  actualRevision: null,
  committed: null,
  rollbackReady: null,
  drift: [],
  lastReconcileAt: null,
  latestReportId: null,
  sequenceFloor: 0,
};

it("takes no sequence for a vehicle's floor that would leave no room above it", () => {
  const honest = report({ seq: 1, attempt: 1, sequence: 2 ** 51 });
  const absurd = report({ seq: 1, attempt: 1, sequence: Number.MAX_SAFE_INTEGER });
  assert.equal(foldReport(fresh, honest, RECEIVED).state.sequenceFloor, 2 ** 51);
  assert.equal(foldReport(fresh, absurd, RECEIVED).state.sequenceFloor, 0);
});

function report(more: Partial<ReconcileReport> & { readonly seq: number }): ReconcileReport {
  return {
    kind: "muto.reconcile-report/v1",
    vehicleId: "vehicle-1",
    desiredStateRevision: REVISION,
    sequence: 1,
    status: "converged",
    reasonCodes: [],
    timings: {},
    reportId: `report-${more.seq}`,
    installId: "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    bootId: "11111111-1111-4111-8111-111111111111",
    at: "2026-11-23T09:30:00.000Z",
    stack: STACK,
    set: "active",
    attempt: 1,
    phase: "idle",
    rollbackReady: true,
    evidence: [],
    ...more,
  };
}

describe("folding a report", () => {
  it("raises the floor by what was accepted, and never by what was refused: a replayed document is no restored database (H16)", () => {
    const known = { ...fresh, sequenceFloor: 3 };
    const floorAfter = (more: Partial<ReconcileReport>) =>
      foldReport(known, report({ seq: 1, ...more }), RECEIVED).state.sequenceFloor;
    assert.equal(floorAfter({ sequence: 4 }), 4);
    assert.equal(floorAfter({ sequence: 2 }), 3);
    const refused = { status: "failed", phase: "verify", reasonCodes: ["DESIRED_STATE_REJECTED"] } as const;
    assert.equal(floorAfter({ ...refused, sequence: 50, attempt: 0 }), 3, "another vehicle's, or expired");
    assert.equal(floorAfter({ ...refused, sequence: 4, attempt: 1 }), 4, "accepted, and its release is too old");
  });

  it("takes status, stack and codes from the newest, since the time it says, as far as that is believable", () => {
    const { state, timeline } = foldReport(fresh, report({ seq: 1 }), RECEIVED);
    assert.equal(state.status, "converged");
    assert.equal(state.statusSince, "2026-11-23T09:30:00.000Z");
    assert.deepEqual([state.actualStack, state.committed], [STACK, STACK]);
    assert.equal(timeline?.event, "ready");
    for (const [said, believed] of [
      ["2099-01-01T00:00:00Z", RECEIVED],
      ["1970-01-01T00:00:00Z", fresh.statusSince],
      ["2026-99-99T99:99:99Z", RECEIVED],
    ] as const) {
      assert.equal(foldReport(fresh, report({ seq: 1, at: said }), RECEIVED).state.statusSince, believed, said);
    }
  });

  it("is pending while the assignment is newer than the report, and codes of old times are not shown", () => {
    const { state } = foldReport(
      fresh,
      report({ seq: 1, desiredStateRevision: OLDER, status: "blocked", reasonCodes: ["DENY_MOVING"] }),
      RECEIVED,
    );
    assert.deepEqual([state.status, state.reasonCodes], ["pending", []]);
  });

  it("tells the timeline of a change once, not of every repetition", () => {
    const blocked = { status: "blocked", reasonCodes: ["DENY_MOVING"] } as const;
    const first = foldReport(fresh, report({ seq: 1, ...blocked }), RECEIVED);
    const again = foldReport(first.state, report({ seq: 2, ...blocked }), RECEIVED);
    const other = foldReport(
      again.state,
      report({ seq: 3, status: "blocked", reasonCodes: ["DENY_LOW_BATTERY"] }),
      RECEIVED,
    );
    assert.deepEqual([first.timeline?.event, again.timeline, other.timeline?.event], ["blocked", null, "blocked"]);
    assert.equal(again.state.statusSince, first.state.statusSince);
  });

  it("tells how an earlier assignment ended although a newer one decides the status", () => {
    const applying = foldReport(fresh, report({ seq: 1, desiredStateRevision: OLDER, status: "applying" }), RECEIVED);
    const ended = { desiredStateRevision: OLDER, status: "rolled_back", reasonCodes: ["ROLLBACK_APPLIED"] } as const;
    const { state, timeline } = foldReport(applying.state, report({ seq: 2, ...ended }), RECEIVED);
    assert.deepEqual([state.status, timeline?.event, timeline?.revision], ["pending", "rolled_back", OLDER]);
  });

  it("keeps what is committed until the vehicle says otherwise", () => {
    const committed = foldReport(fresh, report({ seq: 1 }), RECEIVED).state;
    const trial = { ...STACK, version: "2.0.0", manifestDigest: `sha256:${"2".repeat(64)}` };
    const trying = foldReport(
      committed,
      report({ seq: 2, status: "applying", stack: trial, set: "staged" }),
      RECEIVED,
    ).state;
    assert.deepEqual([trying.actualStack, trying.committed], [trial, STACK]);
    assert.equal(foldReport(trying, report({ seq: 3, committed: null }), RECEIVED).state.committed, null);
  });

  it("tells of drift when something new drifted and when all of it is over, since the vehicle first said so", () => {
    const drifted = (probe: string, since: string): Drift => ({
      drift: "node-left",
      workload: "planner",
      probe,
      required: true,
      seen: false,
      since,
      ageMs: 0,
    });
    const early = drifted("planner-there", "2026-11-23T09:40:00.000Z");
    const other = drifted("map-there", "2026-11-23T09:41:00.000Z");
    // As an agent tells it that was restarted.
    const again = { ...early, since: "2026-11-23T09:50:00.000Z" };
    const ready = foldReport(fresh, report({ seq: 1, drift: [] }), RECEIVED);
    const one = foldReport(ready.state, report({ seq: 2, drift: [early] }), RECEIVED);
    const two = foldReport(one.state, report({ seq: 3, drift: [again, other] }), RECEIVED);
    const fewer = foldReport(two.state, report({ seq: 4, drift: [other] }), RECEIVED);
    const silent = foldReport(fewer.state, report({ seq: 5 }), RECEIVED);
    const over = foldReport(silent.state, report({ seq: 6, drift: [] }), RECEIVED);
    const events = [ready, one, two, fewer, silent, over].map(({ drift }) => drift?.event ?? null);
    assert.deepEqual(events, [null, "drifted", "drifted", null, null, "drift_cleared"]);
    assert.deepEqual(two.state.drift, [early, other]);
    assert.deepEqual(two.drift?.drift, ["node-left"]);
    assert.deepEqual(silent.state.drift, [other], "a report that does not speak of it leaves it");
    assert.deepEqual([one.timeline, one.state.status, over.state.drift], [null, "converged", []]);
    const next = { ...STACK, manifestDigest: `sha256:${"2".repeat(64)}` };
    assert.deepEqual(foldReport(one.state, report({ seq: 3, stack: next }), RECEIVED).state.drift, [], "another stack");
  });

  it("ends the same whatever the order of arrival, and never lowers the floor (H19)", () => {
    const reports = fc
      .array(
        fc.record(
          {
            status: fc.constantFrom(
              "converged" as const,
              "applying" as const,
              "blocked" as const,
              "failed" as const,
              "rolled_back" as const,
            ),
            revision: fc.constantFrom(REVISION, OLDER),
            sequence: fc.nat({ max: 9 }),
          },
          { noNullPrototype: true },
        ),
        { minLength: 1, maxLength: 8 },
      )
      .map((all) =>
        all.map(({ status, revision, sequence }, index) =>
          report({ seq: index + 1, status, desiredStateRevision: revision, sequence }),
        ),
      );
    const order = reports.chain((all) =>
      fc.record({ all: fc.constant(all), shuffled: fc.shuffledSubarray(all, { minLength: all.length }) }),
    );
    fc.assert(
      fc.property(order, ({ all, shuffled }) => {
        const fold = (some: readonly ReconcileReport[]) =>
          some.reduce((state, one) => foldReport(state, one, RECEIVED).state, fresh);
        const { statusSince: _since, ...straight } = fold(all);
        const { statusSince: _other, ...mixed } = fold(shuffled);
        const { committed: _a, ...visible } = straight;
        const { committed: _b, ...seen } = mixed;
        assert.deepEqual(seen, visible);
        assert.equal(mixed.sequenceFloor, Math.max(...all.map(({ sequence }) => sequence)));
      }),
    );
  });
});
