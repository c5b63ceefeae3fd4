import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { ReconcileReport, StackRef } from "@muto/spec";
import { advanceRollout } from "../controller.ts";
import { OFFLINE_AFTER_MS, TestApi, VIEWER } from "./server/test-api.ts";
import type { Answer, JsonAnswer, TestVehicle } from "./server/test-api.ts";

describe("rollouts over HTTP", () => {
  let api: TestApi;
  let good: StackRef;
  let next: StackRef;
  let fleets = 0;
  before(async () => {
    api = await TestApi.start();
    good = await api.release("1.0.0");
    next = await api.release("2.0.0");
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
  });

  /** Vehicles of one ring that run the good release by their own signed word; the first is the canary. */
  const fleetOf = async (
    size: number,
  ): Promise<{ readonly ring: string; readonly vehicles: readonly TestVehicle[] }> => {
    const ring = `r${++fleets}`;
    const vehicles: TestVehicle[] = [];
    for (let index = 0; index < size; index++) {
      vehicles.push(await api.enrolled(`${ring}-${index}`, { ring, model: "v3", region: "eu" }));
    }
    const ids = vehicles.map(({ id }) => id);
    const revision = await api.assign(good, ids);
    for (const vehicle of vehicles) {
      await vehicle.sendHealth(vehicle.health());
      const done = {
        sequence: 1,
        desiredStateRevision: revision,
        stack: good,
        committed: good,
        set: "active",
      } as const;
      await accepted(vehicle.send(vehicle.report(done)));
    }
    return { ring, vehicles };
  };
  const accepted = async (answer: Promise<Answer>) => {
    const { status, body } = await answer;
    assert.equal(status, 200);
    for (const receipt of body.data.receipts) assert.equal(receipt.result, "stored");
  };
  const create = async (ring: string, more: JsonAnswer = {}, headers: Record<string, string> = {}) => {
    const body = {
      target: { type: "fleetSelector", selector: `ring=${ring}` },
      stack: { name: next.name, version: next.version },
      ...more,
    };
    return await api.ask("POST", "/rollouts", { body, headers });
  };
  const begun = async (ring: string, more: JsonAnswer = {}): Promise<string> => {
    const answer = await create(ring, more);
    assert.equal(answer.status, 201, answer.text);
    return answer.body.data.id;
  };
  const run = async (id: string) => {
    const ports = { ...api.context, offlineAfterMs: OFFLINE_AFTER_MS };
    while ((await advanceRollout(api.database.db, id, ports))?.kind !== "wait");
  };
  const show = async (id: string): Promise<JsonAnswer> => (await api.ask("GET", `/rollouts/${id}`)).body.data;
  /** A signed report about what the vehicle is offered now. */
  const say = async (vehicle: TestVehicle, more: Partial<ReconcileReport>) => {
    const { data } = (await api.ask("GET", `/vehicles/${vehicle.id}`)).body;
    const offered = (await api.ask("GET", `/vehicles/${vehicle.id}/explain`)).body.data.assignment;
    const report = vehicle.report({
      sequence: offered.sequence,
      desiredStateRevision: data.desiredRevision,
      stack: offered.stack,
      committed: more.status === "converged" ? offered.stack : good,
      set: "active",
      ...more,
    });
    await accepted(vehicle.send(report));
  };
  const wants = async (vehicle: TestVehicle): Promise<string> => {
    const { data } = (await api.ask("GET", `/vehicles/${vehicle.id}/explain`)).body;
    return `${data.assignment.stack.version} ${data.assignment.start}`;
  };
  const actions = async (id: string): Promise<readonly string[]> => {
    const rollout = await show(id);
    const log = await api.ask("GET", `/audit-log?correlationId=${rollout.correlationId}&limit=200`);
    return log.body.data.map((entry: JsonAnswer) => entry.action).toReversed();
  };

  it("plans without changing anything", async () => {
    const { ring, vehicles } = await fleetOf(3);
    const odd = await api.enrolled(`${ring}-odd`, { ring, model: "v4" });
    const body = {
      target: { type: "fleetSelector", selector: `ring=${ring}` },
      stack: { name: next.name, version: next.version },
      policy: { applyWindow: { startLocal: "02:00", endLocal: "05:00" } },
    };
    const answer = await api.ask("POST", "/rollouts?dryRun=true", { body });
    assert.equal(answer.status, 200, answer.text);
    const { data } = answer.body;
    assert.equal(data.members, 3);
    assert.deepEqual(data.canaries, [vehicles[0]?.id]);
    assert.deepEqual(data.groups, [{ region: "eu", model: "v3", members: 3, canaries: [vehicles[0]?.id] }]);
    assert.deepEqual(data.incompatible.vehicles, [{ vehicleId: odd.id, reasonCode: "INCOMPATIBLE_MODEL" }]);
    assert.equal(data.refusing.count, 3, "nobody told its time zone, so every window counts as closed");
    assert.deepEqual(data.refusing.vehicles[0].reasonCodes, ["DENY_OUTSIDE_WINDOW"]);
    const rollouts = await api.ask("GET", `/rollouts?stack=${next.name}`);
    assert.equal(rollouts.body.metadata.totalItems, 0);
    assert.equal(await wants(vehicles[0] ?? odd), "1.0.0 allowed");
  });

  it("moves a release through canary, soak, wave and watch on signed reports, and shows every number", async () => {
    const { ring, vehicles } = await fleetOf(3);
    const [canary, ...others] = vehicles;
    assert.ok(canary);
    const answer = await create(ring, { settings: { soakSec: 60, watchSec: 120 } });
    assert.equal(answer.status, 201, answer.text);
    const { id } = answer.body.data;
    assert.equal(answer.headers["location"], `/api/v1/rollouts/${id}`);
    assert.equal(answer.body.data.next.step, "judge-canaries");
    assert.equal(await wants(canary), "2.0.0 allowed");
    for (const other of others) assert.equal(await wants(other), "1.0.0 allowed");

    await say(canary, { status: "converged" });
    await run(id);
    let rollout = await show(id);
    assert.deepEqual([rollout.stage, rollout.next.step, rollout.canaryHealthy], ["soak", "end-soak", true]);
    assert.deepEqual([rollout.verdict.verdict, rollout.verdict.rule], ["pass", "answered"]);
    for (const other of others) assert.equal(await wants(other), "1.0.0 allowed");
    api.pass(60_000);
    await run(id);
    rollout = await show(id);
    assert.deepEqual([rollout.stage, rollout.counts.members, rollout.counts.converged], ["wave", 3, 1]);
    for (const other of others) await say(other, { status: "converged" });
    await run(id);
    api.pass(120_000);
    await run(id);
    rollout = await show(id);
    assert.deepEqual([rollout.status, rollout.outcome, rollout.next.step], ["completed", "clean", "nothing"]);
    assert.deepEqual(
      rollout.stages.map((stage: JsonAnswer) => [stage.stage, stage.endedAt !== null, stage.verdict.verdict]),
      [
        ["canary", true, "pass"],
        ["soak", true, "pass"],
        ["wave", true, "pass"],
        ["watch", true, "pass"],
      ],
    );
    assert.ok(rollout.safetyChecks.every((check: JsonAnswer) => check.passed === true));
    const waveState = await api.ask("GET", `/desired-states/${rollout.stages[2].desiredStateRevision}`);
    assert.deepEqual(waveState.body.data.rollout, { strategy: "canary", rolloutId: id, waveId: "wave-1" });
    const members = await api.ask("GET", `/rollouts/${id}/vehicles?class=converged&stage=wave`);
    assert.deepEqual(
      members.body.data.map((member: JsonAnswer) => [member.vehicleId, member.returnsTo.version]),
      others.map((other) => [other.id, "1.0.0"]),
    );
  });

  it("turns back when the canary fails, names it, and leaves the others alone", async () => {
    const { ring, vehicles } = await fleetOf(3);
    const [canary, ...others] = vehicles;
    assert.ok(canary);
    const id = await begun(ring);
    await say(canary, { status: "rolled_back", reasonCodes: ["CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED"] });
    await run(id);
    const rollout = await show(id);
    assert.deepEqual([rollout.status, rollout.verdict.rule], ["rolling_back", "reason-limit"]);
    assert.deepEqual(
      rollout.verdict.vehicles.map((each: JsonAnswer) => [each.vehicleId, each.class]),
      [[canary.id, "rolledBack"]],
    );
    assert.equal(await wants(canary), "1.0.0 allowed");
    await say(canary, { status: "converged" });
    await run(id);
    assert.deepEqual([(await show(id)).status, (await show(id)).outcome], ["rolled_back", "clean"]);
    for (const other of others) assert.equal(await wants(other), "1.0.0 allowed");
    assert.deepEqual(await actions(id), [
      "rollout.created",
      "rollout.verdict-changed",
      "rollout.verdict-changed",
      "rollout.rollback-started",
      "rollout.rolled-back",
    ]);
  });

  it("does not move on reports of another vehicle's key", async () => {
    const { ring, vehicles } = await fleetOf(2);
    const [canary, other] = vehicles;
    assert.ok(canary && other);
    const id = await begun(ring);
    const forged = other.report({ vehicleId: canary.id, sequence: 2, status: "converged" });
    const { body } = await other.send(forged);
    assert.equal(body.data.receipts[0].result, "refused");
    await run(id);
    assert.equal((await show(id)).counts.converged, 0);
  });

  it("answers the same request with the same rollout", async () => {
    const { ring } = await fleetOf(2);
    const key = { "idempotency-key": `key-${ring}` };
    const first = await create(ring, {}, key);
    const second = await create(ring, {}, key);
    assert.equal(first.status, 201);
    assert.deepEqual(second.body, first.body);
    const other = await create(ring, { comment: "not the same" }, key);
    assert.deepEqual([other.status, other.body.error.code], [409, "CONFLICT_IDEMPOTENCY_KEY"]);
    const pause = await api.ask("POST", `/rollouts/${first.body.data.id}/pause`);
    assert.equal(pause.status, 200);
    assert.equal((await api.ask("POST", `/rollouts/${first.body.data.id}/pause`)).body.data.status, "paused");
    assert.deepEqual(await actions(first.body.data.id), [
      "rollout.created",
      "rollout.verdict-changed",
      "rollout.paused",
    ]);
  });

  it("refuses a vehicle to two rollouts, names the other, and takes its place when asked (H27)", async () => {
    const { ring, vehicles } = await fleetOf(2);
    const [canary] = vehicles;
    assert.ok(canary);
    const id = await begun(ring);
    const refused = await create(ring);
    assert.deepEqual([refused.status, refused.body.error.code], [409, "CONFLICT_ROLLOUT_MEMBER"]);
    assert.deepEqual(
      refused.body.error.details.conflicts,
      vehicles.map((vehicle) => ({ vehicleId: vehicle.id, rolloutId: id })),
    );
    const direct = await api.ask("POST", "/desired-states", {
      body: { target: { type: "vehicleList", vehicleIds: [canary.id] }, stack: { name: "autonomy", version: "1.0.0" } },
    });
    assert.deepEqual([direct.status, direct.body.error.code], [409, "CONFLICT_ROLLOUT_MEMBER"]);
    const newer = await begun(ring, { supersedes: id });
    assert.deepEqual(
      [(await show(id)).outcome, (await show(id)).supersededBy, (await show(newer)).supersedes],
      ["superseded", newer, id],
    );
    const unknown = await create(ring, { supersedes: `ro_${api.newId()}` });
    assert.deepEqual([unknown.status, unknown.body.error.code], [400, "BODY_INVALID"]);
    assert.equal((await show(newer)).status, "active");
  });

  it("pauses, counts whom the news has not reached, and goes on (H10)", async () => {
    const { ring, vehicles } = await fleetOf(3);
    const [canary, second, third] = vehicles;
    assert.ok(canary && second && third);
    const id = await begun(ring, { settings: { soakSec: 0 } });
    await say(canary, { status: "converged" });
    await run(id);
    api.pass(1000);
    await second.poll("&sequenceFloor=2");
    await third.poll("&sequenceFloor=2");
    const paused = await api.ask("POST", `/rollouts/${id}/pause`, { body: { comment: "lunch" } });
    assert.equal(paused.status, 200, paused.text);
    assert.deepEqual(paused.body.data.pause.by, { type: "operator", id: "alice" });
    assert.equal(paused.body.data.mayStillStart.vehicles, 2);
    assert.equal(await wants(second), "2.0.0 withheld");
    await second.poll("&sequenceFloor=3");
    assert.equal((await show(id)).mayStillStart.vehicles, 1);
    const resumed = await api.ask("POST", `/rollouts/${id}/resume`);
    assert.deepEqual([resumed.status, resumed.body.data.status], [200, "active"]);
    assert.equal(await wants(second), "2.0.0 allowed");
    const refused = await api.ask("POST", `/rollouts/${id}/resume`, { body: { how: "acceptInconclusive" } });
    assert.deepEqual([refused.status, refused.body.error.code], [409, "CONFLICT_ROLLOUT_STATE"]);
    const aborted = await api.ask("POST", `/rollouts/${id}/abort`);
    assert.deepEqual([aborted.body.data.status, aborted.body.data.outcome], ["completed", "aborted"]);
    const late = await api.ask("POST", `/rollouts/${id}/pause`);
    assert.deepEqual([late.status, late.body.error.code], [409, "CONFLICT_ROLLOUT_STATE"]);
  });

  it("waits for a person when its canary cannot be reached, and lets him accept, replace or roll back", async () => {
    const { ring, vehicles } = await fleetOf(3);
    const [, second] = vehicles;
    assert.ok(second);
    const id = await begun(ring, { settings: { stageDeadlineSec: 3600 } });
    api.pass(3_600_000);
    await second.sendHealth(second.health());
    await run(id);
    let rollout = await show(id);
    assert.deepEqual([rollout.status, rollout.pause.cause], ["paused", "inconclusive"]);
    assert.deepEqual([rollout.verdict.verdict, rollout.verdict.rule], ["inconclusive", "stage-deadline"]);
    assert.deepEqual(rollout.verdict.vehicles[0].class, "offline");
    const replaced = await api.ask("POST", `/rollouts/${id}/resume`, { body: { how: "replaceCanaries" } });
    assert.deepEqual(replaced.body.data.groups[0].canaries, [second.id]);
    assert.equal(await wants(second), "2.0.0 allowed");
    await say(second, { status: "failed", reasonCodes: ["APPLY_FAILED"] });
    await run(id);
    rollout = await show(id);
    assert.equal(rollout.status, "rolling_back");
    const refused = await api.ask("POST", `/rollouts/${id}/pause`);
    assert.deepEqual([refused.status, refused.body.error.details.status], [409, "rolling_back"]);
    const again = await api.ask("POST", `/rollouts/${id}/rollback`);
    assert.equal(again.body.data.status, "rolling_back", "asking again changes nothing");
    const resumed = await api.ask("POST", `/rollouts/${id}/resume`);
    assert.equal(resumed.status, 409);
  });

  it("rolls back one stage of a finished rollout on request", async () => {
    const { ring, vehicles } = await fleetOf(2);
    const [canary, other] = vehicles;
    assert.ok(canary && other);
    const id = await begun(ring, { settings: { soakSec: 0, watchSec: 0 } });
    await say(canary, { status: "converged" });
    await run(id);
    await say(other, { status: "converged" });
    await run(id);
    assert.equal((await show(id)).status, "completed");
    const back = await api.ask("POST", `/rollouts/${id}/rollback`, { body: { stage: "wave" } });
    assert.deepEqual([back.status, back.body.data.status], [200, "rolling_back"]);
    assert.deepEqual([await wants(canary), await wants(other)], ["2.0.0 allowed", "1.0.0 allowed"]);
    await say(other, { status: "converged" });
    await run(id);
    assert.equal((await show(id)).status, "rolled_back");
  });

  it("withdraws a release: rollouts of it turn back, who has not begun is told not to, and it is never assigned again", async () => {
    const doomed = await api.release("3.0.0");
    const { ring, vehicles } = await fleetOf(2);
    const [canary] = vehicles;
    assert.ok(canary);
    const direct = await api.enrolled(`${ring}-direct`, { model: "v3" });
    await api.ask("POST", "/desired-states", {
      body: {
        target: { type: "vehicleList", vehicleIds: [direct.id] },
        stack: { name: doomed.name, version: "3.0.0" },
      },
    });
    const id = await begun(ring, { stack: { name: doomed.name, version: "3.0.0" } });
    const withdrawn = await api.ask("POST", `/releases/${doomed.name}/3.0.0/withdraw`, { body: { comment: "burns" } });
    assert.equal(withdrawn.status, 200, withdrawn.text);
    assert.equal(withdrawn.body.data.withdrawn.comment, "burns");
    assert.deepEqual([await wants(canary), await wants(direct)], ["1.0.0 allowed", "3.0.0 withheld"]);
    assert.equal((await show(id)).status, "rolling_back");
    const again = await api.ask("POST", `/releases/${doomed.name}/3.0.0/withdraw`);
    assert.deepEqual(again.body.data, withdrawn.body.data);
    const refused = await create(ring, { stack: { name: doomed.name, version: "3.0.0" } });
    assert.deepEqual([refused.status, refused.body.error.code], [422, "RELEASE_WITHDRAWN"]);
  });

  it("says precisely why it refuses", async () => {
    const { ring, vehicles } = await fleetOf(1);
    await api.release("9.0.0", { verified: false });
    await api.enrolled(`${ring}-v4`, { ring: `${ring}-v4`, model: "v4" });
    const target = (selector: string) => ({ target: { type: "fleetSelector", selector } });
    const weak = { requireVehicleStationary: false };
    const cases: readonly (readonly [body: JsonAnswer, status: number, code: string])[] = [
      [{ policy: weak }, 422, "POLICY_WEAKENED_UNACKNOWLEDGED"],
      [{ policy: { applyWindow: { startLocal: "02:00", endLocal: "02:00" } } }, 422, "APPLY_WINDOW_EMPTY"],
      [{ stack: { name: "autonomy", version: "8.0.0" } }, 422, "RELEASE_UNKNOWN"],
      [{ stack: { name: "autonomy", version: "2.0.0", manifestDigest: good.manifestDigest } }, 422, "RELEASE_UNKNOWN"],
      [{ stack: { name: "autonomy", version: "9.0.0" } }, 422, "RELEASE_NOT_VERIFIED"],
      [target("ring=nowhere"), 422, "TARGET_EMPTY"],
      [target(""), 422, "TARGET_EMPTY"],
      [target("ring"), 400, "SELECTOR_INVALID"],
      [target(`ring=${ring}-v4`), 422, "RELEASE_INCOMPATIBLE"],
      [{ target: { type: "vehicleList", vehicleIds: ["nobody-knows"] } }, 422, "VEHICLE_UNKNOWN"],
      [{ settings: { convergedPercentMin: 90 } }, 400, "BODY_INVALID"],
    ];
    for (const [body, status, code] of cases) {
      const answer = await create(ring, body);
      assert.deepEqual([answer.status, answer.body.error.code], [status, code], JSON.stringify(body));
    }
    const allowed = await create(ring, { policy: weak, acknowledgeWeakenedPolicy: true });
    assert.equal(allowed.status, 201, allowed.text);
    assert.ok((await actions(allowed.body.data.id)).includes("rollout.policy-weakened"));
    assert.equal((await api.ask("POST", "/rollouts", { token: VIEWER, body: {} })).status, 403);
    assert.equal((await api.ask("GET", `/rollouts/ro_${api.newId()}`)).status, 404);
    assert.equal((await api.ask("POST", `/rollouts/ro_${api.newId()}/pause`)).status, 404);
    assert.equal(vehicles.length, 1);
  });

  it("lists rollouts by status and members by class", async () => {
    const { ring } = await fleetOf(4);
    api.pass(1000);
    const id = await begun(ring, { settings: { wavePercent: 50 } });
    const active = await api.ask("GET", "/rollouts?status=active&limit=1");
    assert.equal(active.body.data[0].id, id);
    assert.ok(active.body.metadata.totalItems >= 1);
    const members = await api.ask("GET", `/rollouts/${id}/vehicles?sort=-vehicleId`);
    assert.deepEqual(
      members.body.data.map((member: JsonAnswer) => [member.vehicleId, member.stage, member.class]),
      [
        [`${ring}-3`, null, "waiting"],
        [`${ring}-2`, "wave", "waiting"],
        [`${ring}-1`, "wave", "waiting"],
        [`${ring}-0`, "canary", "pending"],
      ],
    );
    assert.equal((await show(id)).counts.members, 3);
    const summary = await api.ask("GET", "/fleet/summary");
    assert.ok(summary.body.data.activeRollouts.some((each: JsonAnswer) => each.id === id));
  });
});
