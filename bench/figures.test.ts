import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { badAnswers, cpuMsOf, loadOf, rssMbOf, unseen } from "./figures.ts";

describe("what the kernel says of a process", () => {
  it("is read whatever the process calls itself", () => {
    const rest = "S 1 2 3 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 11 0 12345 1000 100";
    for (const name of ["node", "a name", "a) b (c"]) assert.equal(cpuMsOf(`42 (${name}) ${rest}`), 3_000);
    assert.throws(() => cpuMsOf("nothing of the kind"));
  });

  it("is read from this very process", () => {
    const cpuMs = cpuMsOf(readFileSync("/proc/self/stat", "utf8"));
    const { user, system } = process.cpuUsage();
    const ownMs = (user + system) / 1000;
    assert.ok(Math.abs(cpuMs - ownMs) < 1_000, `${cpuMs} ms here, ${ownMs} ms by the runtime`);
    assert.ok(rssMbOf(readFileSync("/proc/self/status", "utf8")) > 10);
    assert.throws(() => rssMbOf("Name:\tnode\n"));
  });
});

describe("load", () => {
  it("is the share of one core between the ends, and the most memory in between", () => {
    const samples = [
      { atMs: 1_000, cpuMs: 500, rssMb: 100 },
      { atMs: 2_000, cpuMs: 600, rssMb: 300 },
      { atMs: 5_000, cpuMs: 1_500, rssMb: 200 },
    ];
    assert.deepEqual(loadOf(samples), { cpuShare: 0.25, rssMbMax: 300 });
  });

  it("is nothing where there is no time in between", () => {
    assert.deepEqual(loadOf([]), { cpuShare: 0, rssMbMax: 0 });
    assert.deepEqual(loadOf([{ atMs: 1, cpuMs: 1, rssMb: 1 }]), { cpuShare: 0, rssMbMax: 0 });
  });
});

describe("answers that nobody should get", () => {
  it("are those of a broken or overloaded control plane", () => {
    const metrics = [
      "# HELP muto_http_requests_total HTTP requests by operation and status.",
      'muto_http_requests_total{operation="getLatestDesired",status="304"} 1000',
      'muto_http_requests_total{operation="getLatestDesired",status="500"} 3',
      'muto_http_requests_total{operation="postHealthReports",status="429"} 4',
      'muto_http_requests_total{operation="getVehicle",status="404"} 7',
      'muto_http_request_duration_seconds_count{operation="getVehicle",status="500"} 9',
    ].join("\n");
    assert.equal(badAnswers(metrics), 7);
    assert.equal(badAnswers(""), 0);
  });
});

describe("vehicles that were not seen", () => {
  it("are those never heard of and those heard of too long ago", () => {
    const nowMs = Date.parse("2026-11-24T00:01:00.000Z");
    const seen = [null, "2026-11-24T00:00:00.000Z", "2026-11-24T00:00:15.000Z", "2026-11-24T00:01:00.000Z"];
    assert.equal(unseen(seen, nowMs, 45_000), 2);
    assert.equal(unseen(seen, nowMs, 60_000), 1);
    assert.equal(unseen([], nowMs, 1), 0);
  });
});
