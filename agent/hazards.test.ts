import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { watchInvariants } from "./model/invariants.ts";
import { modelAssignment, modelRelease } from "./model/release.ts";
import { ModelVehicle } from "./model/vehicle.ts";
import { modelOffer } from "./model/verifier.ts";
import { calmLine } from "./safety/example-vehicle.ts";
import {
  assign,
  drive,
  first,
  lastSays,
  park,
  passes,
  runs,
  second,
  third,
  unready,
  vehicleOnFirst,
} from "./model/story.ts";

void describe("hazards", () => {
  void test("H2: the agent dies at any time and the stack does not notice; the next agent adopts it", async () => {
    const vehicle = await vehicleOnFirst();
    const before = vehicle.runtime.history.length;
    drive(vehicle);
    for (let count = 0; count < 5; count++) {
      vehicle.kill();
      await passes(vehicle, 3);
    }
    assert.equal(vehicle.runtime.history.length, before);
    runs(vehicle, first);
  });

  void test("H3: in motion a dead workload is restarted, and nothing else is touched", async () => {
    const vehicle = await vehicleOnFirst();
    drive(vehicle);
    const [victim] = vehicle.runtime.running();
    assert.ok(victim !== undefined);
    const from = vehicle.runtime.history.length;
    vehicle.runtime.end(victim.instanceId, 139);
    await passes(vehicle, 8);
    const { set, workload } = victim;
    assert.deepEqual(vehicle.runtime.history.slice(from), [`exit ${set} ${workload}`, `start ${set} ${workload}`]);
  });

  void test("H4: all workloads die at speed hours after commit; the set before it starts only at a standstill", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    await vehicle.settle();
    runs(vehicle, second);
    vehicle.advance(7_200_000);
    drive(vehicle);
    for (let count = 0; count < 10; count++) {
      for (const { instanceId } of vehicle.runtime.running()) vehicle.runtime.end(instanceId, 139);
      await passes(vehicle, 12);
      assert.ok(vehicle.runtime.runningSets().every((set) => set === second.manifestDigest));
    }
    lastSays(vehicle, "blocked", "CRASH_LOOP_DETECTED", "DENY_MOVING");
    park(vehicle);
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED");
    assert.equal(vehicle.state.previous, null, "a failed set is not the one to return to");
  });

  void test("H4: the computer restarts while a return waits for the gates; what failed is not started again", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    await vehicle.settle();
    drive(vehicle);
    for (let count = 0; count < 100 && vehicle.state.rollback === null; count++) {
      for (const { instanceId } of vehicle.runtime.running()) vehicle.runtime.end(instanceId, 139);
      await passes(vehicle, 12);
    }
    assert.equal(vehicle.state.rollback?.phase, "pending");
    vehicle.reboot();
    watchInvariants(vehicle).rebooted();
    const from = vehicle.runtime.history.length;
    drive(vehicle);
    await passes(vehicle, 20);
    runs(vehicle, first);
    assert.ok(vehicle.runtime.history.slice(from).every((line) => !line.includes(second.manifestDigest)));
    lastSays(vehicle, "rolled_back", "CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED");
  });

  void test("H5: the light turns green between the announcement and the stop; nothing was stopped", async () => {
    const vehicle = await vehicleOnFirst();
    const from = vehicle.runtime.history.length;
    assign(vehicle, second, 2);
    for (let count = 0; count < 100 && vehicle.told.at(-1) === null; count++) await vehicle.pass();
    assert.notEqual(vehicle.told.at(-1), null, "the vehicle was told");
    drive(vehicle);
    await passes(vehicle, 5);
    assert.equal(vehicle.told.at(-1), null, "the announcement was taken back");
    assert.equal(vehicle.runtime.history.length, from);
    lastSays(vehicle, "blocked", "DENY_MOVING");
    park(vehicle);
    await vehicle.settle();
    runs(vehicle, second);
  });

  void test("H5: where the vehicle must acknowledge a change, it waits for the answer to this very change", async () => {
    const changeInProgress = { acknowledgementRequired: true, acknowledgementTimeoutSec: 10 };
    const vehicle = new ModelVehicle({ changeInProgress });
    vehicle.publish(first);
    assign(vehicle, first, 1);
    await passes(vehicle, 60);
    lastSays(vehicle, "blocked", "DENY_LOCAL_HOLD");
    runs(vehicle, null);
    vehicle.line = { ...calmLine, changeAcknowledged: "01HZ000000000000000000000Z" };
    await passes(vehicle, 60);
    runs(vehicle, null);
    for (let count = 0; count < 60; count++) {
      vehicle.line = { ...calmLine, changeAcknowledged: vehicle.told.at(-1) ?? null };
      await passes(vehicle, 1);
    }
    runs(vehicle, first);
  });

  void test("H7: staging the next release touches neither the committed set nor the one before it", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    await vehicle.settle();
    drive(vehicle);
    assign(vehicle, third, 3);
    await passes(vehicle, 30);
    assert.equal(vehicle.state.staged?.manifestDigest, third.manifestDigest);
    for (const release of [first, second, third]) assert.ok(vehicle.runtime.prepared.has(release.manifestDigest));
    runs(vehicle, second);
  });

  void test("H9: somebody pruned the way back; it is mended before the switch, while it runs", async () => {
    const vehicle = await vehicleOnFirst();
    vehicle.runtime.prepared.delete(first.manifestDigest);
    vehicle.advance(25 * 3_600_000);
    park(vehicle);
    assign(vehicle, second, 2);
    await vehicle.settle();
    assert.ok(vehicle.journal.some(({ kind }) => kind === "target-damaged"));
    assert.ok(vehicle.runtime.prepared.has(first.manifestDigest));
    runs(vehicle, second);
  });

  void test("H10: a withheld start stages and does not switch; the next assignment lets it go at once, offline", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2, { start: "withheld" });
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "pending");
    vehicle.networkUp = false;
    assign(vehicle, second, 3);
    await vehicle.settle();
    runs(vehicle, second);
    lastSays(vehicle, "converged");
  });

  void test("H10: a start whose time is over waits to be renewed, and what runs goes on", async () => {
    const vehicle = await vehicleOnFirst();
    drive(vehicle);
    assign(vehicle, second, 2, { startBefore: "2026-06-01T03:00:00.000Z" });
    await passes(vehicle, 20);
    vehicle.advance(3 * 3_600_000);
    park(vehicle);
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "blocked", "DESIRED_STATE_REJECTED");
    assign(vehicle, second, 3);
    await vehicle.settle();
    runs(vehicle, second);
  });

  void test("H14: a forged offer is refused once and bans nothing; a full disk is waited out", async () => {
    const vehicle = await vehicleOnFirst();
    const real = modelOffer(modelAssignment(second, 2));
    const forged = { ...real, envelope: { ...real.envelope, payload: Buffer.from("{}").toString("base64") } };
    vehicle.offer(forged);
    await vehicle.settle();
    lastSays(vehicle, "failed", "VERIFY_SIGNATURE_FAILED");
    const told = vehicle.reports.length;
    vehicle.offer(forged);
    await passes(vehicle, 5);
    assert.equal(vehicle.reports.length, told, "once");
    vehicle.freeMb = 20;
    vehicle.offer(real);
    await vehicle.settle();
    lastSays(vehicle, "blocked", "INSUFFICIENT_DISK");
    vehicle.freeMb = 100_000;
    await vehicle.settle();
    runs(vehicle, second);
  });

  void test("H15: a crash-looper is not let in again by a re-issue, only by an operator's retry", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, unready, 2);
    await vehicle.settle();
    lastSays(vehicle, "rolled_back", "READINESS_TIMEOUT", "ROLLBACK_APPLIED");
    const from = vehicle.runtime.history.length;
    assign(vehicle, unready, 3);
    await vehicle.settle();
    assert.equal(vehicle.runtime.history.length, from, "nothing was started or stopped");
    lastSays(vehicle, "failed", "READINESS_TIMEOUT");
    assert.equal(vehicle.lastReport?.evidence.at(0)?.kind, "quarantine");
    vehicle.runtime.behaviours.set(unready.manifestDigest, second.behaviour);
    assign(vehicle, unready, 4, { retry: true });
    await vehicle.settle();
    runs(vehicle, unready);
    lastSays(vehicle, "converged");
  });

  void test("H22: the computer restarts again and again in probation; the third time goes back", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    for (let count = 0; count < 200 && vehicle.state.trial?.phase !== "probation"; count++) await vehicle.pass();
    for (let boots = 0; boots < 3; boots++) {
      assert.notEqual(vehicle.state.trial, null);
      vehicle.reboot();
      watchInvariants(vehicle).rebooted();
      await passes(vehicle, 20, 100);
    }
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED");
    const evidence = vehicle.lastReport?.evidence.find((item) => item.kind === "rollback");
    assert.equal(evidence?.kind === "rollback" && evidence.reboots, 3);
  });

  void test("H22: probation counts powered seconds, across restarts of agent and computer", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    for (let count = 0; count < 200 && vehicle.state.trial?.phase !== "probation"; count++) await vehicle.pass();
    await passes(vehicle, 35);
    vehicle.kill();
    await passes(vehicle, 2);
    vehicle.reboot();
    watchInvariants(vehicle).rebooted();
    vehicle.advance(3_600_000);
    await passes(vehicle, 10);
    assert.notEqual(vehicle.state.trial, null, "an hour without power is no probation");
    await vehicle.settle();
    assert.equal(vehicle.state.active?.manifestDigest, second.manifestDigest);
  });

  void test("H23: a probe that the old stack did not meet either stands in the evidence, and does not spoil the way back", async () => {
    const vehicle = await vehicleOnFirst();
    vehicle.runtime.unmeetable.add("lidar-up");
    assign(vehicle, second, 2);
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "READINESS_TIMEOUT", "ROLLBACK_APPLIED");
    const probe = vehicle.lastReport?.evidence.find((item) => item.kind === "probe" && item.probe === "lidar-up");
    assert.ok(probe?.kind === "probe" && !probe.met && probe.before === false);
  });

  void test("H24: a stack that hangs in probation is restarted, and committed only when it was seen ready again", async () => {
    const alive = { kind: "tcp", name: "alive", workload: "control", port: 9000, liveness: true } as const;
    const hanging = modelRelease({ version: "6.1.0", workloads: ["control"], health: { probes: [alive] } });
    const vehicle = await vehicleOnFirst();
    vehicle.publish(hanging);
    assign(vehicle, hanging, 2);
    for (let count = 0; count < 200 && vehicle.state.trial?.phase !== "probation"; count++) await vehicle.pass();
    vehicle.runtime.unmeetable.add("alive");
    const from = vehicle.runtime.history.length;
    await passes(vehicle, 750, 200);
    assert.ok(vehicle.runtime.history.slice(from).includes(`stop ${hanging.manifestDigest} control`));
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "READINESS_TIMEOUT", "ROLLBACK_APPLIED");
  });

  void test("H24: a committed stack that hangs again and again is a crash loop, and is left for the one before it", async () => {
    const alive = { kind: "tcp", name: "alive", workload: "control", port: 9000, liveness: true } as const;
    const hanging = modelRelease({ version: "6.2.0", workloads: ["control"], health: { probes: [alive] } });
    const vehicle = await vehicleOnFirst();
    vehicle.publish(hanging);
    assign(vehicle, hanging, 2);
    await vehicle.settle();
    runs(vehicle, hanging);
    vehicle.runtime.unmeetable.add("alive");
    await passes(vehicle, 400);
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED");
    const evidence = vehicle.lastReport?.evidence.find((item) => item.kind === "workload");
    assert.ok(evidence?.kind === "workload" && evidence.problem === "hung" && evidence.exits === 4);
  });
});
