import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { CheckResult } from "@muto/agent/check/run-check";
import { startMuto } from "../../demo/program.ts";
import { parked } from "../../demo/signals.ts";
import { startCloud } from "./world/cloud.ts";
import type { Cloud } from "./world/cloud.ts";
import { eventually } from "./world/eventually.ts";
import { createVehicle } from "./world/vehicle.ts";
import type { Vehicle } from "./world/vehicle.ts";

interface Checked {
  readonly code: number | null;
  readonly result: CheckResult;
}

async function check(vehicle: Vehicle): Promise<Checked> {
  const args = ["agent", "check", "--config", vehicle.configFile, "--output", "json"];
  const program = startMuto(args, { logFile: `${vehicle.configFile}.check.log` });
  let printed = "";
  for await (const line of program.lines) printed += line;
  const result: CheckResult = JSON.parse(printed);
  return { code: await program.exited, result };
}

const about = ({ result }: Checked, name: string) => result.findings.filter((finding) => finding.about === name);

describe("muto agent check, beside the vehicle", { concurrency: 2 }, () => {
  let cloud: Cloud;
  before(async () => {
    cloud = await startCloud();
  });
  after(async () => {
    await cloud[Symbol.asyncDispose]();
  });

  test("says what a running agent sees; a vehicle that drives is fit, one whose signals fall silent is not", async () => {
    await using vehicle = await createVehicle(cloud, { id: "checked" });
    vehicle.startAgent();
    const open = await eventually("a fit vehicle", async () => {
      const checked = await check(vehicle);
      const { view } = checked.result;
      const isKnown = view?.enrolment.state === "accepted";
      return checked.code === 0 && isKnown && view.gate.open ? checked : undefined;
    });
    assert.equal(open.result.view?.health.vehicleId, "checked");
    assert.equal(about(open, "agent")[0]?.verdict, "ok");
    assert.ok(open.result.view.cloud.lastAnswerAgeMs !== null);
    assert.equal(about(open, "enrolment")[0]?.verdict, "ok");
    vehicle.gateway.say({ ...parked, speedMps: 8, parked: false });
    const driving = await eventually("gates that close", async () => {
      const checked = await check(vehicle);
      return checked.result.view?.gate.open === false ? checked : undefined;
    });
    assert.equal(driving.code, 0, JSON.stringify(driving.result.findings));
    assert.ok(about(driving, "gates").some(({ says }) => says.startsWith("DENY_MOVING speed")));
    vehicle.gateway.say(undefined);
    const silent = await eventually("a vehicle that is not fit", async () => {
      const checked = await check(vehicle);
      return checked.code === 1 ? checked : undefined;
    });
    assert.ok(about(silent, "gates").some(({ says, verdict }) => verdict === "fail" && says.includes("stale")));
  });

  test("without an agent looks for itself, and names what keeps the vehicle from being fit", async () => {
    await using vehicle = await createVehicle(cloud, { id: "unchecked", config: { trustFile: "/nowhere/trust.json" } });
    const checked = await check(vehicle);
    assert.equal(checked.code, 1);
    assert.equal(checked.result.view, null);
    assert.equal(about(checked, "trust")[0]?.verdict, "fail");
    assert.deepEqual(
      about(checked, "signal gateway").map(({ verdict }) => verdict),
      ["ok"],
    );
    assert.equal(about(checked, "control plane")[0]?.verdict, "ok");
  });
});
