import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Evidence, ReasonCode } from "@muto/spec";
import { runMuto } from "../../demo/program.ts";
import { parked } from "../../demo/signals.ts";
import { desire, startCloud, vehicleRecord } from "./world/cloud.ts";
import type { Cloud } from "./world/cloud.ts";
import { publish } from "./world/publish.ts";
import type { Published } from "./world/publish.ts";
import { vehicleOn } from "./world/settle.ts";
import { reported, runs } from "./world/vehicle.ts";
import type { Vehicle } from "./world/vehicle.ts";

/*
 * Each gate of a real agent: closed, it keeps the stack that runs as it is, process by process; open, it lets the change in.
 */
describe("gates", { concurrency: 3 }, () => {
  let cloud: Cloud;
  let old: Published;
  let next: Published;

  before(async () => {
    cloud = await startCloud();
    old = await publish(cloud, { version: "1.0.0" });
    next = await publish(cloud, { version: "2.0.0" });
  });

  after(async () => {
    await cloud[Symbol.asyncDispose]();
  });

  /** Wants the next release while the gate is closed, sees that nothing is touched, opens it, and sees the change. */
  async function refusesThenOpens(
    vehicle: Vehicle,
    code: ReasonCode,
    options: { readonly open: () => Promise<void> | void; readonly window?: readonly [string, string] },
  ): Promise<readonly Evidence[]> {
    const before = await runs(cloud, vehicle, old);
    const [startLocal, endLocal] = options.window ?? [];
    const policy =
      startLocal === undefined || endLocal === undefined ? {} : { policy: { applyWindow: { startLocal, endLocal } } };
    const revision = await desire(cloud, next, [vehicle], policy);
    const refused = await reported(cloud, vehicle, { status: "blocked", codes: [code], revision, version: "1.0.0" });
    const record = await vehicleRecord(cloud, vehicle.id);
    assert.deepEqual([record.convergence, record.reasonCodes], ["blocked", [code]]);
    assert.deepEqual(vehicle.running(), before, "what runs is not touched");
    await options.open();
    const done = await reported(cloud, vehicle, { status: "converged", version: "2.0.0" });
    assert.ok(done.seq > refused.seq);
    await runs(cloud, vehicle, next);
    return refused.evidence;
  }

  function gateIn(evidence: readonly Evidence[]) {
    const [first] = evidence;
    assert.ok(first?.kind === "gate", JSON.stringify(evidence));
    return first;
  }

  test("DENY_MOVING: a vehicle that drives is left alone until it stands", async () => {
    await using vehicle = await vehicleOn(cloud, old, { id: "moving" });
    vehicle.gateway.say({ ...parked, speedMps: 8, parked: false });
    const evidence = await refusesThenOpens(vehicle, "DENY_MOVING", { open: () => vehicle.gateway.say(parked) });
    assert.ok(evidence.some((item) => item.kind === "gate" && item.signal === "speed" && item.seen === 8));
  });

  test("DENY_AUTONOMOUS_MODE: a vehicle in autonomous mode is left alone until somebody drives it", async () => {
    await using vehicle = await vehicleOn(cloud, old, { id: "autonomous" });
    vehicle.gateway.say({ ...parked, mode: "autonomous" });
    const evidence = await refusesThenOpens(vehicle, "DENY_AUTONOMOUS_MODE", {
      open: () => vehicle.gateway.say(parked),
    });
    assert.equal(gateIn(evidence).seen, "autonomous");
  });

  test("DENY_LOW_BATTERY: a low battery closes the gate until it is charged", async () => {
    await using vehicle = await vehicleOn(cloud, old, { id: "empty" });
    vehicle.gateway.say({ ...parked, batteryPct: 12 });
    const evidence = await refusesThenOpens(vehicle, "DENY_LOW_BATTERY", {
      open: () => vehicle.gateway.say({ ...parked, batteryPct: 12, charging: true }),
    });
    assert.deepEqual([gateIn(evidence).required, gateIn(evidence).seen], [35, 12]);
  });

  test("DENY_OUTSIDE_WINDOW: the window is one of the vehicle's own time zone, closed and then open", async () => {
    const timezone = "Asia/Kolkata";
    await using vehicle = await vehicleOn(cloud, old, { id: "outside", config: { vehicle: { timezone } } });
    const at = (hours: number) => localTime(timezone, hours);
    // Elsewhere it is open: in UTC it is five and a half hours earlier than in the vehicle's zone.
    const evidence = await refusesThenOpens(vehicle, "DENY_OUTSIDE_WINDOW", {
      window: [at(-6.5), at(-4.5)],
      open: async () => {
        const applyWindow = { startLocal: at(-1), endLocal: at(1) };
        await desire(cloud, next, [vehicle], { policy: { applyWindow } });
      },
    });
    assert.equal(gateIn(evidence).gate, "window");
  });

  test("DENY_LOCAL_HOLD: a technician holds the vehicle, and releases it", async () => {
    await using vehicle = await vehicleOn(cloud, old, { id: "held" });
    const muto = async (...args: readonly string[]) =>
      await runMuto(["agent", ...args, "--config", vehicle.configFile], { logFile: `${vehicle.configFile}.log` });
    await muto("hold", "--who", "sam", "--why", "calibration");
    const evidence = await refusesThenOpens(vehicle, "DENY_LOCAL_HOLD", {
      open: async () => {
        await muto("release");
      },
    });
    assert.equal(gateIn(evidence).gate, "local-hold");
    assert.match(JSON.stringify(evidence), /sam|calibration/);
  });

  test("INSUFFICIENT_DISK: sets and reserve that do not fit close the gate until there is room", async () => {
    await using vehicle = await vehicleOn(cloud, old, { id: "full" });
    await vehicle.stopAgent();
    vehicle.configure({ safety: { diskReserveMb: 1_000_000_000 } });
    vehicle.startAgent();
    const evidence = await refusesThenOpens(vehicle, "INSUFFICIENT_DISK", {
      open: async () => {
        await vehicle.stopAgent();
        vehicle.configure({});
        vehicle.startAgent();
      },
    });
    assert.equal(gateIn(evidence).gate, "disk");
  });
});

/** HH:MM on a clock in this zone, so many hours from now. */
function localTime(timeZone: string, hours: number): string {
  const format = { timeZone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
  return new Intl.DateTimeFormat("en-GB", format).format(Date.now() + hours * 3_600_000);
}
