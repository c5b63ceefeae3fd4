import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judgeLooked, type Looked } from "./findings.ts";

const reached = { url: "http://cloud.example", status: 200, ms: 12 };

const freshness = [{ provider: "gateway", signal: "speed", freshForSec: 2, optional: false }] as const;

const fit: Looked = {
  warnings: [],
  trust: { ok: true, keys: 2 },
  identity: { vehicleId: "vehicle-1", hasKey: true, claim: undefined },
  state: { problem: null, freeMb: 9_000, reserveMb: 512 },
  clock: { wallMs: Date.UTC(2026, 10, 24), cloudDateMs: Date.UTC(2026, 10, 24) },
  engine: { kind: "not-configured" },
  native: { adapter: "process", systemdRuns: false },
  cloud: reached,
  registry: reached,
  broker: { ...reached, status: 0 },
  seen: {
    agentRuns: true,
    providers: [{ name: "gateway", lastLine: "good", samples: [{ key: "speedMps", value: 0, ageMs: 90 }] }],
    gate: { open: true, refusals: [] },
    enrolment: { state: "accepted", keyid: "c".repeat(64) },
  },
  freshness,
  graph: undefined,
};

const pending = { state: "pending", keyid: "c".repeat(64) } as const;
const noClaim = { path: "/etc/muto/claim", found: { kind: "none", problem: "malformed" } } as const;

const { enrolment: accepted, ...unasked } = fit.seen;

const moving = {
  kind: "gate",
  reasonCode: "DENY_MOVING",
  gate: "moving",
  signal: "speed",
  source: "gateway",
  required: 0.1,
  seen: 8,
  ageMs: 90,
} as const;

const situations: readonly (readonly [what: string, change: Partial<Looked>, unfit: readonly string[]])[] = [
  ["a vehicle that stands and lacks nothing", {}, []],
  ["one that drives", { seen: { ...fit.seen, gate: { open: false, refusals: [moving] } } }, []],
  [
    "one whose speed nobody knows",
    {
      seen: {
        ...fit.seen,
        gate: { open: false, refusals: [{ ...moving, problem: "stale", seen: null, ageMs: 9_000 }] },
      },
    },
    ["gates"],
  ],
  ["one that is offline", { cloud: { ...reached, status: null }, registry: { ...reached, status: null } }, []],
  ["one without a trust file", { trust: { ok: false, problem: "there is none" } }, ["trust"]],
  ["one whose state belongs to somebody else", { state: { ...fit.state, problem: "not writable" } }, ["state"]],
  ["one whose disk is full", { state: { ...fit.state, freeMb: 100 } }, ["state"]],
  ["one whose disk says nothing", { state: { ...fit.state, freeMb: null } }, ["state"]],
  ["one that woke up in 1970", { clock: { wallMs: 5_000, cloudDateMs: null } }, ["clock"]],
  ["one whose clock is an hour off", { clock: { ...fit.clock, cloudDateMs: Date.UTC(2026, 10, 24, 1) } }, []],
  [
    "one whose engine is away",
    { engine: { kind: "trouble", socket: "/run/x.sock", problem: "unreachable" } },
    ["engine"],
  ],
  ["one that asks for a systemd it has not", { native: { adapter: "systemd", systemdRuns: false } }, ["native"]],
  ["one on which nothing can run", { native: { adapter: "none", systemdRuns: true } }, ["runtime"]],
  [
    "one whose gateway is silent",
    { seen: { ...fit.seen, providers: [{ name: "gateway", lastLine: "none", samples: [] }] } },
    ["signal gateway"],
  ],
  [
    "one whose second gateway is silent, which is optional",
    {
      seen: { ...fit.seen, providers: [...fit.seen.providers, { name: "spare", lastLine: "none", samples: [] }] },
      freshness: [...freshness, { ...freshness[0], provider: "spare", optional: true }],
    },
    [],
  ],
  [
    "one whose gateway spoke for the last time a while ago",
    {
      seen: {
        ...fit.seen,
        providers: [{ name: "gateway", lastLine: "good", samples: [{ key: "speedMps", value: 0, ageMs: 12_500 }] }],
      },
    },
    ["signal gateway"],
  ],
  ["one whose key waits for an operator", { seen: { ...fit.seen, enrolment: pending } }, ["enrolment"]],
  [
    "one whose control plane never answered",
    { seen: { ...fit.seen, enrolment: { ...pending, state: "unknown" } } },
    [],
  ],
  [
    "one that has neither an accepted key nor a claim",
    { identity: { ...fit.identity, claim: noClaim }, seen: { ...fit.seen, enrolment: pending } },
    ["enrolment", "claim"],
  ],
  [
    "one that has no key yet and no claim",
    { identity: { ...fit.identity, hasKey: false, claim: noClaim }, seen: unasked },
    ["claim"],
  ],
  [
    "one whose claim is gone and whom nobody asked",
    { identity: { ...fit.identity, claim: noClaim }, seen: unasked },
    [],
  ],
  ["one that used its claim up and was accepted", { identity: { ...fit.identity, claim: noClaim } }, []],
];

describe("what makes a vehicle unfit", () => {
  for (const [what, change, unfit] of situations) {
    test(what, () => {
      const findings = judgeLooked({ ...fit, ...change });
      assert.deepEqual(
        findings.filter(({ verdict }) => verdict === "fail").map(({ about }) => about),
        unfit,
      );
      assert.ok(findings.every(({ says }) => says.length > 0));
    });
  }
});

test("a stack that does not keep what it should is shown to the technician, and the vehicle is fit", () => {
  const met = {
    probe: "web",
    workload: "web",
    probeKind: "http",
    met: true,
    required: 200,
    seen: 200,
    ageMs: 900,
  } as const;
  const gone = {
    probe: "planner-there",
    workload: "planner",
    probeKind: "node",
    met: false,
    problem: "absent",
    required: true,
    seen: false,
    ageMs: 1_200,
  } as const;
  const since = "2026-11-24T00:00:00.000Z";
  const drift = { ...gone, drift: "node-left", since } as const;
  const saysOf = (health: Looked["seen"]["health"]) =>
    judgeLooked({ ...fit, seen: { ...fit.seen, ...(health !== undefined && { health }) } })
      .filter(({ about }) => about.startsWith("probe") || about === "drift")
      .map(({ verdict, says }) => `${verdict} ${says}`);
  assert.deepEqual(saysOf(undefined), []);
  assert.deepEqual(saysOf({ probes: [met] }), ["ok all 1 are met"]);
  assert.deepEqual(saysOf({ probes: [met, gone], drift: [drift] }), [
    "warn node of planner: absent; seen false, needed true, 1.2 s old",
    `warn node-left planner, planner-there since ${since}`,
  ]);
});

test("what stands in the way says its limit and unit, once, and whether it is closed for now or for good", () => {
  const standstill = { ...moving, signal: "standstill", required: 120, seen: 5 } as const;
  const { source: _, ...absent } = moving;
  const refusals = [
    moving,
    { ...standstill, seen: 9 },
    standstill,
    { ...moving, problem: "stale", seen: null, ageMs: 12_500 },
    { ...absent, signal: "parked", problem: "missing", required: true, seen: null, ageMs: null },
  ] as const;
  const says = judgeLooked({ ...fit, seen: { ...fit.seen, gate: { open: false, refusals: refusals } } })
    .filter(({ about }) => about === "gates")
    .map(({ verdict, says: said }) => `${verdict} ${said}`);
  assert.deepEqual(says.toSorted(), [
    "fail DENY_MOVING parked: missing; needed true",
    "fail DENY_MOVING speed from gateway: stale, 12.5 s old; must be heard anew within 2 s",
    "wait DENY_MOVING speed from gateway: 8 m/s, 0.1 s old; must be below 0.1 m/s",
    "wait DENY_MOVING standstill from gateway: 5 s, 0.1 s old; must be at least 120 s",
  ]);
});

test("a key that waits is named, so that an operator can compare and accept it", () => {
  const [found] = judgeLooked({ ...fit, seen: { ...fit.seen, enrolment: pending } }).filter(
    ({ about }) => about === "enrolment",
  );
  assert.equal(accepted?.state, "accepted");
  assert.equal(found?.next, `an operator: muto vehicle accept vehicle-1 --keyid ${pending.keyid}`);
});
