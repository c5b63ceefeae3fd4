import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { TestApi } from "./server/test-api.ts";
import type { JsonAnswer } from "./server/test-api.ts";

describe("desired states without a canary", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
    await api.release("1.0.0");
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
  });
  const post = async (body: JsonAnswer) =>
    await api.ask("POST", "/desired-states", { body: { stack: { name: "autonomy", version: "1.0.0" }, ...body } });
  const wants = async (id: string): Promise<JsonAnswer> =>
    (await api.ask("GET", `/vehicles/${id}/explain`)).body.data.assignment;

  it("reaches everybody that the target names now, says how many, and nobody later (H28)", async () => {
    await api.enrolled("now-1", { ring: "now" });
    await api.enrolled("now-2", { ring: "now" });
    await api.enrolled("later", { ring: "later" });
    const answer = await post({ target: { type: "fleetSelector", selector: "ring=now" }, comment: "lab" });
    assert.equal(answer.status, 201, answer.text);
    assert.deepEqual(answer.body.data.reach, { vehicles: 2, withoutCanary: 2 });
    assert.deepEqual(answer.body.data.rollout, { strategy: "direct" });
    await api.ask("PATCH", "/vehicles/later", { body: { tags: { ring: "now" } } });
    assert.equal(await wants("later"), null);
    assert.equal((await wants("now-1")).desiredStateRevision, answer.body.data.desiredStateRevision);
    const read = await api.ask("GET", `/desired-states/${answer.body.data.desiredStateRevision}`);
    assert.deepEqual(read.body.data, answer.body.data);
    assert.equal(answer.headers["location"], `/api/v1/desired-states/${answer.body.data.desiredStateRevision}`);
  });

  it("passes the excluded by in a selector, and means who is named", async () => {
    await api.enrolled("kept-1", { ring: "kept" });
    await api.enrolled("kept-2", { ring: "kept" });
    await api.ask("POST", "/vehicles/kept-1/exclude", { body: { reason: "workshop" } });
    const some = await post({ target: { type: "fleetSelector", selector: "ring=kept" } });
    assert.equal(some.body.data.reach.vehicles, 1);
    assert.equal(await wants("kept-1"), null);
    const named = await post({ target: { type: "vehicleList", vehicleIds: ["kept-1"] } });
    assert.equal(named.body.data.reach.vehicles, 1);
  });

  it("is withheld, or lifts a quarantine, when asked, and the audit log says so (H15)", async () => {
    await api.enrolled("held", {});
    const target = { type: "vehicleList", vehicleIds: ["held"] };
    const withheld = await post({ target, start: "withheld" });
    assert.equal((await wants("held")).start, "withheld");
    const retry = await post({ target, retry: true });
    assert.equal((await wants("held")).retry, true);
    const weak = await post({ target, policy: { requireBatteryPctMin: 10 }, acknowledgeWeakenedPolicy: true });
    assert.equal(weak.status, 201);
    const actionsOf = async (answer: JsonAnswer) => {
      const log = await api.ask("GET", `/audit-log?correlationId=${answer.body.data.correlationId}`);
      return log.body.data.map((entry: JsonAnswer) => entry.action).toReversed();
    };
    assert.deepEqual(await actionsOf(withheld), ["desired-state.created"]);
    assert.deepEqual(await actionsOf(retry), ["desired-state.created", "desired-state.quarantine-lifted"]);
    assert.deepEqual(await actionsOf(weak), ["desired-state.created", "desired-state.policy-weakened"]);
  });

  it("refuses what it cannot mean", async () => {
    await api.enrolled("plain", { ring: "plain", model: "v3" });
    await api.enrolled("other-model", { ring: "other", model: "v4" });
    await api.release("1.1.0", { verified: false });
    const plain = { type: "fleetSelector", selector: "ring=plain" };
    const cases: readonly (readonly [body: JsonAnswer, status: number, code: string])[] = [
      [{ target: plain, policy: { denyIfAutonomousMode: false } }, 422, "POLICY_WEAKENED_UNACKNOWLEDGED"],
      [
        { target: plain, policy: { applyWindow: { startLocal: "02:00", endLocal: "02:00" } } },
        422,
        "APPLY_WINDOW_EMPTY",
      ],
      [{ target: plain, stack: { name: "autonomy", version: "1.1.0" } }, 422, "RELEASE_NOT_VERIFIED"],
      [{ target: plain, stack: { name: "nothing", version: "1.0.0" } }, 422, "RELEASE_UNKNOWN"],
      [{ target: { type: "fleetSelector", selector: "ring=nowhere" } }, 422, "TARGET_EMPTY"],
      [{ target: { type: "fleetSelector", selector: "ring=other" } }, 422, "RELEASE_INCOMPATIBLE"],
      [{ target: { type: "vehicleList", vehicleIds: ["who"] } }, 422, "VEHICLE_UNKNOWN"],
      [{ target: plain, rollout: { strategy: "canary" } }, 400, "BODY_INVALID"],
    ];
    for (const [body, status, code] of cases) {
      const answer = await post(body);
      assert.deepEqual([answer.status, answer.body.error.code], [status, code], JSON.stringify(body));
    }
    assert.equal(await wants("plain"), null);
    assert.equal((await api.ask("GET", `/desired-states/dsr_${api.newId()}`)).status, 404);
  });
});
