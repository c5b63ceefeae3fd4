import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Drift, Evidence, ProbeReading } from "@muto/spec";
import { TestApi } from "./server/test-api.ts";

const SINCE = "2026-11-23T09:58:00.000Z";
const nodeLeft: Drift = {
  drift: "node-left",
  workload: "planner",
  probe: "planner-there",
  required: true,
  seen: false,
  since: SINCE,
  ageMs: 400,
};
const slow: Drift = {
  drift: "topic-slow",
  workload: "lidar",
  probe: "points-flow",
  required: 10,
  seen: 4.2,
  since: SINCE,
  ageMs: 90,
};
const reading: ProbeReading = {
  probe: "planner-there",
  workload: "planner",
  probeKind: "node",
  met: false,
  problem: "absent",
  required: true,
  seen: false,
  ageMs: 400,
};

describe("drift, as vehicles report it", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
  });

  const view = async (id: string) => (await api.ask("GET", `/vehicles/${id}`)).body.data;

  async function converged(id: string) {
    const vehicle = await api.enrolled(id);
    const stack = await api.release(`${id}-1.0`);
    const revision = await api.assign(stack, [id]);
    const about = { desiredStateRevision: revision, sequence: 1, status: "converged", stack, set: "active" } as const;
    const tell = async (drift?: readonly Drift[]) =>
      await vehicle.send(vehicle.report({ ...about, committed: stack, ...(drift !== undefined && { drift }) }));
    await tell([]);
    return { vehicle, stack, tell };
  }

  it("stands beside a status that stays converged, with its evidence, and leaves a timeline", async () => {
    const { tell } = await converged("drift-1");
    assert.deepEqual((await view("drift-1")).drift, []);
    await tell([nodeLeft]);
    await tell([nodeLeft, slow]);
    const seen = await view("drift-1");
    assert.deepEqual([seen.status, seen.reasonCodes, seen.drift], ["converged", [], [nodeLeft, slow]]);
    await tell();
    assert.deepEqual((await view("drift-1")).drift, [nodeLeft, slow], "not spoken of is not over");
    await tell([]);
    const over = await view("drift-1");
    assert.deepEqual(over.drift, []);
    const told = over.timeline.map((one: { event: string; drift?: string[] }) => [one.event, one.drift ?? []]);
    assert.deepEqual(told.toReversed().slice(-4), [
      ["ready", []],
      ["drifted", ["node-left"]],
      ["drifted", ["topic-slow"]],
      ["drift_cleared", []],
    ]);
  });

  it("is explained in plain words: what, where, since when, and what to do", async () => {
    const { tell, vehicle, stack } = await converged("drift-2");
    await tell([nodeLeft]);
    await vehicle.sendHealth(vehicle.health({ stack, probes: [reading] }));
    const explained = (await api.ask("GET", "/vehicles/drift-2/explain")).body.data;
    assert.deepEqual(explained.reasons, []);
    const [one] = explained.drift;
    assert.deepEqual(one.drift, nodeLeft);
    assert.match(one.summary, /^planner, planner-there: A node .* no longer in the ROS graph\.$/);
    assert.ok(one.operatorAction.length > 20);
    assert.deepEqual(explained.probes, [reading]);
    assert.deepEqual((await view("drift-2")).probes, [reading]);
  });

  it("tells the last change that failed with its evidence, also when the vehicle has converged since", async () => {
    const { vehicle, stack } = await converged("failed-1");
    const explained = async () => (await api.ask("GET", "/vehicles/failed-1/explain")).body.data;
    assert.equal((await explained()).lastFailure, null);
    assert.equal((await explained()).enrolment.state, "accepted");
    const bad = await api.release("failed-1-bad");
    const revision = await api.assign(bad, ["failed-1"]);
    const about = { desiredStateRevision: revision, sequence: 2, stack, set: "active", committed: stack } as const;
    const failed: Evidence = {
      kind: "probe",
      reasonCode: "READINESS_TIMEOUT",
      probe: "planner-there",
      probeKind: "node",
      met: false,
      problem: "absent",
      before: null,
      attempts: 3,
      waitedSec: 20,
    };
    const codes = ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"] as const;
    await vehicle.send(vehicle.report({ ...about, status: "rolled_back", reasonCodes: codes, evidence: [failed] }));
    const barred: Evidence = {
      kind: "quarantine",
      reasonCode: "READINESS_TIMEOUT",
      digest: bad.manifestDigest,
      since: SINCE,
    };
    await vehicle.send(
      vehicle.report({ ...about, status: "failed", reasonCodes: ["READINESS_TIMEOUT"], evidence: [barred] }),
    );
    await vehicle.send(vehicle.report({ ...about, status: "converged" }));
    const { status, reasons, lastFailure } = await explained();
    assert.deepEqual([status, reasons], ["converged", []]);
    assert.deepEqual([lastFailure.stack, lastFailure.report.status], [bad, "rolled_back"]);
    assert.deepEqual(lastFailure.report.evidence, [failed]);
  });

  it("shows no probes of another stack than the one that runs", async () => {
    const { vehicle } = await converged("drift-3");
    const other = await api.release("drift-3-other");
    await vehicle.sendHealth(vehicle.health({ stack: other, probes: [reading] }));
    assert.deepEqual((await view("drift-3")).probes, []);
  });

  it("is counted over the fleet, and the vehicles can be listed", async () => {
    const one = await converged("drift-4");
    const two = await converged("drift-5");
    await one.tell([nodeLeft, { ...nodeLeft, probe: "map-there" }]);
    await two.tell([slow, nodeLeft]);
    const summary = (await api.ask("GET", "/fleet/summary?selector=id%3Ddrift-4")).body.data;
    assert.deepEqual([summary.drifting, summary.topDrift], [1, [{ drift: "node-left", vehicles: 1 }]]);
    const listed = (await api.ask("GET", "/vehicles?drifting=true&search=drift-")).body.data;
    const ids = listed.map(({ id }: { id: string }) => id);
    assert.ok(ids.includes("drift-4") && ids.includes("drift-5") && !ids.includes("drift-1"));
    const metrics = (await api.ask("GET", "/metrics", { outside: true })).text;
    assert.match(metrics, /muto_vehicle_drift\{drift="node-left"\} 3/);
    const well = (await api.ask("GET", "/vehicles?drifting=false&search=drift-")).body.data;
    assert.ok(!well.some(({ id }: { id: string }) => id === "drift-4"));
  });

  it("is nothing that a forger can tell: an unsigned report and a heartbeat change none of it (H18)", async () => {
    const { tell, vehicle, stack } = await converged("drift-6");
    await tell([nodeLeft]);
    await vehicle.sendHealth(vehicle.health({ stack, drift: [] }));
    assert.deepEqual((await view("drift-6")).drift, [nodeLeft]);
  });
});
