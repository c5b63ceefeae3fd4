import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judgeLooked, type Looked } from "./findings.ts";

const reached = { url: "http://cloud.example", status: 200, ms: 12 };

const fit: Looked = {
  warnings: [],
  trust: { ok: true, keys: 2 },
  hasKey: true,
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
  },
  optionalProviders: new Set(),
  graph: undefined,
};

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
      optionalProviders: new Set(["spare"]),
    },
    [],
  ],
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
