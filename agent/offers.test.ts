import assert from "node:assert/strict";
import { test } from "node:test";
import type { Assignment, AssignmentOffer } from "@muto/spec";
import { signRelease } from "@muto/trust/cosign";
import { signAssignment } from "@muto/trust/documents";
import { generateKey, type Signer } from "@muto/trust/keys";
import { buildRoots } from "@muto/trust/roots";
import { silentLogger } from "@muto/kit/logger";
import { ModelClock } from "./model/clock.ts";
import { modelAssignment, modelRelease } from "./model/release.ts";
import { createOfferVerifier } from "./offer-verifier.ts";
import { isFloorDisowned, judgeAccepted, takeOffer, type OfferServices } from "./offers.ts";
import { applyRecord, type JournalRecord } from "./reconcile/records.ts";
import { EMPTY_STATE, isBarred } from "./reconcile/state.ts";
import { exampleConfig } from "./safety/example-vehicle.ts";

/* Real keys and signatures; only disk and clock are modelled. */

const release = modelRelease({ version: "1.0.0" });
const [online, releaser, stranger] = await Promise.all(
  [1, 2, 3].map(async () => (await generateKey("ed25519")).signer),
);

function rootsOf(keys: { readonly release: Signer; readonly assignment: Signer }) {
  const role = ({ publicKey: { keyid, algorithm, pem } }: Signer) => ({
    threshold: 1,
    keys: [{ keyid, algorithm, publicKey: pem }],
  });
  const built = buildRoots("default", { release: role(keys.release), assignment: role(keys.assignment) });
  if (!built.ok) throw new Error(built.problem);
  return built.roots;
}

async function offerOf(changes: Partial<Assignment>, by: Signer, releasedBy: Signer): Promise<AssignmentOffer> {
  const assignment = modelAssignment(release, 5, changes);
  const signature = await signRelease(releasedBy, { dockerReference: "r/s", manifestDigest: release.manifestDigest });
  return { envelope: await signAssignment(assignment, [by]), releaseSignatures: [signature] };
}

function keysOf(): { readonly online: Signer; readonly releaser: Signer; readonly stranger: Signer } {
  if (online === undefined || releaser === undefined || stranger === undefined) throw new Error("three keys were made");
  return { online, releaser, stranger };
}

function vehicle(roots = rootsOf({ release: keysOf().releaser, assignment: keysOf().online })) {
  const clock = new ModelClock(Date.parse("2026-06-01T01:00:00.000Z"));
  const journal: JournalRecord[] = [];
  const store = {
    state: EMPTY_STATE,
    fault: undefined,
    record: async (record: JournalRecord) => {
      journal.push(record);
      store.state = applyRecord(store.state, record);
    },
  };
  const services: OfferServices = {
    clock,
    bootId: "boot",
    config: exampleConfig(),
    store,
    verifier: createOfferVerifier(roots, "vehicle-v3-0142"),
    logger: silentLogger,
  };
  return { services, store, clock, journal };
}

void test("an authentic assignment is accepted durably, its floors first", async () => {
  const { services, store, journal, clock } = vehicle();
  const { online: by, releaser: releasedBy } = keysOf();
  const taken = await takeOffer(services, { offer: await offerOf({}, by, releasedBy), serverDateMs: clock.wallMs() });
  assert.deepEqual(taken, { release: { ok: true } });
  assert.equal(store.state.floors.sequence, 5);
  assert.deepEqual(
    journal.map(({ kind }) => kind),
    ["time-learned", "accepted"],
  );
});

void test("the same answer again writes nothing", async () => {
  const { services, journal, clock } = vehicle();
  const { online: by, releaser: releasedBy } = keysOf();
  const offer = await offerOf({}, by, releasedBy);
  await takeOffer(services, { offer, serverDateMs: clock.wallMs() });
  const written = journal.length;
  for (let polls = 0; polls < 3; polls++) {
    assert.equal(await takeOffer(services, { offer, serverDateMs: clock.wallMs() }), undefined);
    await takeOffer(services, { offer: undefined, serverDateMs: clock.wallMs() });
    clock.advance(30_000);
  }
  assert.equal(journal.length, written);
});

void test("a forged, an older or another vehicle's assignment is refused once and takes nothing back", async () => {
  const { services, store, clock } = vehicle();
  const { online: by, releaser: releasedBy, stranger: forger } = keysOf();
  const good = await offerOf({}, by, releasedBy);
  await takeOffer(services, { offer: good, serverDateMs: clock.wallMs() });
  const cases = [
    [await offerOf({ sequence: 6 }, forger, releasedBy), "VERIFY_SIGNATURE_FAILED", null],
    [await offerOf({ sequence: 4 }, by, releasedBy), "DESIRED_STATE_REJECTED", 4],
    [await offerOf({ sequence: 6, vehicleId: "other-vehicle" }, by, releasedBy), "DESIRED_STATE_REJECTED", 6],
    [
      await offerOf({ sequence: 6, acceptBefore: "2026-06-01T00:59:30.000Z" }, by, releasedBy),
      "DESIRED_STATE_REJECTED",
      6,
    ],
  ] as const;
  for (const [offer, code, sequence] of cases) {
    await takeOffer(services, { offer, serverDateMs: clock.wallMs() });
    const { refusal } = store.state;
    assert.equal(refusal?.reasonCode, code);
    assert.equal(refusal.sequence, sequence);
    assert.equal(store.state.accepted?.assignment.sequence, 5, "what was accepted stands");
    assert.equal(store.state.floors.sequence, 5);
    await takeOffer(services, { offer, serverDateMs: clock.wallMs() });
    assert.equal(store.state.refusal, refusal, "once");
  }
  await takeOffer(services, { offer: good, serverDateMs: clock.wallMs() });
  assert.equal(store.state.refusal, null, "the attack is over");
});

void test("an assignment whose release nobody signed supersedes the older one and may not be fetched", async () => {
  const { services, store, clock } = vehicle();
  const { online: by, releaser: releasedBy, stranger: forger } = keysOf();
  await takeOffer(services, { offer: await offerOf({}, by, releasedBy), serverDateMs: clock.wallMs() });
  const taken = await takeOffer(services, {
    offer: await offerOf({ sequence: 6 }, by, forger),
    serverDateMs: clock.wallMs(),
  });
  assert.ok(taken !== undefined && !taken.release.ok);
  assert.equal(taken.release.reasonCode, "VERIFY_SIGNATURE_FAILED");
  assert.equal(store.state.accepted?.assignment.sequence, 6);
});

void test("H20: a clock that says 2099 makes no fresh document look expired, and what it says is not believed later", async () => {
  const { services, store, clock } = vehicle();
  const { online: by, releaser: releasedBy } = keysOf();
  const serverDateMs = clock.wallMs();
  clock.setWall(Date.parse("2099-01-01T00:00:00.000Z"));
  await takeOffer(services, { offer: await offerOf({}, by, releasedBy), serverDateMs });
  assert.equal(store.state.accepted?.assignment.sequence, 5);
  assert.equal(store.state.time.distrusted, true);
  assert.equal(store.state.time.floorMs, Date.parse("2026-06-01T00:59:00.000Z"));
});

void test("after a start what was accepted is judged by the trust root of today; mere age takes nothing back", async () => {
  const { services, store, clock } = vehicle();
  const { online: by, releaser: releasedBy, stranger: other } = keysOf();
  await takeOffer(services, { offer: await offerOf({}, by, releasedBy), serverDateMs: clock.wallMs() });
  assert.deepEqual(judgeAccepted(services), { ok: true });
  clock.advance(90 * 86_400_000);
  assert.deepEqual(judgeAccepted(services), { ok: true });
  const rotated = vehicle(rootsOf({ release: releasedBy, assignment: other }));
  rotated.store.state = store.state;
  const verdict = judgeAccepted(rotated.services);
  assert.equal(verdict.ok, false);
});

void test("H15: a stranger's signature beside a retry lifts no quarantine a second time", async () => {
  const { services, store, journal } = vehicle();
  const { online: by, releaser: releasedBy, stranger: other } = keysOf();
  const offer = await offerOf({ retry: true }, by, releasedBy);
  await takeOffer(services, { offer, serverDateMs: undefined });
  const { manifestDigest } = release;
  const entry = {
    manifestDigest,
    sinceMs: 1,
    reasonCodes: ["CRASH_LOOP_DETECTED"],
    attempts: 2,
    barred: true,
  } as const;
  store.state = { ...store.state, quarantine: [entry] };
  const junk = await signRelease(other, { dockerReference: "r/s", manifestDigest });
  const wrapped = { ...offer, releaseSignatures: [...offer.releaseSignatures, junk] };
  const before = journal.length;
  assert.equal(await takeOffer(services, { offer: wrapped, serverDateMs: undefined }), undefined);
  assert.equal(journal.length, before, "nothing is written");
  assert.equal(isBarred(store.state, manifestDigest), true);
  await services.store.record({
    kind: "accepted",
    accepted: { offer: wrapped, assignment: assignmentOf(store), atMs: 1 },
  });
  assert.equal(isBarred(store.state, manifestDigest), true, "whatever the journal says");
});

void test("known bytes with fewer signatures are noise: nothing is refused, and what was accepted stays", async () => {
  const { services, store, journal } = vehicle();
  const { online: by, releaser: releasedBy } = keysOf();
  const offer = await offerOf({}, by, releasedBy);
  await takeOffer(services, { offer, serverDateMs: undefined });
  const before = journal.length;
  const stripped = { ...offer, releaseSignatures: [] };
  const unsigned = { ...offer, envelope: { ...offer.envelope, signatures: [] } };
  for (const worse of [stripped, unsigned]) {
    assert.equal(await takeOffer(services, { offer: worse, serverDateMs: undefined }), undefined);
  }
  assert.equal(journal.length, before);
  assert.deepEqual(store.state.accepted?.offer, offer);
});

void test("known bytes with the release signature that was missing are taken", async () => {
  const { services, store } = vehicle();
  const { online: by, releaser: releasedBy } = keysOf();
  const offer = await offerOf({}, by, releasedBy);
  const first = await takeOffer(services, { offer: { ...offer, releaseSignatures: [] }, serverDateMs: undefined });
  assert.equal(first?.release.ok, false);
  assert.deepEqual(await takeOffer(services, { offer, serverDateMs: undefined }), { release: { ok: true } });
  assert.deepEqual(store.state.accepted?.offer, offer);
});

void test("fast-forward with a stolen key ends with roots that replace the key, and with nothing less", async () => {
  const { services, store } = vehicle();
  const { online: stolen, releaser: releasedBy, stranger: replacement } = keysOf();
  const jump = await offerOf({ sequence: 4_000_000_000_000_000 }, stolen, releasedBy);
  await takeOffer(services, { offer: jump, serverDateMs: undefined });
  assert.equal(isFloorDisowned(services), false, "the key is trusted still");
  const roots = rootsOf({ release: releasedBy, assignment: replacement });
  const rotated = { ...services, verifier: createOfferVerifier(roots, "vehicle-v3-0142") };
  assert.equal(isFloorDisowned(rotated), true);
  await store.record({ kind: "sequence-reset" });
  assert.equal(isFloorDisowned(rotated), false, "once");
  const offer = await offerOf({ sequence: 6 }, replacement, releasedBy);
  assert.deepEqual(await takeOffer(rotated, { offer, serverDateMs: undefined }), { release: { ok: true } });
  assert.equal(store.state.floors.sequence, 6);
  assert.equal(await takeOffer(rotated, { offer: jump, serverDateMs: undefined }), undefined);
  assert.equal(store.state.refusal?.reasonCode, "VERIFY_SIGNATURE_FAILED");
  assert.equal(store.state.floors.sequence, 6);
});

function assignmentOf({ state }: ReturnType<typeof vehicle>["store"]): Assignment {
  if (state.accepted === null) throw new Error("nothing was accepted");
  return state.accepted.assignment;
}
