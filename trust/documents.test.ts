import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, describe, test } from "node:test";
import { parseEnrolment, parseEnvelope, parseJson, parseReconcileReport } from "@muto/spec";
import type { Enrolment, Parsed, ReconcileReport } from "@muto/spec";
import { openAssignment, openEnrolment, openReconcileReport, signEnrolment, signReconcileReport } from "./documents.ts";
import { signEnvelope } from "./dsse.ts";
import { generateKey } from "./keys.ts";
import type { Signer } from "./keys.ts";

/** The first valid document of a kind in the contract's own vectors. */
async function vector<T>(name: string, parse: (value: unknown) => Parsed<T>): Promise<T> {
  const bytes = await readFile(new URL(`../spec/vectors/valid/${name}.json`, import.meta.url));
  const json = parseJson(bytes);
  assert.ok(json.ok && typeof json.value === "object" && json.value !== null && "cases" in json.value);
  assert.ok(Array.isArray(json.value.cases));
  const [first] = json.value.cases;
  const parsed = parse(first.document);
  assert.ok(parsed.ok);
  return parsed.value;
}

describe("signed documents", () => {
  let vehicle: Signer, other: Signer;
  let report: ReconcileReport;
  let enrolment: Enrolment;
  before(async () => {
    vehicle = (await generateKey("ed25519")).signer;
    other = (await generateKey("ed25519")).signer;
    report = await vector("reconcile-report", parseReconcileReport);
    enrolment = { ...(await vector("enrolment", parseEnrolment)), publicKey: vehicle.publicKey.pem };
  });

  test("a report opens with the vehicle's key alone, and its envelope is the contract's (H18)", async () => {
    const envelope = await signReconcileReport(report, vehicle);
    assert.equal(parseEnvelope(envelope).ok, true);
    const opened = openReconcileReport(envelope, vehicle.publicKey);
    assert.ok(opened.ok);
    assert.deepEqual(opened.document, report);
    assert.deepEqual(openReconcileReport(envelope, other.publicKey), { ok: false, problem: "unknown-key" });
    const asAssignment = openAssignment(envelope, { keys: [vehicle.publicKey], threshold: 1 });
    assert.deepEqual(asAssignment, { ok: false, problem: "wrong-type" });
  });

  test("bytes that verify and are no document of the kind are refused as such", async () => {
    for (const text of ["{}", "hello", '{"kind":"muto.reconcile-report/v9"}']) {
      const { payloadType } = await signReconcileReport(report, vehicle);
      const envelope = await signEnvelope(payloadType, Buffer.from(text), [vehicle]);
      assert.deepEqual(
        openReconcileReport(envelope, vehicle.publicKey),
        { ok: false, problem: "invalid-document" },
        text,
      );
    }
  });

  test("the bytes travel as they were signed, spaces and unknown fields included", async () => {
    const { payloadType } = await signReconcileReport(report, vehicle);
    const bytes = Buffer.from(JSON.stringify({ ...report, fromTheFuture: 1 }, null, 3));
    const opened = openReconcileReport(await signEnvelope(payloadType, bytes, [vehicle]), vehicle.publicKey);
    assert.ok(opened.ok);
    assert.deepEqual(Buffer.from(opened.payload), bytes);
  });

  test("an enrolment proves the very key it names, and no other", async () => {
    const opened = openEnrolment(await signEnrolment(enrolment, vehicle));
    assert.ok(opened.ok);
    assert.equal(opened.key.keyid, vehicle.publicKey.keyid);
    assert.deepEqual(opened.document, enrolment);
    const stolen = await signEnrolment({ ...enrolment, publicKey: other.publicKey.pem }, vehicle);
    assert.equal(openEnrolment(stolen).ok, false);
    const { payloadType, ...rest } = await signEnrolment(enrolment, vehicle);
    assert.deepEqual(openEnrolment({ ...rest, payloadType: `${payloadType}x` }), { ok: false, problem: "wrong-type" });
    for (const garbage of [null, {}, { payload: 1 }, { payload: "e30=" }, { payload: "???" }]) {
      assert.deepEqual(openEnrolment(garbage), { ok: false, problem: "malformed" });
    }
  });
});
