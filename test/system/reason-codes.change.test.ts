import assert from "node:assert/strict";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Evidence, ReasonCode } from "@muto/spec";
import { desire, startCloud, vehicleRecord } from "./world/cloud.ts";
import type { Cloud } from "./world/cloud.ts";
import { kill } from "./world/computer.ts";
import { eventually } from "./world/eventually.ts";
import { publish } from "./world/publish.ts";
import type { Published } from "./world/publish.ts";
import { converge, vehicleOn } from "./world/settle.ts";
import { crasher, neverMet, server, serverProbes, sleeper } from "./world/stack.ts";
import { createVehicle, reported, runs } from "./world/vehicle.ts";

const OFFLINE_AFTER_SEC = 4;

/* What goes wrong while a release is fetched, started and judged, and how the vehicle gets out of it by itself. */
describe("changes that fail", { concurrency: 3 }, () => {
  let cloud: Cloud;
  let good: Published;
  let unready: Published;
  let crashing: Published;

  before(async () => {
    cloud = await startCloud({ MUTO_OFFLINE_AFTER_SEC: String(OFFLINE_AFTER_SEC) });
    good = await publish(cloud, { version: "1.0.0" });
    const healthModel = { readinessTimeoutSec: 1, probes: [neverMet] };
    unready = await publish(cloud, { version: "1.1.0-unready", healthModel });
    crashing = await publish(cloud, { version: "1.2.0-crashing", programs: { main: crasher } });
  });

  after(async () => {
    await cloud[Symbol.asyncDispose]();
  });

  test("ARTIFACT_DOWNLOAD_FAILED: a missing and a damaged artifact are tried again until the registry is whole", async () => {
    await using vehicle = await vehicleOn(cloud, good, { id: "downloads" });
    const before = vehicle.running();
    const programs = { main: `${sleeper}# another archive\n` };
    const wanted = await publish(cloud, { version: "1.3.0", programs });
    const [archive = ""] = wanted.archiveDigests;
    const blob = join(cloud.dataDir, "registry", "blobs", archive.slice("sha256:".length));
    renameSync(blob, `${blob}.away`);
    const revision = await desire(cloud, wanted, [vehicle]);
    const missing = await reported(cloud, vehicle, {
      status: "blocked",
      codes: ["ARTIFACT_DOWNLOAD_FAILED"],
      revision,
      evidence: (item) => item.kind === "download" && item.problem === "not-found" && item.digest === archive,
    });
    assert.equal(missing.stack?.version, "1.0.0");
    assert.deepEqual(vehicle.running(), before);
    renameSync(`${blob}.away`, blob);
    await reported(cloud, vehicle, { status: "converged", revision });

    const damaged = await publish(cloud, { version: "1.4.0", programs: { main: `${sleeper}# yet another\n` } });
    const [second = ""] = damaged.archiveDigests;
    const file = join(cloud.dataDir, "registry", "blobs", second.slice("sha256:".length));
    const whole = readFileSync(file);
    writeFileSync(file, Buffer.concat([whole.subarray(0, -1), Buffer.from([(whole.at(-1) ?? 0) ^ 1])]));
    const other = await desire(cloud, damaged, [vehicle]);
    await reported(cloud, vehicle, {
      status: "blocked",
      codes: ["ARTIFACT_DOWNLOAD_FAILED"],
      revision: other,
      evidence: (item) => item.kind === "download" && item.problem === "digest-mismatch",
    });
    await runs(cloud, vehicle, wanted);
    writeFileSync(file, whole);
    await reported(cloud, vehicle, { status: "converged", revision: other });
    await runs(cloud, vehicle, damaged);
  });

  /** A bad release on a vehicle that runs a good one: it goes back by itself, and the same release is not tried again. */
  async function goesBack(id: string, bad: Published, code: ReasonCode): Promise<readonly Evidence[]> {
    await using vehicle = await vehicleOn(cloud, good, { id });
    const revision = await desire(cloud, bad, [vehicle]);
    const codes = [code, "ROLLBACK_APPLIED"] as const;
    const back = await reported(cloud, vehicle, { status: "rolled_back", codes, revision, version: "1.0.0" });
    assert.equal(back.committed?.manifestDigest, good.manifestDigest);
    const after = await runs(cloud, vehicle, good);
    const again = await desire(cloud, bad, [vehicle]);
    const refused = await reported(cloud, vehicle, { status: "failed", codes: [code], revision: again });
    assert.equal(refused.evidence[0]?.kind, "quarantine");
    assert.deepEqual(vehicle.running(), after, "a failed release is not tried again unless an operator says so");
    return back.evidence;
  }

  test("APPLY_FAILED: a program that is not there cannot be started", async () => {
    const bad = await publish(cloud, { version: "1.5.0-absent", argv: ["/opt/no-such-program"] });
    const [first] = await goesBack("absent", bad, "APPLY_FAILED");
    assert.ok(first?.kind === "workload" && first.problem === "start-refused", JSON.stringify(first));
  });

  test("READINESS_TIMEOUT: a stack that runs and never becomes ready is left in time", async () => {
    const evidence = await goesBack("unready", unready, "READINESS_TIMEOUT");
    const probe = evidence.find((item) => item.kind === "probe");
    assert.deepEqual([probe?.probe, probe?.met], [neverMet.name, false]);
    assert.ok((probe?.waitedSec ?? 0) >= 1);
  });

  test("CRASH_LOOP_DETECTED: a workload that ends again and again is left, and what it said last is kept", async () => {
    const evidence = await goesBack("crashing", crashing, "CRASH_LOOP_DETECTED");
    const [first] = evidence;
    assert.ok(first?.kind === "workload" && first.exitCode === 3 && first.exits === 2, JSON.stringify(first));
    const tail = evidence.find((item) => item.kind === "output-tail");
    assert.ok(tail !== undefined);
    const text = await eventually("the tail of its output has arrived", async () => {
      const answer = await fetch(`${cloud.url}/api/v1/attachments/${tail.digest}`, {
        headers: { authorization: `Bearer ${cloud.token}` },
      });
      return answer.status === 200 ? await answer.text() : undefined;
    });
    assert.match(text, /about to end/);
  });

  test("ROLLBACK_APPLIED: a failed release gives way to the one before; a retry that an operator asks for may succeed", async () => {
    const programs = { main: sleeper, server };
    const healthModel = { readinessTimeoutSec: 10, stableForSec: 0.5, probes: serverProbes };
    const before = await publish(cloud, { version: "1.6.0", programs, healthModel });
    await using vehicle = await createVehicle(cloud, { id: "returning" });
    vehicle.startAgent();
    const first = await desire(cloud, before, [vehicle]);
    await reported(cloud, vehicle, { status: "converged", revision: first });
    const old = await runs(cloud, vehicle, before, 2);
    const revision = await desire(cloud, unready, [vehicle]);
    const back = await reported(cloud, vehicle, {
      status: "rolled_back",
      codes: ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"],
      revision,
    });
    assert.ok((back.timings.rollbackSec ?? -1) >= 0);
    const again = await runs(cloud, vehicle, before, 2);
    assert.ok(
      again.every(({ pid }) => !old.some((one) => one.pid === pid)),
      "the old stack was stopped and started anew",
    );
    const record = await vehicleRecord(cloud, vehicle.id);
    assert.deepEqual(
      [record.convergence, record.actualStack?.version, record.timeline[0]?.event],
      ["rolled_back", "1.6.0", "rolled_back"],
    );
    const retried = await desire(cloud, unready, [vehicle], { retry: true });
    await reported(cloud, vehicle, {
      status: "rolled_back",
      codes: ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"],
      revision: retried,
    });
    await runs(cloud, vehicle, before, 2);
  });

  test("ROLLBACK_FAILED: a first installation that fails leaves nothing running, until something that works is wanted", async () => {
    await using vehicle = await createVehicle(cloud, { id: "first" });
    vehicle.startAgent();
    const revision = await desire(cloud, unready, [vehicle]);
    const codes = ["READINESS_TIMEOUT", "ROLLBACK_FAILED"] as const;
    const { stack, committed } = await reported(cloud, vehicle, { status: "failed", codes, revision });
    assert.deepEqual([stack, committed ?? null], [null, null]);
    assert.deepEqual(vehicle.running(), []);
    await converge(cloud, vehicle, good);
  });

  test("ROLLBACK_FAILED: a previous set that was destroyed is named, mended from the cache, and brought up again", async () => {
    await using vehicle = await vehicleOn(cloud, good, { id: "destroyed" });
    const slow = await publish(cloud, {
      version: "1.7.0-slow",
      healthModel: { readinessTimeoutSec: 3, probes: [neverMet] },
    });
    const revision = await desire(cloud, slow, [vehicle]);
    await runs(cloud, vehicle, slow);
    const set = join(vehicle.stateDir, "sets", good.manifestDigest.slice("sha256:".length));
    rmSync(set, { recursive: true });
    await reported(cloud, vehicle, { status: "failed", codes: ["READINESS_TIMEOUT", "ROLLBACK_FAILED"], revision });
    await runs(cloud, vehicle, good);
    const codes = ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"] as const;
    await reported(cloud, vehicle, { status: "rolled_back", codes, revision, version: "1.0.0" });
  });

  test("HEARTBEAT_TIMEOUT: a vehicle that falls silent is named, and its stack does not care", async () => {
    await using vehicle = await vehicleOn(cloud, good, { id: "silent" });
    const before = vehicle.running();
    await vehicle.killAgent();
    const silent = await eventually("it is called offline", async () => {
      const record = await vehicleRecord(cloud, vehicle.id);
      const [newest] = record.timeline;
      return record.status === "offline" && newest?.reasonCodes.includes("HEARTBEAT_TIMEOUT") === true
        ? record
        : undefined;
    });
    assert.deepEqual(
      [silent.connectivity, silent.convergence, silent.reasonCodes],
      ["offline", "converged", ["HEARTBEAT_TIMEOUT"]],
    );
    assert.deepEqual(vehicle.running(), before);
    vehicle.startAgent();
    await eventually("it is heard again", async () => {
      const { status, reasonCodes } = await vehicleRecord(cloud, vehicle.id);
      return status === "converged" && reasonCodes.length === 0 ? true : undefined;
    });
    assert.deepEqual(vehicle.running(), before);
    for (const { pid } of before) kill(pid);
    await eventually("its agent looks after it again", async () => {
      const [one] = await runs(cloud, vehicle, good);
      return one?.pid === before[0]?.pid ? undefined : true;
    });
  });
});
