import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { signEnvelope } from "@muto/trust/dsse";
import { signReconcileReport } from "@muto/trust/documents";
import { generateKey } from "@muto/trust/keys";
import { digestOf } from "@muto/oci/digest";
import { OPERATOR, TestApi, VIEWER } from "./server/test-api.ts";
import type { Answer } from "./server/test-api.ts";

const ACKED = "muto-acknowledged-seq";
const results = (answer: Answer): readonly string[] =>
  answer.body.data.receipts.map((receipt: { result: string; error: string | null }) => receipt.error ?? receipt.result);

describe("what vehicles report", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
  });

  describe("reconcile reports", () => {
    const view = async (id: string) => (await api.ask("GET", `/vehicles/${id}`)).body.data;

    it("are stored once, shown, and acknowledged as far as they came without a gap", async () => {
      const vehicle = await api.enrolled("acked-1");
      const [one, two, three, four] = [vehicle.report(), vehicle.report(), vehicle.report(), vehicle.report()];
      const first = await vehicle.send(one);
      assert.deepEqual(results(first), ["stored"]);
      assert.equal(first.headers[ACKED], "1");
      const third = await vehicle.send(three);
      assert.equal(third.headers[ACKED], "1", "the second is missing");
      const rest = await vehicle.send(two, three, four, four);
      assert.deepEqual(results(rest), ["stored", "duplicate", "stored", "duplicate"]);
      assert.equal(rest.headers[ACKED], "4");
      const poll = await vehicle.poll(`&installId=${vehicle.installId}`);
      assert.equal(poll.headers[ACKED], "4");
      const listed = await api.ask("GET", "/reports/reconcile?vehicleId=acked-1&limit=3", { token: VIEWER });
      assert.equal(listed.body.metadata.totalItems, 4);
      assert.equal(listed.body.data.length, 3);
      assert.equal(listed.body.data[0].keyid, vehicle.signer.publicKey.keyid);
      assert.equal((await view("acked-1")).latestReport.seq, 4);
    });

    it("tell what runs, what is committed and why not, and leave a timeline", async () => {
      const vehicle = await api.enrolled("told-1");
      const stack = await api.release("told-1.0");
      const revision = await api.assign(stack, ["told-1"]);
      const about = { desiredStateRevision: revision, sequence: 1 };
      assert.equal((await view("told-1")).convergence, "pending");
      await vehicle.send(vehicle.report({ ...about, status: "blocked", reasonCodes: ["DENY_MOVING"], phase: "gate" }));
      assert.deepEqual((await view("told-1")).reasonCodes, ["DENY_MOVING"]);
      await vehicle.send(vehicle.report({ ...about, status: "applying", phase: "switch", stack, set: "staged" }));
      await vehicle.send(vehicle.report({ ...about, status: "converged", stack, set: "active", committed: stack }));
      const seen = await view("told-1");
      assert.deepEqual(
        [seen.status, seen.reasonCodes, seen.actualStack, seen.actualRevision],
        ["converged", [], stack, revision],
      );
      assert.deepEqual(seen.timeline.map(({ event }: { event: string }) => event).toReversed(), [
        "desired_notified",
        "blocked",
        "apply_start",
        "ready",
      ]);
    });

    it("never let an older report overwrite a newer one, whatever the order of arrival (H19)", async () => {
      const vehicle = await api.enrolled("order-1");
      const stack = await api.release("order-1.0");
      const revision = await api.assign(stack, ["order-1"]);
      const about = { desiredStateRevision: revision, sequence: 1 };
      const failed = vehicle.report({ ...about, status: "failed", reasonCodes: ["READINESS_TIMEOUT"] });
      const back = vehicle.report({
        ...about,
        status: "rolled_back",
        reasonCodes: ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"],
      });
      await vehicle.send(back);
      await vehicle.send(failed);
      const seen = await view("order-1");
      assert.equal(seen.status, "rolled_back");
      assert.equal(seen.latestReport.reportId, back.reportId);
      assert.deepEqual(
        seen.timeline.map(({ event }: { event: string }) => event).toSorted(),
        ["desired_notified", "failed", "rolled_back"],
        "the late one is not lost",
      );
    });

    it("leave the status pending while they speak of an older desired state", async () => {
      const vehicle = await api.enrolled("older-1");
      const old = await api.assign(await api.release("older-1.0"), ["older-1"]);
      await api.assign(await api.release("older-2.0"), ["older-1"]);
      await vehicle.send(
        vehicle.report({ desiredStateRevision: old, sequence: 1, status: "blocked", reasonCodes: ["DENY_MOVING"] }),
      );
      const seen = await view("older-1");
      assert.deepEqual([seen.convergence, seen.reasonCodes], ["pending", []]);
    });

    it("are refused one by one: another key, other bytes, another vehicle, another document (H18)", async () => {
      const vehicle = await api.enrolled("refused-1");
      const other = await api.enrolled("refused-2");
      const stranger = (await generateKey("ed25519")).signer;
      const good = vehicle.report();
      const envelope = await signReconcileReport(good, vehicle.signer);
      const tampered = {
        ...envelope,
        payload: Buffer.from(JSON.stringify({ ...good, status: "failed" })).toString("base64"),
      };
      const wrongType = await signEnvelope(
        "application/vnd.muto.assignment.v1+json",
        Buffer.from(JSON.stringify(good)),
        [vehicle.signer],
      );
      const nonsense = await signEnvelope(
        "application/vnd.muto.reconcile-report.v1+json",
        Buffer.from('{"kind":"other"}'),
        [vehicle.signer],
      );
      const answer = await api.ask("POST", "/reports/reconcile", {
        token: await vehicle.token(),
        body: [
          await signReconcileReport(vehicle.report(), stranger),
          tampered,
          await signReconcileReport({ ...other.report(), vehicleId: "refused-2" }, vehicle.signer),
          wrongType,
          nonsense,
          envelope,
        ],
      });
      assert.deepEqual(results(answer), [
        "SIGNATURE_INVALID",
        "SIGNATURE_INVALID",
        "FORBIDDEN",
        "SIGNATURE_INVALID",
        "BODY_INVALID",
        "stored",
      ]);
      assert.equal((await api.ask("GET", "/reports/reconcile?vehicleId=refused-2")).body.metadata.totalItems, 0);
    });

    it("of a vehicle set up anew count from one again, and the old installation coming back is a clone (H19)", async () => {
      const vehicle = await api.enrolled("clone-1");
      await vehicle.send(vehicle.report({ status: "failed", reasonCodes: ["APPLY_FAILED"] }), vehicle.report());
      const oldInstall = vehicle.installId;
      api.pass(60_000);
      vehicle.reinstall();
      await vehicle.send(vehicle.report({ status: "blocked", reasonCodes: ["DENY_MOVING"] }));
      assert.equal((await view("clone-1")).convergence, "blocked");
      assert.equal((await view("clone-1")).enrolment.alarm, "none");
      api.pass(60_000);
      const stack = await api.release("clone-1.0");
      await vehicle.send({ ...vehicle.report(), installId: oldInstall, seq: 3 });
      assert.equal((await view("clone-1")).enrolment.alarm, "clone");
      assert.equal((await view("clone-1")).convergence, "blocked", "the new installation speaks for the vehicle");
      const audit = await api.ask("GET", "/audit-log?action=vehicle.clone-suspected");
      assert.deepEqual(audit.body.data[0].subject, { type: "vehicle", id: "clone-1" });
      await api.assign(stack, ["clone-1"]);
      assert.equal((await view("clone-1")).desiredRevision, null, "a cloned vehicle is assigned nothing");
    });

    it("with one number and two contents are a copied disk (H19)", async () => {
      const vehicle = await api.enrolled("clone-2");
      await vehicle.send(vehicle.report({ seq: 5 }));
      const answer = await vehicle.send(vehicle.report({ seq: 5 }));
      assert.deepEqual(results(answer), ["duplicate"]);
      assert.equal((await view("clone-2")).enrolment.alarm, "clone");
    });

    it("that were delayed from before a new set-up raise no alarm", async () => {
      const vehicle = await api.enrolled("clone-3");
      const late = vehicle.report();
      await vehicle.send(vehicle.report());
      const oldInstall = vehicle.installId;
      api.pass(60_000);
      vehicle.reinstall();
      await vehicle.send(vehicle.report());
      assert.deepEqual(results(await vehicle.send({ ...late, installId: oldInstall })), ["stored"]);
      assert.equal((await view("clone-3")).enrolment.alarm, "none");
    });

    it("of a revoked vehicle are refused even when its token was checked a moment ago", async () => {
      const vehicle = await api.enrolled("revoked-1");
      const token = await vehicle.token();
      await api.ask("POST", "/vehicles/revoked-1/revoke");
      const answer = await api.ask("POST", "/reports/reconcile", {
        token,
        body: await signReconcileReport(vehicle.report(), vehicle.signer),
      });
      assert.equal(answer.body.error.code, "VEHICLE_REVOKED");
    });

    it("in plain form are shown, never listed among the signed ones, and overruled by the first signed one (H18)", async () => {
      const vehicle = await api.enrolled("plain-1");
      const plain = {
        vehicleId: "plain-1",
        desiredStateRevision: null,
        status: "converged",
        reasonCodes: [],
        timings: { applySec: 48, readinessSec: 61 },
      };
      const token = await vehicle.token();
      const post = async (body: unknown, as = token) =>
        results(await api.ask("POST", "/reports/reconcile", { token: as, body }));
      assert.deepEqual(await post(plain), ["stored"]);
      assert.deepEqual(await post([plain, { ...plain, status: "failed", reasonCodes: ["APPLY_FAILED"] }]), [
        "duplicate",
        "stored",
      ]);
      assert.deepEqual(
        [(await view("plain-1")).status, (await view("plain-1")).reasonCodes],
        ["failed", ["APPLY_FAILED"]],
      );
      assert.equal((await api.ask("GET", "/reports/reconcile?vehicleId=plain-1")).body.metadata.totalItems, 0);
      const stored = await api.database.db
        .selectFrom("reconcile_reports")
        .select(["signed", "seq"])
        .where("vehicle_id", "=", "plain-1")
        .execute();
      assert.deepEqual(stored, [
        { signed: false, seq: null },
        { signed: false, seq: null },
      ]);

      await vehicle.send(vehicle.report({ status: "blocked", reasonCodes: ["DENY_MOVING"] }));
      assert.deepEqual(await post({ ...plain, status: "applying" }), ["stored"]);
      assert.equal((await view("plain-1")).status, "blocked", "what is signed stands");

      const other = await api.enrolled("plain-2");
      assert.deepEqual(await post(plain, await other.token()), ["FORBIDDEN"]);
      assert.deepEqual(
        await post({ ...plain, vehicleId: "plain-2" }, OPERATOR),
        ["stored"],
        "an operator speaks for simulators",
      );
      assert.deepEqual(await post(await signReconcileReport(other.report(), other.signer), OPERATOR), ["FORBIDDEN"]);
      assert.deepEqual(await post({ ...plain, vehicleId: "nobody" }, OPERATOR), ["NOT_FOUND"]);
      await api.ask("POST", "/vehicles/plain-2/revoke");
      assert.deepEqual(await post({ ...plain, vehicleId: "plain-2" }, OPERATOR), ["VEHICLE_REVOKED"]);
    });

    it("carry output tails only when a stored report names them, and only operators read them", async () => {
      const vehicle = await api.enrolled("tail-1");
      const bytes = Buffer.from("last words\n<script>");
      const digest = digestOf(bytes);
      const put = async (what: string, body: Buffer) =>
        await api.ask("PUT", `/attachments/${what}`, {
          token: await vehicle.token(),
          body,
          headers: { "content-type": "application/octet-stream" },
        });
      assert.equal((await put(digest, bytes)).body.error.code, "ATTACHMENT_UNEXPECTED");
      const evidence = [
        {
          kind: "output-tail",
          reasonCode: "CRASH_LOOP_DETECTED",
          workload: "planner",
          digest,
          bytes: bytes.byteLength,
        },
      ] as const;
      await vehicle.send(vehicle.report({ status: "failed", reasonCodes: ["CRASH_LOOP_DETECTED"], evidence }));
      assert.equal((await put(digest, Buffer.from("other"))).body.error.code, "DIGEST_MISMATCH");
      assert.deepEqual((await put(digest, bytes)).body.data, { digest, bytes: bytes.byteLength });
      assert.equal((await put(digest, bytes)).status, 200);
      const read = await api.ask("GET", `/attachments/${digest}`);
      assert.equal(read.text, bytes.toString());
      assert.equal(read.headers["content-disposition"], "attachment");
      assert.equal((await api.ask("GET", `/attachments/${digest}`, { token: VIEWER })).status, 403);
      api.pass(31 * 24 * 3600 * 1000);
      assert.equal((await api.ask("GET", `/attachments/${digest}`)).status, 404);
    });
  });

  describe("health reports", () => {
    it("are signs of life: the last one counts, a few are kept", async () => {
      const vehicle = await api.enrolled("health-1");
      assert.deepEqual(results(await vehicle.sendHealth(vehicle.health({ diskFreeMb: 100 }))), ["stored"]);
      for (let minutes = 0; minutes < 300; minutes += 20) {
        api.pass(20 * 60_000);
        await vehicle.sendHealth(vehicle.health({ diskFreeMb: minutes }));
      }
      const seen = (await api.ask("GET", "/vehicles/health-1")).body.data;
      assert.equal(seen.facts.diskFreeMb, 280);
      assert.equal(seen.facts.agentVersion, "0.1.0");
      assert.equal(seen.safetySnapshot.batteryPct.value, 80);
      assert.equal(seen.rollbackReady, true);
      assert.equal(seen.lastSeenAt, api.now());
      const listed = await api.ask("GET", "/reports/health?vehicleId=health-1");
      assert.equal(listed.body.data[0].report.diskFreeMb, 280);
      const times: readonly string[] = listed.body.data.map(({ receivedAt }: { receivedAt: string }) => receivedAt);
      assert.ok(times.length > 5 && times.length <= 25);
      assert.deepEqual(times, times.toSorted().toReversed());
      assert.equal(new Set(times).size, times.length);
    });

    it("of another vehicle are refused", async () => {
      const vehicle = await api.enrolled("health-2");
      const answer = await vehicle.sendHealth({ ...vehicle.health(), vehicleId: "health-1" }, vehicle.health());
      assert.deepEqual(results(answer), ["FORBIDDEN", "stored"]);
    });
  });
});
