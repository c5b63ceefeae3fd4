import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import * as parsers from "./generated/parsers.ts";
import { parseAgentConfig, parseAssignment, parseStackManifest } from "./generated/parsers.ts";
import { SCHEMAS } from "./generated/schemas.ts";
import { parseJson, problemsOf } from "./parse.ts";

test("JSON within the bounds comes back as JSON.parse would give it", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      const text = JSON.stringify(value);
      const expected: unknown = JSON.parse(text);
      if (text.includes('"__proto__"')) return;
      assert.deepEqual(parseJson(text), { ok: true, value: expected });
      assert.deepEqual(parseJson(new TextEncoder().encode(text)), { ok: true, value: expected });
    }),
  );
});

test("no bytes make it throw", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => typeof parseJson(bytes).ok === "boolean"));
});

test("depth counts brackets outside texts only", () => {
  assert.equal(parseJson('{"a":"[[[[","b":"\\"[["}', { bytesMax: 100, depthMax: 1 }).ok, true);
  assert.equal(parseJson('{"a":[]}', { bytesMax: 100, depthMax: 2 }).ok, true);
  assert.equal(parseJson('{"a":[{}]}', { bytesMax: 100, depthMax: 2 }).ok, false);
});

suite("size is bytes, not characters", () => {
  const bounds = { bytesMax: 8, depthMax: 1 };
  test("as many bytes as allowed", () => assert.equal(parseJson('"äöü"', bounds).ok, true));
  test("one more", () => assert.equal(parseJson('"äöüa"', bounds).ok, false));
  test("one more, as bytes", () => assert.equal(parseJson(new TextEncoder().encode('"äöüa"'), bounds).ok, false));
});

test("text that no database would give back is refused, in values and in names", () => {
  for (const text of ['{"a":"\\u0000"}', '{"a":["\\ud800"]}', '{"\\udc00x":1}', '"\\ud83d"']) {
    assert.deepEqual(parseJson(text), {
      ok: false,
      problems: [{ path: "", message: "has text with U+0000 or half a surrogate pair" }],
    });
  }
  assert.deepEqual(parseJson('"\\ud83d\\ude00"'), { ok: true, value: "😀" });
});

test("text that is not UTF-8 is refused", () => {
  assert.deepEqual(parseJson(new Uint8Array([0x22, 0xff, 0x22])), {
    ok: false,
    problems: [{ path: "", message: "is not UTF-8" }],
  });
});

test("no value makes a parser throw, and none that is not of its kind is accepted", () => {
  const table = Object.entries(parsers);
  assert.ok(table.length >= 18);
  for (const [name, parse] of table) {
    fc.assert(
      fc.property(fc.anything({ maxDepth: 3 }), (value) => {
        const parsed = parse(value);
        if (!parsed.ok) assert.ok(parsed.problems.length > 0 && parsed.problems.length <= 20);
        else assert.ok(name === "parseReasonCode" && typeof value === "string", `${name} accepted something random`);
      }),
      { numRuns: 50 },
    );
  }
});

const config = {
  kind: "muto.agent/v1",
  vehicle: { id: "car-1", model: "m", os: "ubuntu-22.04", rosDistro: "humble", timezone: "Europe/Berlin" },
  cloud: { url: "https://muto.example" },
  stateDir: "/var/lib/muto",
  trustFile: "/etc/muto/trust.json",
  signals: { speed: "none", mode: "none", battery: "none" },
};

test("the floor that nobody configured is the safe one (H1)", () => {
  const given = structuredClone(config);
  const parsed = parseAgentConfig(given);
  assert.ok(parsed.ok);
  assert.deepEqual(parsed.value.safety, {
    requireStationary: true,
    denyAutonomous: true,
    batteryPctMin: 0,
    speedMpsMax: 0.1,
    yawRateRadpsMax: 0.05,
    standstillSec: 120,
    requireParked: false,
    diskReserveMb: 512,
  });
  assert.deepEqual(given, config, "what was given is untouched");
});

test("a safety setting with a typing error stops the start instead of being ignored (H1)", () => {
  const parsed = parseAgentConfig({ ...config, safety: { denyAutonmous: true } });
  assert.deepEqual(parsed, { ok: false, problems: [{ path: "/safety/denyAutonmous", message: "is not known here" }] });
});

test("defaults of one branch of a union do not leak into another", () => {
  const manifest = {
    kind: "muto.stack/v1",
    name: "a",
    version: "1",
    compatibility: { vehicleModels: [], os: [], rosDistro: [] },
    resourceProfile: { diskMbMin: 0 },
    healthModel: { readinessTimeoutSec: 1, probes: [{ kind: "tcp", name: "p", workload: "a", port: 1 }] },
    workloads: [{ name: "a", type: "native", archive: `sha256:${"a".repeat(64)}`, argv: ["a"] }],
  };
  const parsed = parseStackManifest(manifest);
  assert.ok(parsed.ok);
  assert.deepEqual(parsed.value.healthModel.probes, [
    { kind: "tcp", name: "p", workload: "a", port: 1, liveness: false },
  ]);
});

test("a problem names the place and never repeats the content", () => {
  const secret = "mct_very-secret-value";
  const parsed = parseAssignment({ kind: secret, vehicleId: secret, policy: secret, stack: { [secret]: 1 } });
  assert.ok(!parsed.ok);
  assert.ok(!JSON.stringify(parsed.problems).includes(secret));
});

test("at most twenty problems are listed", () => {
  const errors = Array.from({ length: 500 }, (_item, index) => ({
    instancePath: `/${index}`,
    keyword: "type",
    params: {},
  }));
  assert.equal(problemsOf(errors).length, 20);
});

test("every time that the contract allows is a time", () => {
  const { pattern } = SCHEMAS.Timestamp;
  assert.ok(typeof pattern === "string");
  fc.assert(
    fc.property(fc.stringMatching(new RegExp(pattern)), (text) => Number.isFinite(Date.parse(text))),
    { numRuns: 500 },
  );
});
