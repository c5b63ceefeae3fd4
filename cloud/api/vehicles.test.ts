import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { generateKey } from "@muto/trust/keys";
import { OFFLINE_AFTER_MS, TestApi, VIEWER } from "./server/test-api.ts";

describe("the inventory", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
  });

  it("adds a vehicle once, says so when it is the same, and refuses another one of the same id", async () => {
    const body = { id: "added-1", tags: { model: "v3", ring: "1" } };
    const created = await api.ask("POST", "/vehicles", { body });
    assert.equal(created.status, 201);
    assert.equal(created.headers["location"], "/api/v1/vehicles/added-1");
    assert.equal(created.body.data.status, "offline");
    assert.equal(created.body.data.convergence, "pending");
    assert.deepEqual(created.body.data.enrolment, { state: "none", keyid: null, pendingKeyid: null, alarm: "none" });
    assert.equal((await api.ask("POST", "/vehicles", { body })).status, 200);
    const other = await api.ask("POST", "/vehicles", { body: { id: "added-1", tags: { model: "v4" } } });
    assert.equal(other.status, 409);
    assert.equal(other.body.error.code, "CONFLICT_VEHICLE");
    const audit = await api.ask("GET", "/audit-log?action=vehicle.created");
    assert.equal(
      audit.body.data.filter(({ subject }: { subject: { id: string } }) => subject.id === "added-1").length,
      1,
    );
  });

  it("registers a key in advance, and never one key for two vehicles", async () => {
    const { signer } = await generateKey("ed25519");
    const publicKey = signer.publicKey.pem;
    const created = await api.ask("POST", "/vehicles", { body: { id: "keyed-1", publicKey } });
    assert.deepEqual(created.body.data.enrolment, {
      state: "accepted",
      keyid: signer.publicKey.keyid,
      pendingKeyid: null,
      alarm: "none",
    });
    assert.equal((await api.ask("POST", "/vehicles", { body: { id: "keyed-1", publicKey } })).status, 200);
    const second = await api.ask("POST", "/vehicles", { body: { id: "keyed-2", publicKey } });
    assert.equal(second.status, 400);
    assert.deepEqual(second.body.error.details.problems, [
      { path: "/publicKey", message: "belongs to another vehicle" },
    ]);
    const { signer: p256 } = await generateKey("ecdsa-p256");
    const wrongKind = await api.ask("POST", "/vehicles", { body: { id: "keyed-3", publicKey: p256.publicKey.pem } });
    assert.equal(wrongKind.status, 400);
  });

  it("changes tags, keeps the others, and says what was and is in the audit log", async () => {
    await api.ask("POST", "/vehicles", { body: { id: "tagged-1", tags: { model: "v3", site: "north" } } });
    const changed = await api.ask("PATCH", "/vehicles/tagged-1", { body: { tags: { site: null, ring: "2" } } });
    assert.deepEqual(changed.body.data.tags, { model: "v3", ring: "2" });
    const audit = await api.ask("GET", "/audit-log?action=vehicle.tags-changed");
    assert.deepEqual(audit.body.data[0].before, { tags: { model: "v3", site: "north" } });
    assert.deepEqual(audit.body.data[0].after, { tags: { model: "v3", ring: "2" } });
    assert.deepEqual(audit.body.data[0].actor, { type: "operator", id: "alice" });
    await api.ask("PATCH", "/vehicles/tagged-1", { body: { tags: { ring: "2" } } });
    assert.equal((await api.ask("GET", "/audit-log?action=vehicle.tags-changed")).body.metadata.totalItems, 1);
    assert.equal((await api.ask("PATCH", "/vehicles/nobody", { body: { tags: {} } })).body.error.code, "NOT_FOUND");
    assert.equal((await api.ask("PATCH", "/vehicles/tagged-1", { body: { tags: { status: "x" } } })).status, 400);
  });

  it("finds by selector, tag, status, reason and part of the id; sorts and pages", async () => {
    for (let index = 0; index < 5; index++) {
      const tags = { model: index < 3 ? "v7" : "v8", region: "eu", lane: String(index) };
      await api.ask("POST", "/vehicles", { body: { id: `listed-${index}`, tags } });
    }
    const ids = async (query: string) => {
      const answer = await api.ask("GET", `/vehicles?${query}`, { token: VIEWER });
      assert.equal(answer.status, 200, answer.text);
      return answer.body.data.map(({ id }: { id: string }) => id);
    };
    assert.deepEqual(await ids("model=v7"), ["listed-0", "listed-1", "listed-2"]);
    assert.deepEqual(await ids(`selector=${encodeURIComponent("model=v7 AND lane=1")}`), ["listed-1"]);
    assert.deepEqual(await ids(`selector=${encodeURIComponent("id=listed-4")}`), ["listed-4"]);
    assert.deepEqual(await ids(`selector=${encodeURIComponent("model=v8 AND status=offline")}`), [
      "listed-3",
      "listed-4",
    ]);
    assert.deepEqual(await ids(`selector=${encodeURIComponent("model=v8 AND connectivity=online")}`), []);
    assert.deepEqual(await ids("selector="), []);
    assert.deepEqual(await ids("search=sted-3"), ["listed-3"]);
    assert.deepEqual(await ids("region=eu&model=v8&sort=-id"), ["listed-4", "listed-3"]);
    assert.deepEqual(await ids("model=v7&reasonCode=HEARTBEAT_TIMEOUT"), [], "nobody was silent for so long yet");
    api.pass(OFFLINE_AFTER_MS + 1);
    assert.deepEqual(await ids("model=v7&reasonCode=HEARTBEAT_TIMEOUT"), ["listed-0", "listed-1", "listed-2"]);
    assert.deepEqual(await ids("model=v7&reasonCode=DENY_MOVING"), []);
    const page = await api.ask("GET", "/vehicles?region=eu&limit=2&page=3");
    assert.deepEqual(page.body.metadata, { page: 3, limit: 2, totalItems: 5, totalPages: 3 });
    assert.deepEqual(
      page.body.data.map(({ id }: { id: string }) => id),
      ["listed-4"],
    );
    for (const sort of ["status", "-statusSince", "lastSeenAt", "-createdAt"]) {
      assert.equal((await ids(`region=eu&sort=${sort}`)).length, 5);
    }
  });

  for (const [query, code, details] of [
    ["selector=model", "SELECTOR_INVALID", { position: 5, expected: "=" }],
    [
      `selector=${encodeURIComponent("model=v3 OR ring=1")}`,
      "SELECTOR_INVALID",
      { position: 9, expected: "AND or the end" },
    ],
    ["limit=0", "QUERY_INVALID", undefined],
    ["limit=201", "QUERY_INVALID", undefined],
    ["limit=many", "QUERY_INVALID", undefined],
    ["sort=color", "QUERY_INVALID", undefined],
    ["status=fine", "QUERY_INVALID", undefined],
    ["search=a%25", "QUERY_INVALID", undefined],
  ] as const) {
    it(`refuses ?${query}`, async () => {
      const answer = await api.ask("GET", `/vehicles?${query}`);
      assert.equal(answer.status, 400);
      assert.equal(answer.body.error.code, code);
      if (details !== undefined) {
        assert.equal(answer.body.error.details.position, details.position);
        assert.equal(answer.body.error.details.expected, details.expected);
      }
    });
  }

  it("keeps a vehicle out of rollouts until the exclusion expires or is lifted", async () => {
    await api.ask("POST", "/vehicles", { body: { id: "excluded-1" } });
    const expiresAt = new Date(api.context.clock.wallMs() + 60_000).toISOString();
    const excluded = await api.ask("POST", "/vehicles/excluded-1/exclude", {
      body: { reason: "in the workshop", expiresAt },
    });
    assert.deepEqual(excluded.body.data.exclusion, {
      reason: "in the workshop",
      since: api.now(),
      expiresAt,
      by: { type: "operator", id: "alice" },
    });
    api.pass(61_000);
    assert.equal((await api.ask("GET", "/vehicles/excluded-1")).body.data.exclusion, null);
    await api.ask("POST", "/vehicles/excluded-1/exclude", { body: { reason: "again" } });
    const included = await api.ask("POST", "/vehicles/excluded-1/include");
    assert.equal(included.body.data.exclusion, null);
    const past = await api.ask("POST", "/vehicles/excluded-1/exclude", {
      body: { reason: "late", expiresAt: "2020-01-01T00:00:00Z" },
    });
    assert.equal(past.body.error.code, "BODY_INVALID");
    const never = await api.ask("POST", "/vehicles/excluded-1/exclude", {
      body: { reason: "odd", expiresAt: "2026-13-45T00:00:00Z" },
    });
    assert.equal(never.status, 400);
  });

  it("takes status and events of a vehicle from itself and from an operator, from no other vehicle", async () => {
    const vehicle = await api.enrolled("ingest-1");
    const other = await api.enrolled("ingest-2");
    const body = { at: api.now(), facts: { diskFreeMb: 123 } };
    const stored = await api.ask("POST", "/vehicles/ingest-1/status", { token: await vehicle.token(), body });
    assert.deepEqual(stored.body.data, { stored: 1 });
    const seen = await api.ask("GET", "/vehicles/ingest-1");
    assert.equal(seen.body.data.facts.diskFreeMb, 123);
    assert.equal(seen.body.data.connectivity, "online");
    const foreign = await api.ask("POST", "/vehicles/ingest-1/status", { token: await other.token(), body });
    assert.equal(foreign.body.error.code, "FORBIDDEN");
    assert.equal((await api.ask("POST", "/vehicles/nobody/status", { body })).status, 404);

    const event = { event: "ready", at: "2026-11-23T09:00:00Z" };
    const twice = await api.ask("POST", "/vehicles/ingest-1/events", {
      body: [event, event, { ...event, event: "failed", reasonCodes: ["APPLY_FAILED"] }],
    });
    assert.deepEqual(twice.body.data, { stored: 2 });
    assert.deepEqual((await api.ask("POST", "/vehicles/ingest-1/events", { body: event })).body.data, { stored: 0 });
    const { timeline } = (await api.ask("GET", "/vehicles/ingest-1")).body.data;
    assert.deepEqual(timeline.map((entry: { event: string }) => entry.event).toSorted(), ["failed", "ready"]);
  });

  it("takes a vehicle out of service: credentials die, history stays", async () => {
    const vehicle = await api.enrolled("retired-1");
    await vehicle.send(vehicle.report());
    const token = await vehicle.token();
    const gone = await api.ask("DELETE", "/vehicles/retired-1");
    assert.equal(gone.body.data.decommissionedAt, api.now());
    assert.equal(gone.body.data.enrolment.state, "revoked");
    assert.deepEqual(api.forgotten, ["retired-1"]);
    assert.equal((await api.ask("DELETE", "/vehicles/retired-1")).status, 200);
    const refused = await api.ask("GET", "/desired-states/latest?vehicleId=retired-1", { token });
    assert.equal(refused.body.error.code, "VEHICLE_REVOKED");
    assert.equal((await api.ask("GET", "/vehicles?search=retired-1")).body.metadata.totalItems, 0);
    assert.equal((await api.ask("GET", "/reports/reconcile?vehicleId=retired-1")).body.metadata.totalItems, 1);
    assert.equal(
      (await api.ask("POST", "/vehicles", { body: { id: "retired-1" } })).body.error.code,
      "CONFLICT_VEHICLE",
    );
  });

  it("shows a silent vehicle as offline since the threshold, beside what it last said", async () => {
    const vehicle = await api.enrolled("silent-1");
    await vehicle.send(vehicle.report({ status: "blocked", reasonCodes: ["DENY_MOVING"] }));
    const heardAt = Date.parse(api.now());
    const online = (await api.ask("GET", "/vehicles/silent-1")).body.data;
    assert.deepEqual([online.status, online.connectivity, online.reasonCodes], ["blocked", "online", ["DENY_MOVING"]]);
    api.pass(OFFLINE_AFTER_MS + 1000);
    const offline = (await api.ask("GET", "/vehicles/silent-1")).body.data;
    assert.deepEqual([offline.status, offline.convergence], ["offline", "blocked"]);
    assert.deepEqual(offline.reasonCodes, ["DENY_MOVING", "HEARTBEAT_TIMEOUT"]);
    assert.equal(Date.parse(offline.statusSince), heardAt + OFFLINE_AFTER_MS);
    assert.deepEqual(
      (await api.ask("GET", "/vehicles?reasonCode=DENY_MOVING")).body.data.map(({ id }: { id: string }) => id),
      ["silent-1"],
    );
  });
});
