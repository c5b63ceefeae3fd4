import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { DiskError } from "@muto/kit/disk";
import { TOPICS } from "@muto/spec";
import type { CloudClient, Polled } from "./cloud-client.ts";
import { decoder, encoder, fakeCloud, health, offer, openVehicle, own, unchanged } from "./example-link.ts";

const LIMIT_MS = 20_000;
const reports = TOPICS.reconcileReports.format(own);
const presence = TOPICS.presence.format(own);

test("link: works without a broker: polls, hands in reports, beats", { timeout: LIMIT_MS }, async () => {
  await using vehicle = await openVehicle();
  const known = await vehicle.cloud.called("poll", 1);
  assert.deepEqual(JSON.parse(known), { sequenceFloor: 7, installId: vehicle.outbox.installId });
  await vehicle.cloud.called("health", 1);
  await vehicle.queue("a");
  assert.equal(await vehicle.cloud.called("post", 1), "1 a");
  await vehicle.queue("b");
  assert.equal(await vehicle.cloud.called("post", 2), "2 b");
});

test(
  "link: what the cloud offers is handed on, and asked for by its ETag next time",
  { timeout: LIMIT_MS },
  async () => {
    await using vehicle = await openVehicle({ pollMs: 5 });
    vehicle.cloud.answers.polled = {
      kind: "latest",
      assignment: offer,
      etag: '"7"',
      acknowledgedSeq: null,
      serverDateMs: 5,
    };
    await vehicle.cloud.called("poll", 2);
    vehicle.cloud.answers.polled = unchanged;
    const known = await vehicle.cloud.called("poll", 4);
    assert.equal(JSON.parse(known).etag, '"7"');
    const kinds = vehicle.contacts.map(({ offer: offered }) => (offered === undefined ? "same" : "new"));
    assert.equal(kinds[0], "same");
    assert.ok(kinds.includes("new"));
    assert.equal(vehicle.contacts.find(({ offer: offered }) => offered !== undefined)?.serverDateMs, 5);
  },
);

test(
  "link: what was not made durable yet is asked for without its ETag, so that it is offered again",
  { timeout: LIMIT_MS },
  async () => {
    const vehicleState = { isOfferTaken: false };
    await using vehicle = await openVehicle({ pollMs: 5, isOfferTaken: () => vehicleState.isOfferTaken });
    const latest = { kind: "latest", assignment: offer, etag: '"7"', acknowledgedSeq: null } as const;
    vehicle.cloud.answers.polled = { ...latest, serverDateMs: undefined };
    await vehicle.cloud.called("poll", 3);
    const asked = vehicle.cloud.values("poll").map((known) => JSON.parse(known).etag);
    assert.deepEqual(asked, [undefined, undefined, undefined]);
    vehicleState.isOfferTaken = true;
    const count = vehicle.cloud.values("poll").length;
    assert.equal(JSON.parse(await vehicle.cloud.called("poll", count + 2)).etag, '"7"');
  },
);

test(
  "link: a disk that refuses a heartbeat or a tail ends neither the link nor the agent",
  { timeout: LIMIT_MS },
  async () => {
    const refusing = { left: 2 };
    const refuse = () => {
      refusing.left -= 1;
      if (refusing.left >= 0) throw new DiskError("EIO", "read", "/tail");
    };
    await using vehicle = await openVehicle({
      pollMs: 5,
      healthMs: 5,
      health: async () => (refuse(), health),
      tails: { oldest: async () => (refuse(), undefined), forget: async () => {} },
    });
    await vehicle.cloud.called("health", 2);
    await vehicle.cloud.called("poll", 4);
    assert.ok(refusing.left < 0);
  },
);

test("link: the outbox forgets what a poll acknowledges", { timeout: LIMIT_MS }, async () => {
  await using vehicle = await openVehicle({ hasBroker: true });
  await vehicle.cloud.called("poll", 1);
  vehicle.broker.connect();
  await vehicle.queue("a");
  assert.equal(await vehicle.broker.called(reports, 1), "1 a");
  assert.equal(vehicle.outbox.waiting, 1, "published is not stored");
  vehicle.cloud.answers.polled = { ...unchanged, acknowledgedSeq: 1 };
  vehicle.link.pollSoon();
  while (vehicle.outbox.waiting > 0) await systemClock().sleep(1);
  assert.deepEqual(vehicle.cloud.values("post"), []);
});

test(
  "link: what was published on a connection that is gone is published again on the next",
  { timeout: LIMIT_MS },
  async () => {
    await using vehicle = await openVehicle({ hasBroker: true });
    vehicle.cloud.answers.receipt = "unavailable";
    vehicle.broker.connect();
    await vehicle.queue("a");
    await vehicle.broker.called(reports, 1);
    await vehicle.queue("b");
    assert.equal(await vehicle.broker.called(reports, 2), "2 b", "each once on a connection");
    vehicle.broker.disconnect();
    vehicle.broker.connect();
    assert.deepEqual(
      [await vehicle.broker.called(reports, 3), await vehicle.broker.called(reports, 4)],
      ["1 a", "2 b"],
    );
  },
);

test(
  "link: a report that the broker does not take goes over HTTP with the next poll",
  { timeout: LIMIT_MS },
  async () => {
    await using vehicle = await openVehicle({ hasBroker: true, pollMs: 20 });
    vehicle.broker.state.takes = false;
    vehicle.broker.connect();
    await vehicle.queue("a");
    assert.equal(await vehicle.cloud.called("post", 1), "1 a");
  },
);

test("link: without an answer a report waits; with one it goes, in order", { timeout: LIMIT_MS }, async () => {
  await using vehicle = await openVehicle({ pollMs: 5 });
  vehicle.cloud.answers.receipt = "unavailable";
  await vehicle.queue("a");
  await vehicle.cloud.called("post", 1);
  await vehicle.queue("b");
  await vehicle.cloud.called("post", 3);
  assert.equal(vehicle.outbox.waiting, 2);
  vehicle.cloud.answers.receipt = "duplicate";
  while (vehicle.outbox.waiting > 0) await systemClock().sleep(1);
  assert.equal(vehicle.cloud.values("post").at(-1), "1 a,2 b");
});

test("link: one report that the cloud cannot read does not hold up the others", { timeout: LIMIT_MS }, async () => {
  await using vehicle = await openVehicle({ pollMs: 5 });
  vehicle.cloud.answers.receipt = "unavailable";
  await vehicle.queue("poison");
  await vehicle.queue("b");
  vehicle.cloud.answers.receipt = "unreadable";
  while (vehicle.outbox.waiting > 0) await systemClock().sleep(1);
  assert.deepEqual(vehicle.cloud.values("post").slice(-3), ["1 poison,2 b", "1 poison", "2 b"]);
});

test("link: presence is retained when connected, and taken back when closed", { timeout: LIMIT_MS }, async () => {
  await using vehicle = await openVehicle({ hasBroker: true });
  const will = vehicle.broker.state.options?.will;
  assert.deepEqual([will?.topic, will?.retain, will?.qos], [presence, true, 1]);
  assert.deepEqual(JSON.parse(decoder.decode(will?.payload)), {
    kind: "muto.presence/v1",
    vehicleId: "vehicle-1",
    online: false,
  });
  vehicle.broker.connect();
  assert.equal(JSON.parse(await vehicle.broker.called(presence, 1)).online, true);
  await vehicle.close();
  assert.equal(JSON.parse(await vehicle.broker.called(presence, 2)).online, false);
  assert.deepEqual(vehicle.broker.values("disposed"), [""]);
});

test(
  "link: a notify of a newer sequence makes it poll sooner, an older or malformed one does not",
  { timeout: LIMIT_MS },
  async () => {
    await using vehicle = await openVehicle({ hasBroker: true });
    await vehicle.cloud.called("poll", 1);
    vehicle.broker.state.options?.onMessage(TOPICS.desiredNotify.format(own), encoder.encode("{"));
    vehicle.broker.state.options?.onMessage("somebody/else", encoder.encode("{}"));
    vehicle.broker.notify(7);
    vehicle.broker.notify(8);
    await vehicle.cloud.called("poll", 2);
    assert.equal(vehicle.cloud.values("poll").length, 2);
  },
);

test(
  "link: H26: a notify that names another origin is asked nothing; the configured one is polled",
  { timeout: LIMIT_MS },
  async () => {
    await using vehicle = await openVehicle({ hasBroker: true });
    await vehicle.cloud.called("poll", 1);
    vehicle.broker.notify(9, "https://collector.example.net/api/v1/desired-states/latest");
    await vehicle.cloud.called("poll", 2);
  },
);

test(
  "link: forged notify: a broker that rings without end is heard less and less often",
  { timeout: LIMIT_MS },
  async () => {
    const slept: number[] = [];
    const clock = {
      ...systemClock(),
      sleep: async (ms: number, stop?: AbortSignal) => {
        slept.push(ms);
        await systemClock().sleep(ms / 1_000, stop);
      },
    };
    await using vehicle = await openVehicle({ hasBroker: true, clock, pollMs: 100_000 });
    for (let polls = 1; polls <= 9; polls += 1) {
      await vehicle.cloud.called("poll", polls);
      vehicle.broker.notify(1_000 + polls);
    }
    const gaps = slept.filter((ms) => Number.isInteger(Math.log2(ms / 1_000)) || ms === 100_000);
    assert.deepEqual(gaps.slice(0, 8), [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 100_000]);
  },
);

const refused: Polled = { kind: "refused", status: 401, code: "UNAUTHENTICATED" };
const keyid = "c".repeat(64);

test("link: an unknown vehicle asks to be known and is polled for at once", { timeout: LIMIT_MS }, async () => {
  const asked: string[] = [];
  const cloud = fakeCloud();
  cloud.answers.polled = refused;
  cloud.answers.enrolled = { kind: "answered", answer: { vehicleId: own.vehicleId, keyid, state: "accepted" } };
  const client: CloudClient = {
    ...cloud.client,
    enroll: async (...given) => {
      asked.push("enroll");
      const enrolled = await cloud.client.enroll(...given);
      cloud.answers.polled = unchanged;
      return enrolled;
    },
  };
  await using vehicle = await openVehicle({ cloud: client });
  await cloud.called("poll", 2);
  while (vehicle.contacts.length === 0) await systemClock().sleep(1);
  assert.deepEqual(asked, ["enroll"]);
  assert.deepEqual(vehicle.enrolments.slice(0, 3), ["pending", "accepted", "accepted"]);
});

test("link: a vehicle that is accepted and refused in circles slows down", { timeout: LIMIT_MS }, async () => {
  const slept: number[] = [];
  const clock = {
    ...systemClock(),
    sleep: async (ms: number, stop?: AbortSignal) => {
      slept.push(ms);
      await systemClock().sleep(ms / 10_000, stop);
    },
  };
  const cloud = fakeCloud();
  cloud.answers.polled = refused;
  cloud.answers.enrolled = { kind: "answered", answer: { vehicleId: own.vehicleId, keyid, state: "accepted" } };
  await using vehicle = await openVehicle({ cloud: cloud.client, clock, pollMs: 30_000 });
  await cloud.called("poll", 8);
  const pauses = slept.filter((ms) => ms >= 15_000 && ms <= 120_000);
  assert.ok(pauses.length >= 6 && pauses.some((ms) => ms > 60_000), JSON.stringify(pauses));
  assert.equal(vehicle.contacts.length, 0);
});

test("link: tails follow when every report is stored, each until the cloud has it", { timeout: LIMIT_MS }, async () => {
  const digests = ["sha256:a", "sha256:b"];
  const tails = {
    oldest: async () => {
      const [digest] = digests;
      return digest === undefined ? undefined : { digest, bytes: encoder.encode(digest) };
    },
    forget: async (digest: string) => {
      digests.splice(digests.indexOf(digest), 1);
    },
  };
  await using vehicle = await openVehicle({ tails });
  assert.equal(await vehicle.cloud.called("attachment", 1), "sha256:a");
  assert.equal(await vehicle.cloud.called("attachment", 2), "sha256:b");
});

test("link: a heartbeat goes by MQTT when it can, and over HTTP when it cannot", { timeout: LIMIT_MS }, async () => {
  await using vehicle = await openVehicle({ hasBroker: true, healthMs: 5 });
  await vehicle.cloud.called("health", 2);
  vehicle.broker.connect();
  const beat = await vehicle.broker.called(TOPICS.healthReports.format(own), 3);
  assert.equal(JSON.parse(beat).kind, health.kind);
});
