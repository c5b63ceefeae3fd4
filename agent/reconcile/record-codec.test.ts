import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { modelAssignment } from "../model/release.ts";
import { exits, NOW, refOf, releaseA, releaseB, rollbackOf, trialOf } from "../model/situation.ts";
import { modelOffer } from "../model/verifier.ts";
import { encodeRecord, parseRecord, snapshotRecord } from "./record-codec.ts";
import { applyRecord, type JournalRecord } from "./records.ts";
import { EMPTY_STATE, hasRoomToFail, QUARANTINE_MAX, type AgentState } from "./state.ts";

const assignment = modelAssignment(releaseB, 7);
const set = refOf(releaseB);
const digest = releaseA.manifestDigest;
const reasonCode = "READINESS_TIMEOUT" as const;
const evidence = [{ kind: "rollback", reasonCode, from: digest, to: null, reboots: 3 }] as const;
const cause = { reasonCodes: [reasonCode], evidence };
const outcome = {
  kind: "failed",
  from: set,
  to: null,
  cause,
  attempt: 2,
  desiredStateRevision: "dsr_x",
  sequence: 7,
  atMs: 1,
} as const;

/** One of each kind; a kind that is missing here does not compile. */
const records: { readonly [Kind in JournalRecord["kind"]]: Extract<JournalRecord, { kind: Kind }> } = {
  snapshot: { kind: "snapshot", state: EMPTY_STATE },
  "time-learned": {
    kind: "time-learned",
    time: { floorMs: 5, anchor: { issuedAtMs: 5, ageMs: 1, monotonicMs: 2, bootId: "boot" }, distrusted: true },
  },
  accepted: { kind: "accepted", accepted: { offer: modelOffer(assignment), assignment, atMs: 3 } },
  refused: {
    kind: "refused",
    refusal: { offerHash: "a", contextHash: "b", reasonCode, evidence, sequence: null, desiredStateRevision: null },
  },
  "sequence-reset": { kind: "sequence-reset" },
  "refusal-cleared": { kind: "refusal-cleared" },
  staged: { kind: "staged", set, timings: { downloadSec: 1.5 } },
  unstaged: { kind: "unstaged" },
  "target-verified": { kind: "target-verified", manifestDigest: digest, atMs: 4 },
  "target-damaged": { kind: "target-damaged", manifestDigest: digest },
  "trial-begun": { kind: "trial-begun", trial: trialOf(releaseB, releaseA, { before: [{ probe: "up", met: false }] }) },
  "trial-phase": { kind: "trial-phase", phase: "probation", at: NOW, timings: { applySec: 1, readinessSec: 2 } },
  "trial-abandoned": { kind: "trial-abandoned" },
  "trial-rebooted": { kind: "trial-rebooted", at: NOW },
  "trial-powered": { kind: "trial-powered", poweredMs: 30_000, at: NOW },
  committed: { kind: "committed", securityEpoch: 2, atMs: 9 },
  "rollback-begun": { kind: "rollback-begun", rollback: rollbackOf(releaseB, null) },
  "rollback-phase": { kind: "rollback-phase", phase: "starting", at: NOW },
  "rollback-ended": { kind: "rollback-ended", outcome: "applied", evidence, atMs: 8, timings: { rollbackSec: 3 } },
  recovered: { kind: "recovered", atMs: 8 },
  stranded: { kind: "stranded", outcome },
  exited: {
    kind: "exited",
    exit: { instanceId: "i", set: digest, workload: "w", at: NOW, code: null, signal: "SIGSEGV" },
  },
  reported: { kind: "reported", reported: { key: "k", atMs: 1 } },
  spent: { kind: "spent", bytes: 100, atMs: 1, newDay: true },
};

const full: AgentState = {
  ...EMPTY_STATE,
  accepted: { offer: modelOffer(assignment), assignment, atMs: 1 },
  refusal: records.refused.refusal,
  active: refOf(releaseA),
  previous: set,
  staged: set,
  trial: trialOf(releaseB, releaseA),
  outcome,
  quarantine: [{ manifestDigest: digest, sinceMs: 1, reasonCodes: [reasonCode], attempts: 2, barred: true }],
  exits: exits(releaseA, "control", 3, 1),
  rollbackVerifiedAtMs: 5,
  timings: { downloadSec: 1 },
  lastReported: { key: "k", atMs: 2 },
  spent: { sinceMs: 1, bytes: 2 },
};

void test("every kind of record comes back from the disk as it was written", () => {
  for (const record of Object.values(records)) {
    assert.deepEqual(parseRecord(encodeRecord(record)), { ok: true, record }, record.kind);
  }
  const snapshot = snapshotRecord(full);
  assert.deepEqual(parseRecord(encodeRecord(snapshot)), { ok: true, record: snapshot });
});

void test("a record that lacks any of its fields, or has one of another type, is refused and says where", () => {
  const json = JSON.parse(new TextDecoder().decode(encodeRecord(snapshotRecord(full))));
  let looked = 0;
  for (const [place, broken] of breakEverywhere(json)) {
    if (place === "/state/timings/downloadSec" && broken.missing) continue;
    const parsed = parseRecord(new TextEncoder().encode(JSON.stringify(broken.value)));
    if (isLoose(place)) continue;
    looked += 1;
    assert.equal(parsed.ok, false, `${place} ${broken.missing ? "missing" : "of another type"}`);
  }
  assert.ok(looked > 100);
});

void test("bytes that are no record never throw and never count as one", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.json().map((text) => new TextEncoder().encode(text)),
      ),
      (bytes) => {
        assert.equal(parseRecord(new Uint8Array(bytes)).ok, false);
      },
    ),
  );
  assert.deepEqual(parseRecord(new TextEncoder().encode('{"kind":"from-the-future"}')), { ok: false, at: "/kind" });
});

void test("no order of records breaks the state: floors fall with their key alone, one change at a time, failed sets are never committed", () => {
  const any = fc.constantFrom(...Object.values(records).filter(({ kind }) => kind !== "snapshot"));
  fc.assert(
    fc.property(fc.array(any, { maxLength: 40 }), (sequence) => {
      let state = EMPTY_STATE;
      for (const record of sequence) {
        const next = applyRecord(state, record);
        const isDisowned = record.kind === "sequence-reset";
        assert.ok(isDisowned || next.floors.sequence >= state.floors.sequence);
        assert.ok(next.floors.epoch >= state.floors.epoch);
        assert.ok((next.time.floorMs ?? 0) >= (state.time.floorMs ?? 0));
        if (record.kind === "rollback-begun") assert.equal(next.trial, null);
        if (next.active !== null && next.active !== state.active) {
          assert.ok(record.kind === "committed" || record.kind === "rollback-ended");
        }
        state = next;
      }
      assert.deepEqual(parseRecord(encodeRecord(snapshotRecord(state))), { ok: true, record: snapshotRecord(state) });
    }),
  );
});

void test("what a return could not wait for joins its cause, once", () => {
  const item = {
    kind: "storage",
    reasonCode: "INSUFFICIENT_DISK",
    operation: "change-flag",
    problem: "ENOSPC",
  } as const;
  const phase = { kind: "rollback-phase", phase: "stopping", at: NOW, evidence: [item] } as const;
  assert.deepEqual(parseRecord(encodeRecord(phase)), { ok: true, record: phase });
  const begun = applyRecord(EMPTY_STATE, records["rollback-begun"]);
  const twice = applyRecord(applyRecord(begun, phase), phase);
  const before = begun.rollback?.cause.evidence ?? [];
  assert.deepEqual(twice.rollback?.cause.evidence, [...before, item]);
});

void test("H15: no failed release is forgotten to make room for another; one that was lifted is", () => {
  const digestOf = (index: number) => `sha256:${String(index).padStart(64, "0")}`;
  const entry = (index: number, barred: boolean) => {
    return { manifestDigest: digestOf(index), sinceMs: index, reasonCodes: [], attempts: 1, barred } as const;
  };
  const quarantine = Array.from({ length: QUARANTINE_MAX }, (_, index) => entry(index, index !== 40));
  const begun = applyRecord({ ...EMPTY_STATE, quarantine }, records["rollback-begun"]);
  const ended = applyRecord(begun, records["rollback-ended"]);
  assert.equal(ended.quarantine.length, QUARANTINE_MAX);
  assert.ok(ended.quarantine.some(({ manifestDigest }) => manifestDigest === digestOf(0)));
  assert.ok(ended.quarantine.every(({ manifestDigest }) => manifestDigest !== digestOf(40)));
  const full = quarantine.slice(0, QUARANTINE_MAX - 1).filter(({ barred }) => barred);
  assert.equal(hasRoomToFail({ ...EMPTY_STATE, quarantine: full }, digestOf(99)), false);
  assert.equal(hasRoomToFail({ ...EMPTY_STATE, quarantine: full }, digestOf(1)), true, "it is on the list already");
  assert.equal(hasRoomToFail({ ...EMPTY_STATE, quarantine: full.slice(1) }, digestOf(99)), true);
});

void test("a workload that was stopped because it hung counts once, and stays told from one that ended by itself (H24)", () => {
  const hung = { ...records.exited, exit: { ...records.exited.exit, signal: null, hung: true } } as const;
  assert.deepEqual(parseRecord(encodeRecord(hung)), { ok: true, record: hung });
  assert.equal(applyRecord(applyRecord(EMPTY_STATE, hung), records.exited).exits.length, 1);
});

void test("the same end of a workload is counted once; an older sequence changes nothing", () => {
  const twice = applyRecord(applyRecord(EMPTY_STATE, records.exited), records.exited);
  assert.equal(twice.exits.length, 1);
  const newest = applyRecord(EMPTY_STATE, records.accepted);
  const older = { ...records.accepted.accepted, assignment: { ...assignment, sequence: 6 } };
  assert.equal(applyRecord(newest, { kind: "accepted", accepted: older }), newest);
});

void test("a commit makes the old set the one to return to; the way back from a committed set leaves none behind it", () => {
  const begun = applyRecord({ ...EMPTY_STATE, active: refOf(releaseA) }, records["trial-begun"]);
  const committed = applyRecord(begun, records.committed);
  assert.equal(committed.active?.manifestDigest, releaseB.manifestDigest);
  assert.equal(committed.previous?.manifestDigest, releaseA.manifestDigest);
  const back = applyRecord(committed, { kind: "rollback-begun", rollback: rollbackOf(releaseB, releaseA) });
  const ended = applyRecord(back, records["rollback-ended"]);
  assert.equal(ended.active?.manifestDigest, releaseA.manifestDigest);
  assert.equal(ended.previous, null);
  assert.equal(ended.quarantine.at(0)?.manifestDigest, releaseB.manifestDigest);
  assert.equal(ended.outcome?.kind, "applied");
});

interface Broken {
  readonly value: unknown;
  readonly missing: boolean;
}

/** Every copy of the document with one field taken out, and with one value replaced by one of another type. */
function* breakEverywhere(value: unknown, at = ""): Generator<readonly [string, Broken]> {
  if (typeof value !== "object" || value === null) {
    yield [at, { value: Symbol.for("other"), missing: false }];
    return;
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      for (const [place, broken] of breakEverywhere(item, `${at}/${index}`)) {
        yield [place, { ...broken, value: value.with(index, other(broken.value, item)) }];
      }
    }
    return;
  }
  for (const [name, item] of Object.entries(value)) {
    const rest = Object.entries(value).filter(([key]) => key !== name);
    yield [`${at}/${name}`, { value: Object.fromEntries(rest), missing: true }];
    for (const [place, broken] of breakEverywhere(item, `${at}/${name}`)) {
      yield [place, { ...broken, value: { ...value, [name]: other(broken.value, item) } }];
    }
  }
}

function other(broken: unknown, original: unknown): unknown {
  if (broken !== Symbol.for("other")) return broken;
  return typeof original === "object" && original !== null ? 7 : { not: "this" };
}

/** Documents of the contract that readers take with fields that they do not know. */
function isLoose(place: string): boolean {
  return /\/(offer|assignment)\//.test(place) || place.includes("/evidence/");
}
