import assert from "node:assert/strict";
import { test } from "node:test";
import type { SignalLine } from "@muto/spec";
import type { GateContext } from "./context.ts";
import { emptyPolicy, exampleConfig, exampleNow, heardFor, samplesOf, strictPolicy } from "./example-vehicle.ts";
import { evaluateGates } from "./gates.ts";
import type { LocalLock, ProviderSamples, SignalSamples } from "./signals.ts";

/**
 * Every combination of what the signals may say and how they may fail, against a restatement of the gates that a person can check
 * line by line. Each signal has a provider of its own, so that each can fail alone. Looking up a time zone is many times the cost of
 * all the rest, so the times inside and outside the window are combined with every set of open and closed gates, and the clock
 * that is not trusted with everything.
 */
const config = exampleConfig({
  signals: {
    speed: [{ provider: "speed" }],
    yawRate: "none",
    mode: [{ provider: "mode" }],
    battery: [{ provider: "battery" }, { provider: "plug", optional: true }],
    parked: [{ provider: "parked" }],
    hold: [{ provider: "hold" }],
  },
});

/** What one signal says; unseen is stale, missing or malformed. */
interface Said {
  readonly says: string;
  readonly samples: ProviderSamples | undefined;
}

type Line = Partial<SignalLine>;

function heard(provider: string, says: string, line: Line, heardWhen: Parameters<typeof heardFor>[3] = {}): Said {
  return { says, samples: heardFor(config, provider, { kind: "muto.signals/v1", ...line }, heardWhen) };
}

/** The ways in which a signal is not seen; what it said before it fell silent was fine. */
function unseen(provider: string, fine: Line): readonly Said[] {
  return [
    heard(provider, "unseen", fine, { endedSec: 3 }),
    { says: "unseen", samples: undefined },
    { says: "unseen", samples: heardFor(config, provider, "malformed") },
  ];
}

const table = {
  speed: [
    heard("speed", "standing", { speedMps: 0.05 }),
    heard("speed", "moving", { speedMps: 5 }),
    heard("speed", "just-stopped", { speedMps: 0 }, { forSec: 60 }),
    ...unseen("speed", { speedMps: 0 }),
  ],
  parked: [
    heard("parked", "yes", { parked: true }),
    heard("parked", "no", { parked: false }),
    ...unseen("parked", { parked: true }),
  ],
  mode: [
    heard("mode", "manual", { mode: "manual" }),
    heard("mode", "autonomous", { mode: "autonomous" }),
    heard("mode", "transition", { mode: "transition" }),
    heard("mode", "risk", { mode: "minimal-risk-manoeuvre" }),
    ...unseen("mode", { mode: "manual" }),
  ],
  battery: [
    heard("battery", "full", { batteryPct: 80 }),
    heard("battery", "low", { batteryPct: 10 }),
    ...unseen("battery", { batteryPct: 80 }),
  ],
  plug: [
    heard("plug", "charging", { charging: true }),
    heard("plug", "unplugged", { charging: false }),
    ...unseen("plug", { charging: true }),
  ],
  hold: [
    heard("hold", "free", { hold: { held: false } }),
    heard("hold", "held", { hold: { held: true } }),
    ...unseen("hold", { hold: { held: false } }),
  ],
} as const satisfies Readonly<Record<string, readonly Said[]>>;

type Signal = keyof typeof table;
type Combination = Readonly<Record<Signal, Said>>;

interface Person {
  readonly says: "nothing" | "hold" | "lock";
  readonly technician: Partial<SignalSamples["technician"]>;
  readonly lock: LocalLock;
}

const none: LocalLock = { kind: "none" };
const people: readonly Person[] = [
  { says: "nothing", technician: {}, lock: none },
  { says: "hold", technician: { hold: { kind: "held", who: "anna", why: "maintenance" } }, lock: none },
  { says: "lock", technician: {}, lock: { kind: "held", who: "planner", why: "mission", untilWallMs: null } },
];

function* combinations(only: Readonly<Partial<Record<Signal, readonly Said[]>>> = {}): Generator<Combination> {
  const {
    speed: speeds,
    parked: parkeds,
    mode: modes,
    battery: batteries,
    plug: plugs,
    hold: holds,
  } = { ...table, ...only };
  for (const speed of speeds)
    for (const parked of parkeds)
      for (const mode of modes)
        for (const battery of batteries)
          for (const plug of plugs) for (const hold of holds) yield { speed, parked, mode, battery, plug, hold };
}

type Code = "DENY_MOVING" | "DENY_AUTONOMOUS_MODE" | "DENY_LOW_BATTERY" | "DENY_OUTSIDE_WINDOW" | "DENY_LOCAL_HOLD";

/** Under the strict policy, before a change, in the window. */
function closedFor({ speed, parked, mode, battery, plug, hold }: Combination, person: Person): readonly Code[] {
  const codes: Code[] = [];
  if (speed.says !== "standing" || parked.says !== "yes") codes.push("DENY_MOVING");
  if (mode.says !== "manual") codes.push("DENY_AUTONOMOUS_MODE");
  if (battery.says === "unseen" || (battery.says === "low" && plug.says !== "charging")) codes.push("DENY_LOW_BATTERY");
  if (hold.says !== "free" || person.says !== "nothing") codes.push("DENY_LOCAL_HOLD");
  return codes;
}

/** With a technician's word that the vehicle stands, which anything that says otherwise makes void. */
function closedThough(combination: Combination, person: Person): readonly Code[] {
  const { speed, parked, mode } = combination;
  const isVoid = speed.says === "moving" || parked.says === "no" || !["manual", "unseen"].includes(mode.says);
  if (isVoid) return closedFor(combination, person);
  const moves = speed.says === "just-stopped" ? (["DENY_MOVING"] as const) : [];
  const others = closedFor(combination, person).filter(
    (code) => code !== "DENY_MOVING" && code !== "DENY_AUTONOMOUS_MODE",
  );
  return [...moves, ...others];
}

function without(codes: readonly Code[], ...dropped: readonly Code[]): readonly Code[] {
  return codes.filter((code) => !dropped.includes(code));
}

/** To stop a stack that fails, only a hold that somebody really holds counts. */
function closedForStop(combination: Combination, person: Person): readonly Code[] {
  const isHeld = combination.hold.says === "held" || person.says !== "nothing";
  const codes = without(closedFor(combination, person), "DENY_LOW_BATTERY", "DENY_OUTSIDE_WINDOW");
  return isHeld ? codes : without(codes, "DENY_LOCAL_HOLD");
}

interface Asked {
  readonly purpose?: GateContext["purpose"];
  readonly policy: GateContext["policy"];
  readonly trusted?: boolean;
  readonly confirmed?: boolean;
}

const { applyWindow: inside, ...unlimited } = strictPolicy;
const outside = { startLocal: "12:00", endLocal: "13:00" };
const standing = {
  madeMs: exampleNow.monotonicMs - 1_000,
  untilMs: exampleNow.monotonicMs + 60_000,
  untilWallMs: exampleNow.wallMs + 60_000,
};

function codesOf(combination: Combination, person: Person, asked: Asked): readonly string[] {
  const said = new Map<string, ProviderSamples>();
  for (const [name, { samples }] of Object.entries(combination)) if (samples !== undefined) said.set(name, samples);
  const { providers: _, ...apart } = samplesOf({}, { ...person.technician, ...(asked.confirmed && { standing }) });
  const verdict = evaluateGates({
    purpose: asked.purpose ?? "switch",
    policy: asked.policy,
    config,
    samples: { ...apart, providers: said, lock: person.lock },
    clock: { ...exampleNow, trusted: asked.trusted ?? true },
    disk: { freeMb: 1000, neededMb: 1 },
  });
  return verdict.open ? [] : [...new Set(verdict.refusals.map(({ reasonCode }) => reasonCode))];
}

/** Compares as text, because comparing objects costs more than the gates. */
function agree(combination: Combination, person: Person, asked: Asked, expected: readonly string[]): void {
  const actual = codesOf(combination, person, asked);
  if (actual.join() === expected.join()) return;
  const said = Object.entries(combination).map(([name, { says, samples }]) => [name, says, samples?.lastLine]);
  assert.deepEqual(actual, expected, JSON.stringify([said, person, asked]));
}

/** In the order of the table of gates. */
function withWindow(codes: readonly Code[]): readonly Code[] {
  return [
    ...without(codes, "DENY_LOCAL_HOLD"),
    "DENY_OUTSIDE_WINDOW",
    ...codes.filter((code) => code === "DENY_LOCAL_HOLD"),
  ];
}

test("every combination of what signals say and how they fail agrees with the restatement", () => {
  const sizes = Object.values(table).map((column) => column.length);
  let tried = 0;
  for (const combination of combinations()) {
    for (const person of people) {
      const codes = closedFor(combination, person);
      agree(combination, person, { policy: unlimited }, codes);
      tried += 1;
    }
  }
  assert.equal(
    tried,
    sizes.reduce((product, size) => product * size, people.length),
  );
});

test("H20: a clock that is not trusted closes the window, whatever the signals say", () => {
  for (const combination of combinations({ plug: table.plug.slice(0, 2), hold: table.hold.slice(0, 2) })) {
    const asked = { policy: strictPolicy, trusted: false };
    for (const person of people) agree(combination, person, asked, withWindow(closedFor(combination, person)));
  }
});

test("the window, inside and outside, with every set of open and closed gates", () => {
  const two = <Column extends readonly Said[]>(column: Column) => column.slice(0, 2);
  const ends = {
    speed: two(table.speed),
    parked: two(table.parked),
    mode: two(table.mode),
    battery: two(table.battery),
  };
  for (const combination of combinations({ ...ends, plug: [table.plug[1]], hold: two(table.hold) })) {
    for (const person of people.slice(0, 2)) {
      const codes = closedFor(combination, person);
      agree(combination, person, { policy: { ...unlimited, ...(inside && { applyWindow: inside }) } }, codes);
      agree(combination, person, { policy: { ...unlimited, applyWindow: outside } }, withWindow(codes));
    }
  }
});

test("H1: a policy that asks for nothing leaves the floor, and a rollback waits for nothing else", () => {
  for (const combination of combinations({ plug: [table.plug[1]] })) {
    for (const person of people) {
      const floor = without(closedFor(combination, person), "DENY_LOW_BATTERY");
      agree(combination, person, { policy: emptyPolicy, trusted: false }, floor);
      agree(
        combination,
        person,
        { purpose: "stop", policy: strictPolicy, trusted: false },
        closedForStop(combination, person),
      );
    }
  }
});

test("a technician's word stands in for what is not seen, and for nothing else", () => {
  for (const combination of combinations({ battery: table.battery.slice(0, 2), plug: [table.plug[1]] })) {
    for (const person of people) {
      agree(combination, person, { policy: unlimited, confirmed: true }, closedThough(combination, person));
    }
  }
});

const locks: readonly (readonly [string, LocalLock, boolean, boolean])[] = [
  [
    "that is over by a trusted clock",
    { kind: "held", who: "a", why: "other", untilWallMs: exampleNow.wallMs },
    true,
    false,
  ],
  [
    "that is over by a clock that nobody trusts (H20)",
    { kind: "held", who: "a", why: "other", untilWallMs: 0 },
    false,
    true,
  ],
  ["that lasts", { kind: "held", who: "a", why: "other", untilWallMs: exampleNow.wallMs + 1 }, true, true],
  ["that cannot be read", { kind: "unreadable" }, true, true],
];
for (const [name, lock, trusted, holds] of locks) {
  test(`a lock file ${name} ${holds ? "holds" : "holds no longer"}, a change and a rollback alike`, () => {
    const [free] = combinations();
    assert.ok(free !== undefined);
    for (const purpose of ["switch", "stop"] as const) {
      const codes = codesOf(free, { says: "lock", technician: {}, lock }, { purpose, policy: unlimited, trusted });
      assert.deepEqual(codes, holds ? ["DENY_LOCAL_HOLD"] : []);
    }
  });
}
