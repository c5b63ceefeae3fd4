import assert from "node:assert/strict";
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { after, before, describe, it } from "node:test";
import { sweepSilent } from "../inventory/sweep.ts";
import { publishTrustRoot } from "../store/trust-roots.ts";
import { viewTime } from "./server/context.ts";
import { OFFLINE_AFTER_MS, OPERATOR, TestApi, VIEWER } from "./server/test-api.ts";

describe("the operator's side", () => {
  let api: TestApi;
  let port: number;
  before(async () => {
    api = await TestApi.start();
    await api.app.listen({ host: "127.0.0.1", port: 0 });
    const address = api.app.server.address();
    port = typeof address === "object" && address !== null ? address.port : 0;
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
  });

  describe("the fleet as a whole", () => {
    it("is counted by status and reason, each vehicle once", async () => {
      const [moving, fine, silent] = [
        await api.enrolled("count-1", { ring: "9" }),
        await api.enrolled("count-2", { ring: "9" }),
        await api.enrolled("count-3", { ring: "9" }),
      ];
      await silent.send(silent.report({ status: "blocked", reasonCodes: ["DENY_MOVING"] }));
      api.pass(OFFLINE_AFTER_MS + 1);
      await moving.send(moving.report({ status: "blocked", reasonCodes: ["DENY_MOVING", "DENY_LOW_BATTERY"] }));
      await fine.send(fine.report());
      const summary = (await api.ask("GET", "/fleet/summary?selector=ring%3D9", { token: VIEWER })).body.data;
      assert.equal(summary.vehicles, 3);
      assert.deepEqual(summary.byStatus, {
        converged: 1,
        applying: 0,
        pending: 0,
        blocked: 1,
        failed: 0,
        rolled_back: 0,
        offline: 1,
      });
      assert.deepEqual(summary.byConvergence, {
        converged: 1,
        applying: 0,
        pending: 0,
        blocked: 2,
        failed: 0,
        rolled_back: 0,
      });
      assert.deepEqual(summary.topReasonCodes, [
        { code: "DENY_MOVING", vehicles: 2 },
        { code: "DENY_LOW_BATTERY", vehicles: 1 },
        { code: "HEARTBEAT_TIMEOUT", vehicles: 1 },
      ]);
      assert.equal((await api.ask("GET", "/fleet/summary?selector=")).body.data.vehicles, 0);
      assert.equal((await api.ask("GET", "/fleet/summary?selector=ring")).body.error.code, "SELECTOR_INVALID");
    });

    it("notices a vehicle that falls silent, once, with HEARTBEAT_TIMEOUT", async () => {
      const vehicle = await api.enrolled("sweep-1");
      await vehicle.sendHealth(vehicle.health());
      const sweep = async () => await sweepSilent(api.database.db, viewTime(api.context, api.now()));
      await sweep();
      api.pass(OFFLINE_AFTER_MS + 1);
      assert.ok((await sweep()).marked >= 1);
      assert.equal((await sweep()).marked, 0);
      const seen = (await api.ask("GET", "/vehicles/sweep-1")).body.data;
      assert.deepEqual(seen.timeline[0].reasonCodes, ["HEARTBEAT_TIMEOUT"]);
      await vehicle.poll();
      assert.equal((await api.ask("GET", "/vehicles/sweep-1")).body.data.status, "pending");
      api.pass(OFFLINE_AFTER_MS + 1);
      await sweep();
      assert.equal(
        (await api.ask("GET", "/vehicles/sweep-1")).body.data.timeline.length,
        2,
        "the next silence is told again",
      );
    });

    it("hands out versions of the trust root to anybody", async () => {
      const envelope = {
        payloadType: "application/vnd.muto.root.v1+json",
        payload: "e30=",
        signatures: [{ keyid: "a".repeat(64), sig: "AAAA" }],
      };
      const publish = async () =>
        await api.database.db.transaction().execute(
          async (trx) =>
            await publishTrustRoot(trx, {
              version: 1,
              envelope,
              at: api.now(),
              actor: { type: "operator", id: "alice" },
            }),
        );
      assert.deepEqual([await publish(), await publish()], [true, false]);
      assert.deepEqual((await api.ask("GET", "/trust/roots/1", { token: null })).body.data, envelope);
      assert.equal((await api.ask("GET", "/trust/roots/2", { token: null })).body.error.code, "NOT_FOUND");
      assert.equal((await api.ask("GET", "/trust/roots/x", { token: null })).body.error.code, "PATH_INVALID");
    });

    it("audits with filters and refuses a time that is none", async () => {
      await api.ask("POST", "/vehicles", { body: { id: "audited-1" } });
      const total = async (query: string) => (await api.ask("GET", `/audit-log?${query}`)).body.metadata.totalItems;
      assert.ok((await total("actor=alice")) >= 1);
      assert.equal(await total("actor=mallory"), 0);
      assert.equal(await total("to=2000-01-01T00:00:00Z"), 0);
      assert.equal((await api.ask("GET", "/audit-log?from=2026-13-40T00:00:00Z")).body.error.code, "QUERY_INVALID");
      assert.equal((await api.ask("GET", "/audit-log?action=sabotage")).body.error.code, "QUERY_INVALID");
    });

    it("answers the platform without a token", async () => {
      const ask = async (path: string) => await api.ask("GET", path, { token: null, outside: true });
      assert.deepEqual((await ask("/healthz")).body.data, { status: "ok", version: "0.1.0" });
      assert.deepEqual((await ask("/readyz")).body.data, {
        status: "ok",
        version: "0.1.0",
        database: "ok",
        broker: "none",
        registry: "ok",
      });
      const metrics = await ask("/metrics");
      assert.match(String(metrics.headers["content-type"]), /^text\/plain/);
      assert.match(metrics.text, /^muto_vehicles\{status="converged",connectivity="(on|off)line"\} \d+$/m);
      assert.match(metrics.text, /^muto_http_requests_total\{operation="createVehicle",status="201"\} \d+$/m);
      assert.match(metrics.text, /^muto_http_request_duration_seconds_bucket\{operation="getHealth",le="\+Inf"\} 1$/m);
      for (const line of metrics.text.trim().split("\n"))
        assert.match(line, /^(# (HELP|TYPE) |[a-z_]+(\{.*\})? [0-9.e+-]+$)/);
    });

    it("shows the contract to programs and to people, with nothing loaded from elsewhere", async () => {
      const openapi = await api.ask("GET", "/api/v1/openapi.json", { token: null });
      assert.equal(openapi.body.openapi, "3.1.0");
      assert.match(String(openapi.headers["content-type"]), /^application\/vnd\.oai\.openapi\+json/);
      const docs = await api.ask("GET", "/docs", { token: null, outside: true });
      assert.match(String(docs.headers["content-type"]), /^text\/html/);
      for (const word of ["createVehicle", "VEHICLE_REVOKED", "DENY_MOVING", "/api/v1/rollouts/{id}/pause"])
        assert.ok(docs.text.includes(word), word);
      assert.doesNotMatch(docs.text, /<script|<link|src=|url\(|@import/);
    });
  });

  describe("the live feed over HTTP", () => {
    /** Follows the feed until `enough` says so; resolves with all text, or when the server ends it. */
    const follow = async (
      headers: Readonly<Record<string, string>>,
      enough: (text: string) => boolean,
      onOpen: () => Promise<void> = async () => {},
    ) => {
      const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
      const asked = request(
        {
          host: "127.0.0.1",
          port,
          path: "/api/v1/events",
          headers: { authorization: `Bearer ${OPERATOR}`, ...headers },
        },
        resolve,
      );
      asked.on("error", reject);
      asked.end();
      const answer = await promise;
      assert.equal(answer.statusCode, 200);
      assert.equal(answer.headers["content-type"], "text/event-stream");
      let text = "";
      let opened = false;
      for await (const chunk of answer) {
        text += String(chunk);
        if (!opened) {
          opened = true;
          await onOpen();
        }
        if (enough(text)) break;
      }
      asked.destroy();
      return text;
    };
    const idsIn = (text: string) => [...text.matchAll(/^id: (\d+)$/gm)].map((match) => Number(match[1]));

    it("tells what happens from now on, and resumes where a client left off", async () => {
      await api.ask("POST", "/vehicles", { body: { id: "feed-0" } });
      const live = await follow(
        {},
        (text) => text.includes("vehicle.created"),
        async () => {
          await api.ask("POST", "/vehicles", { body: { id: "feed-1" } });
        },
      );
      assert.ok(live.startsWith("retry: "));
      assert.doesNotMatch(live, /feed-0/);
      assert.match(live, /event: vehicle\ndata: \{.*"vehicleId":"feed-1".*\}\n\n/);
      assert.match(live, /event: audit\ndata: \{.*"vehicle.created".*\}\n\n/);
      const last = idsIn(live).at(-1) ?? 0;
      await api.ask("POST", "/vehicles", { body: { id: "feed-2" } });
      const resumed = await follow({ "last-event-id": String(last) }, (text) => text.includes("vehicle.created"));
      assert.equal(idsIn(resumed)[0], last + 1);
      assert.doesNotMatch(resumed, /feed-1/);
      assert.match(resumed, /feed-2/);
    });

    it("says when events were missed", async () => {
      for (const stranger of ["999999", "0"]) {
        if (stranger === "0") {
          await api.database.db.deleteFrom("events").execute();
        }
        const text = await follow({ "last-event-id": stranger }, (so) => so.includes("event: reset"));
        assert.match(text, /event: reset\ndata: \{\}\n\n/);
      }
      const bad = await api.ask("GET", "/events", { headers: { "last-event-id": "yesterday" } });
      assert.equal(bad.body.error.code, "HEADER_INVALID");
    });
  });
});

describe("stopping", () => {
  it("ends followers of the live feed and refuses new requests, without waiting for anybody", async () => {
    const api = await TestApi.start();
    await api.app.listen({ host: "127.0.0.1", port: 0 });
    const address = api.app.server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const { promise, resolve } = Promise.withResolvers<IncomingMessage>();
    request(
      { host: "127.0.0.1", port, path: "/api/v1/events", headers: { authorization: `Bearer ${OPERATOR}` } },
      resolve,
    ).end();
    const answer = await promise;
    const ended = (async () => {
      for await (const _chunk of answer);
    })();
    await api[Symbol.asyncDispose]();
    await ended;
  });
});
