import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ERRORS } from "./generated/error-codes.ts";
import { OPENAPI } from "./generated/openapi.ts";
import { OPERATIONS } from "./generated/operations.ts";
import { REASON_CODES, REASONS } from "./generated/reasons.ts";
import { requestTarget } from "./route.ts";
import { createValidation } from "./validation.ts";

const operations = Object.values(OPERATIONS);
const validation = createValidation();

test("a request's target is encoded, and what is undefined is left out", () => {
  assert.equal(
    requestTarget("getRelease", { params: { stack: "core", version: "1.0.0+b/1" }, query: {} }),
    "/api/v1/releases/core/1.0.0%2Bb%2F1",
  );
  assert.equal(
    requestTarget("listVehicles", { params: {}, query: { selector: "model=a AND ring=1", limit: 5 } }),
    "/api/v1/vehicles?selector=model%3Da+AND+ring%3D1&limit=5",
  );
  assert.equal(requestTarget("getHealth", { params: {}, query: {} }), "/healthz");
});

test("an empty id never becomes another operation", () => {
  assert.throws(() => requestTarget("deleteVehicle", { params: { id: "" }, query: {} }), RangeError);
});

test("two operations never share method and route", () => {
  const keys = operations.map(({ method, route }) => `${method} ${route.replace(/:[a-zA-Z]+/g, ":")}`);
  assert.equal(new Set(keys).size, keys.length);
  assert.ok(keys.length >= 46);
});

test("every schema that a route names can be compiled", () => {
  let schemas = 0;
  for (const { params, query, headers, body, answers } of operations) {
    for (const name of [params, query, headers]) if (name !== null) schemas += compile(name, "text");
    for (const name of [body?.schema ?? null, ...answers.map(({ schema }) => schema)]) {
      if (name !== null) schemas += compile(name, "json");
    }
  }
  assert.ok(schemas > 100);
});

function compile(name: Parameters<typeof validation.validator>[0], kind: "json" | "text"): number {
  assert.equal(typeof validation.validator(name, kind), "function");
  return 1;
}

test("the served document refers to nothing outside itself, and to nothing that is not in it", () => {
  const text = JSON.stringify(OPENAPI);
  const refs = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? "");
  assert.ok(refs.length > 500);
  const found = refs.filter((ref) => ref.split("/").slice(1).reduce<unknown>(step, OPENAPI) === undefined);
  assert.deepEqual([...new Set(found)], []);
  assert.ok(refs.every((ref) => ref.startsWith("#/")));
});

function step(part: unknown, key: string): unknown {
  return typeof part === "object" && part !== null ? new Map(Object.entries(part)).get(key) : undefined;
}

test("who may call an operation is what the served document asks credentials for", () => {
  const text = JSON.stringify(OPENAPI["paths"]);
  for (const { operationId, principals } of operations) {
    const security =
      new RegExp(`"operationId":"${operationId}".*?"security":(\\[[^\\]]*\\](?:\\}[^\\]]*\\])*)`).exec(text)?.[1] ?? "";
    assert.equal(security.includes("vehicleToken"), principals.includes("vehicle"), operationId);
    assert.equal(security.includes("operatorToken"), principals.includes("operator"), operationId);
  }
});

test("a vehicle may call exactly what it needs to fetch and to report", () => {
  const called = operations
    .filter(({ principals }) => principals.includes("vehicle"))
    .map(({ operationId }) => operationId);
  assert.deepEqual(called.toSorted(), [
    "getLatestDesired",
    "postHealthReports",
    "postReconcileReports",
    "postVehicleEvents",
    "postVehicleStatus",
    "putAttachment",
  ]);
});

test("a viewer may change nothing", () => {
  for (const { operationId, method, principals } of operations) {
    if (principals.includes("viewer")) assert.equal(method, "GET", operationId);
  }
});

test("thirteen codes are the standard ones, and the table is complete", () => {
  assert.equal(REASON_CODES.length, 18);
  assert.deepEqual(Object.keys(REASONS), REASON_CODES);
  assert.deepEqual(REASON_CODES.filter((code) => REASONS[code].standard).toSorted(), [
    "APPLY_FAILED",
    "ARTIFACT_DOWNLOAD_FAILED",
    "CRASH_LOOP_DETECTED",
    "DENY_AUTONOMOUS_MODE",
    "DENY_LOW_BATTERY",
    "DENY_MOVING",
    "DENY_OUTSIDE_WINDOW",
    "INCOMPATIBLE_OS",
    "INCOMPATIBLE_ROS",
    "INSUFFICIENT_DISK",
    "READINESS_TIMEOUT",
    "ROLLBACK_APPLIED",
    "VERIFY_SIGNATURE_FAILED",
  ]);
});

suite("parameters are read from text", () => {
  test("numbers and booleans, with defaults", () => {
    assert.deepEqual(validation.parseText("ListReleasesQuery", { page: "2" }), {
      ok: true,
      value: { page: 2, limit: 50, sort: "-createdAt" },
    });
    assert.deepEqual(validation.parseText("CreateRolloutQuery", { dryRun: "true" }), {
      ok: true,
      value: { dryRun: true },
    });
  });
  test("a misspelt dry run is refused, not run", () => {
    assert.deepEqual(validation.parseText("CreateRolloutQuery", { dryrun: "true" }), {
      ok: false,
      problems: [{ path: "/dryrun", message: "is not known here" }],
    });
  });
  test("a newer agent may ask with parameters that this control plane does not know", () => {
    assert.equal(validation.parseText("GetLatestDesiredQuery", { vehicleId: "car-1", novelty: "1" }).ok, true);
  });
  test("a body is not coerced", () => {
    assert.equal(validation.parse("DesiredStateCreate", { retry: "true" }).ok, false);
  });
});

suite("an answer is parsed by its operation and status", () => {
  test("a success", () => {
    const body = { data: { status: "ok", version: "0.1.0" }, timestamp: "2026-11-23T22:00:00.000Z" };
    assert.deepEqual(validation.parseAnswer("getHealth", 200, body), { ok: true, value: { status: 200, body } });
  });
  test("nothing newer", () => {
    assert.deepEqual(validation.parseAnswer("getLatestDesired", 304, ""), {
      ok: true,
      value: { status: 304, body: undefined },
    });
  });
  test("a success of another shape", () =>
    assert.equal(validation.parseAnswer("getHealth", 200, { data: {} }).ok, false));
  test("a refusal is no success", () => assert.equal(validation.parseAnswer("getHealth", 503, {}).ok, false));
});

test("every error code's status is one that some operation can answer with, or belongs to routing", () => {
  const answered = new Set(operations.flatMap(({ refusals }) => refusals));
  const unused = Object.values(ERRORS).filter(({ status }) => !answered.has(status));
  assert.deepEqual(
    unused.map(({ code }) => code),
    ["METHOD_NOT_ALLOWED"],
  );
});
