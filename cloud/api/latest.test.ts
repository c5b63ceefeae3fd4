import assert from "node:assert/strict";
import { after, before, describe, it, mock } from "node:test";
import { sql } from "kysely";
import { openAssignment } from "@muto/trust/documents";
import { OFFLINE_AFTER_MS, POLICY, TENANT, TestApi, VIEWER } from "./server/test-api.ts";
import type { Answer } from "./server/test-api.ts";

const HOUR_MS = 3_600_000;

describe("what vehicles poll", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
  });

  describe("the newest assignment", () => {
    const opened = (answer: Answer) => {
      const document = openAssignment(answer.body.data.assignment.envelope, {
        keys: [api.context.assignmentSigner.publicKey],
        threshold: 1,
      });
      assert.ok(document.ok);
      return document.document;
    };

    it("is none at first, then a signed document for this vehicle, then nothing new", async () => {
      const vehicle = await api.enrolled("poll-1");
      const none = await vehicle.poll();
      assert.equal(none.status, 200);
      assert.equal(none.body.data.assignment, null);
      const stack = await api.release("poll-1.0");
      const revision = await api.assign(stack, ["poll-1"]);
      const answer = await vehicle.poll("", { "if-none-match": String(none.headers["etag"]) });
      assert.equal(answer.status, 200);
      assert.deepEqual(opened(answer), {
        kind: "muto.assignment/v1",
        tenant: TENANT,
        vehicleId: "poll-1",
        sequence: 1,
        desiredStateRevision: revision,
        issuedAt: api.now(),
        acceptBefore: new Date(Date.parse(api.now()) + 30 * 24 * HOUR_MS).toISOString(),
        startBefore: new Date(Date.parse(api.now()) + 72 * HOUR_MS).toISOString(),
        start: "allowed",
        retry: false,
        stack,
        repository: "autonomy",
        policy: POLICY,
        correlationId: "00000000-0000-4000-8000-000000000001",
      });
      assert.equal(answer.body.data.assignment.releaseSignatures.length, 1);
      const same = await vehicle.poll("", { "if-none-match": `"x", ${String(answer.headers["etag"])}` });
      assert.equal(same.status, 304);
      assert.equal(same.text, "");
      assert.equal(same.headers["etag"], answer.headers["etag"]);
      const again = await vehicle.poll();
      assert.equal(
        again.text.replace(/"timestamp":.*/, ""),
        answer.text.replace(/"timestamp":.*/, ""),
        "the same bytes at every poll",
      );
    });

    it("is the document that was handed out first, however this version would print it, and is not signed for nothing", async () => {
      const vehicle = await api.enrolled("poll-bytes");
      await api.assign(await api.release("poll-bytes.0"), ["poll-bytes"]);
      const first = await vehicle.poll();
      const kept = await sql<{ payload: string }>`
        select payload from assignments where vehicle_id = 'poll-bytes'`.execute(api.context.database.db);
      const printed = kept.rows[0]?.payload ?? "";
      assert.deepEqual(JSON.parse(printed), opened(first));
      // An earlier version may have ordered the fields in another way; whoever polls later must get its bytes.
      const other = JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(printed)).toReversed()));
      assert.notEqual(other, printed);
      await sql`update assignments set payload = ${other} where vehicle_id = 'poll-bytes'`.execute(
        api.context.database.db,
      );
      const again = await vehicle.poll();
      const { payload } = again.body.data.assignment.envelope;
      assert.equal(Buffer.from(String(payload), "base64").toString("utf8"), other);
      assert.deepEqual(opened(again), opened(first));
      const signed = mock.method(api.context.assignmentSigner, "sign");
      const same = await vehicle.poll("", { "if-none-match": String(again.headers["etag"]) });
      assert.equal(same.status, 304);
      assert.equal(signed.mock.callCount(), 0);
      signed.mock.restore();
    });

    it("is shown to operators and viewers, and to no other vehicle", async () => {
      const vehicle = await api.enrolled("poll-2");
      const other = await api.enrolled("poll-3");
      const url = "/desired-states/latest?vehicleId=poll-2";
      assert.equal((await api.ask("GET", url, { token: VIEWER })).status, 200);
      assert.equal((await api.ask("GET", url, { token: await other.token() })).body.error.code, "FORBIDDEN");
      assert.equal((await api.ask("GET", url, { token: await vehicle.token() })).status, 200);
      assert.equal((await api.ask("GET", "/desired-states/latest?vehicleId=nobody")).status, 404);
      assert.equal((await api.ask("GET", "/desired-states/latest")).body.error.code, "QUERY_INVALID");
    });

    it("counts as a sign of life of the vehicle that asks, and of nobody that an operator looks at", async () => {
      const vehicle = await api.enrolled("poll-4");
      await api.ask("GET", "/desired-states/latest?vehicleId=poll-4");
      assert.equal((await api.ask("GET", "/vehicles/poll-4")).body.data.lastSeenAt, null);
      await vehicle.poll();
      assert.equal((await api.ask("GET", "/vehicles/poll-4")).body.data.lastSeenAt, api.now());
    });

    it("is renewed at contact while it is still wanted, and not once the vehicle has answered (H10)", async () => {
      const vehicle = await api.enrolled("renew-1");
      const stack = await api.release("renew-1.0");
      const revision = await api.assign(stack, ["renew-1"]);
      api.pass(30 * HOUR_MS);
      assert.equal(opened(await vehicle.poll()).sequence, 1);
      api.pass(10 * HOUR_MS);
      const renewed = opened(await vehicle.poll());
      assert.deepEqual([renewed.sequence, renewed.desiredStateRevision, renewed.issuedAt], [2, revision, api.now()]);
      const view = (await api.ask("GET", "/vehicles/renew-1")).body.data;
      assert.equal(view.timeline.length, 1, "a renewal is no news");
      await vehicle.send(
        vehicle.report({ desiredStateRevision: revision, sequence: 2, status: "converged", stack, set: "active" }),
      );
      api.pass(100 * HOUR_MS);
      assert.equal(opened(await vehicle.poll()).sequence, 2);
    });

    it("is issued above what the vehicle itself has accepted (H16)", async () => {
      const vehicle = await api.enrolled("floor-1");
      await vehicle.poll("&sequenceFloor=0");
      const stack = await api.release("floor-1.0");
      await api.assign(stack, ["floor-1"]);
      await vehicle.poll("&sequenceFloor=1");
      await api.assign(stack, ["floor-1"]);
      assert.equal(opened(await vehicle.poll("&sequenceFloor=1")).sequence, 2);
    });

    it("ignores a floor that an operator names, and one that no vehicle can honestly have", async () => {
      const vehicle = await api.enrolled("floor-2");
      await api.ask("GET", "/desired-states/latest?vehicleId=floor-2&sequenceFloor=50");
      await vehicle.poll(`&sequenceFloor=${Number.MAX_SAFE_INTEGER}`);
      assert.equal((await api.ask("GET", "/fleet/summary")).body.data.restorePending, false);
      assert.equal((await vehicle.poll("&sequenceFloor=-1")).body.error.code, "QUERY_INVALID");
    });

    it("of two installations that take turns is a clone (H19)", async () => {
      const vehicle = await api.enrolled("turns-1");
      const [a, b] = [api.newId(), api.newId()];
      await vehicle.poll(`&installId=${a}`);
      await vehicle.poll(`&installId=${b}`);
      assert.equal((await api.ask("GET", "/vehicles/turns-1")).body.data.enrolment.alarm, "none");
      await vehicle.poll(`&installId=${a}`);
      assert.equal((await api.ask("GET", "/vehicles/turns-1")).body.data.enrolment.alarm, "clone");
    });

    it("is given again once an operator accepts the vehicle's own key after an alarm, until two take turns again", async () => {
      const vehicle = await api.enrolled("turns-2");
      const [a, b] = [api.newId(), api.newId()];
      const alarm = async () => (await api.ask("GET", "/vehicles/turns-2")).body.data.enrolment;
      await vehicle.poll(`&installId=${a}`);
      await vehicle.poll(`&installId=${b}`);
      await vehicle.poll(`&installId=${a}`);
      const { keyid, alarm: raised } = await alarm();
      assert.equal(raised, "clone");
      const accept = { body: { keyid, comment: "one computer, its disk was put back" } };
      assert.equal((await api.ask("POST", "/vehicles/turns-2/accept", accept)).status, 200);
      assert.deepEqual([(await alarm()).alarm, (await alarm()).state], ["none", "accepted"]);
      const [entry] = (await api.ask("GET", "/audit-log?action=vehicle.accepted")).body.data;
      assert.deepEqual([entry.subject.id, entry.before.alarm, entry.after.alarm], ["turns-2", "clone", "none"]);
      await vehicle.poll(`&installId=${a}`);
      await vehicle.poll(`&installId=${a}`);
      assert.equal((await alarm()).alarm, "none", "the installation that speaks first speaks for the vehicle");
      await api.assign(await api.release("turns-2.0"), ["turns-2"]);
      assert.equal(opened(await vehicle.poll(`&installId=${a}`)).sequence, 1);
      await vehicle.poll(`&installId=${b}`);
      assert.equal((await alarm()).alarm, "clone");
    });

    it("is issued again to a vehicle that could only say that it came too late", async () => {
      const vehicle = await api.enrolled("poll-late");
      const stack = await api.release("late-1.0");
      const revision = await api.assign(stack, ["poll-late"], { startBeforeSec: 7200 });
      const rejected = {
        status: "failed",
        phase: "verify",
        reasonCodes: ["DESIRED_STATE_REJECTED"],
        attempt: 0,
      } as const;
      await vehicle.send(vehicle.report({ ...rejected, desiredStateRevision: revision, sequence: 1 }));
      assert.equal(opened(await vehicle.poll()).sequence, 1, "not while it is fresh");
      api.pass(2 * HOUR_MS);
      const { sequence, desiredStateRevision } = opened(await vehicle.poll());
      assert.deepEqual([sequence, desiredStateRevision], [2, revision]);
    });
  });

  describe("a restored database (H16)", () => {
    it("is noticed by what vehicles know, offers nothing older, and goes on above it once confirmed", async () => {
      const first = await api.enrolled("restored-1");
      const second = await api.enrolled("restored-2");
      const stack = await api.release("restored-1.0");
      await api.assign(stack, ["restored-1", "restored-2"]);
      assert.equal(
        (await api.ask("POST", "/fleet/restore/confirm", { body: { comment: "?" } })).body.error.code,
        "CONFLICT_RESTORE",
      );

      const ahead = await first.poll("&sequenceFloor=7");
      assert.equal(ahead.body.data.assignment, null, "an older sequence would only be rejected");
      assert.equal((await api.ask("GET", "/fleet/summary")).body.data.restorePending, true);
      const detected = await api.ask("GET", "/audit-log?action=database.restore-detected");
      assert.equal(detected.body.metadata.totalItems, 1);
      assert.deepEqual(detected.body.data[0].after, { vehicleId: "restored-1", knownToVehicle: 7, stored: 1 });
      await first.poll("&sequenceFloor=7");
      assert.equal((await api.ask("GET", "/audit-log?action=database.restore-detected")).body.metadata.totalItems, 1);

      const confirmed = await api.ask("POST", "/fleet/restore/confirm", { body: { comment: "backup of last night" } });
      assert.equal(confirmed.status, 200);
      assert.deepEqual([confirmed.body.data.vehiclesAhead, confirmed.body.data.pausedRollouts], [1, []]);
      const again = await first.poll("&sequenceFloor=7");
      assert.equal(again.headers["etag"]?.toString().startsWith('"8-'), true, "max(stored, floor) + 1");

      const later = await second.poll("&sequenceFloor=9");
      assert.equal(later.headers["etag"]?.toString().startsWith('"10-'), true);
      assert.equal(
        (await api.ask("GET", "/fleet/summary")).body.data.restorePending,
        false,
        "the same restore is confirmed once",
      );

      await second.poll("&sequenceFloor=20");
      assert.equal(
        (await api.ask("GET", "/fleet/summary")).body.data.restorePending,
        true,
        "another one is noticed again",
      );
    });

    it("is noticed by a signed report, too", async () => {
      await api.ask("POST", "/fleet/restore/confirm", { body: { comment: "again" } });
      const vehicle = await api.enrolled("restored-3");
      await vehicle.poll("&sequenceFloor=0");
      await vehicle.send(vehicle.report({ sequence: 4 }));
      assert.equal((await api.ask("GET", "/fleet/summary")).body.data.restorePending, true);
    });
  });

  describe("explain", () => {
    it("joins assignment, last report, evidence and connectivity, in the contract's words", async () => {
      const vehicle = await api.enrolled("why-1");
      const revision = await api.assign(await api.release("why-1.0"), ["why-1"]);
      const evidence = [
        { kind: "gate", reasonCode: "DENY_LOW_BATTERY", gate: "battery", required: 35, seen: 12, ageMs: 40 },
        { kind: "gate", reasonCode: "DENY_MOVING", gate: "moving", required: 0.1, seen: 3.2, ageMs: 20 },
      ] as const;
      await vehicle.send(
        vehicle.report({
          desiredStateRevision: revision,
          sequence: 1,
          status: "blocked",
          reasonCodes: ["DENY_LOW_BATTERY"],
          evidence,
        }),
      );
      const since = api.now();
      api.pass(1000);
      const why = (await api.ask("GET", "/vehicles/why-1/explain", { token: VIEWER })).body.data;
      assert.deepEqual([why.status, why.since, why.connectivity], ["blocked", since, "online"]);
      assert.equal(why.assignment.sequence, 1);
      assert.equal(why.lastReport.desiredStateRevision, revision);
      assert.equal(why.reasons.length, 1);
      assert.equal(why.reasons[0].code, "DENY_LOW_BATTERY");
      assert.deepEqual(why.reasons[0].evidence, [evidence[0]]);
      assert.match(why.reasons[0].unblockedWhen, /charge/);

      api.pass(OFFLINE_AFTER_MS);
      const silent = (await api.ask("GET", "/vehicles/why-1/explain")).body.data;
      assert.deepEqual(
        silent.reasons.map(({ code }: { code: string }) => code),
        ["DENY_LOW_BATTERY", "HEARTBEAT_TIMEOUT"],
      );
      assert.equal(silent.status, "offline");
    });

    it("has no reasons for a vehicle that is converged and heard of, and none invented for one that never was", async () => {
      const vehicle = await api.enrolled("why-2");
      await vehicle.send(vehicle.report());
      assert.deepEqual((await api.ask("GET", "/vehicles/why-2/explain")).body.data.reasons, []);
      await api.ask("POST", "/vehicles", { body: { id: "why-3" } });
      const never = (await api.ask("GET", "/vehicles/why-3/explain")).body.data;
      assert.deepEqual([never.assignment, never.lastReport, never.rollout, never.lastSeenAt], [null, null, null, null]);
      assert.equal((await api.ask("GET", "/vehicles/nobody/explain")).status, 404);
    });
  });
});
