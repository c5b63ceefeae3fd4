import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Clock } from "@muto/kit/clock";
import type { HttpResponse } from "@muto/kit/http";
import { OPERATIONS } from "@muto/spec";
import { createMeasure, percentile } from "./measure.ts";

const POLL = OPERATIONS.getLatestDesired.path;
const REPORT = OPERATIONS.postReconcileReports.path;

/** A control plane that takes so long for each answer, or does not answer (undefined). */
function bench() {
  const now = { ms: 0 };
  const clock: Clock = { wallMs: () => now.ms, monotonicMs: () => now.ms, sleep: async () => {} };
  const next: { takesMs: number; status: number | undefined } = { takesMs: 0, status: 200 };
  const measure = createMeasure(async (): Promise<HttpResponse> => {
    now.ms += next.takesMs;
    if (next.status === undefined) throw new Error("no answer");
    return { status: next.status, headers: new Map(), body: nothing() };
  }, clock);
  const ask = async (path: string, vehicleId: string, signal = new AbortController().signal) =>
    await measure.http({ method: "GET", url: `http://cloud${path}?vehicleId=${vehicleId}`, signal }).catch(() => {});
  return { measure, now, next, ask };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

describe("what a fleet sees of the control plane", () => {
  it("counts each kind of request, what failed, and how long answers took", async () => {
    const { measure, next, ask } = bench();
    for (const takesMs of [10, 30, 20]) {
      next.takesMs = takesMs;
      await ask(POLL, "v-1");
    }
    next.status = 503;
    await ask(POLL, "v-1");
    next.status = undefined;
    await ask(POLL, "v-1");
    await ask(POLL, "v-1", AbortSignal.abort());
    assert.deepEqual(measure.summary("poll"), { requests: 5, errors: 2, p50Ms: 20, p99Ms: 30, maxMs: 30 });
    next.status = 429;
    await ask(REPORT, "v-1");
    assert.deepEqual(measure.summary("report"), { requests: 1, errors: 1, p50Ms: 20, p99Ms: 20, maxMs: 20 });
    assert.deepEqual(measure.summary("health"), { requests: 0, errors: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
  });

  it("sees polls fall out, and a vehicle that has fallen silent", async () => {
    const { measure, now, ask } = bench();
    for (const vehicleId of ["on-time", "late", "silent"]) await ask(POLL, vehicleId);
    now.ms = 30;
    await ask(POLL, "on-time");
    now.ms = 60;
    await ask(POLL, "on-time");
    now.ms = 95;
    for (const vehicleId of ["on-time", "late"]) await ask(POLL, vehicleId);
    assert.deepEqual(measure.punctuality(40), { vehicles: 3, missed: 4, longestGapMs: 95 });
    now.ms = 130;
    await ask(POLL, "silent");
    assert.deepEqual(measure.punctuality(140), { vehicles: 3, missed: 0, longestGapMs: 130 });
  });

  it("does not take a refusal for an answer to a poll", async () => {
    const { measure, now, next, ask } = bench();
    await ask(POLL, "v-1");
    next.status = 500;
    now.ms = 50;
    await ask(POLL, "v-1");
    now.ms = 70;
    assert.deepEqual(measure.punctuality(60), { vehicles: 1, missed: 1, longestGapMs: 70 });
  });

  it("begins anew at a restart, but not with the gap that lies across it", async () => {
    const { measure, now, ask } = bench();
    await ask(POLL, "v-1");
    now.ms = 100;
    await ask(POLL, "v-1");
    now.ms = 120;
    measure.restart();
    assert.equal(measure.summary("poll").requests, 0);
    assert.deepEqual(measure.punctuality(50), { vehicles: 1, missed: 0, longestGapMs: 20 });
  });
});

describe("percentile", () => {
  it("is a value that was seen", () => {
    const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
    assert.deepEqual(
      [0, 0.5, 0.99, 1].map((share) => percentile(hundred, share)),
      [1, 51, 100, 100],
    );
    assert.equal(percentile([], 0.5), 0);
    assert.equal(percentile([7], 0.99), 7);
  });
});
