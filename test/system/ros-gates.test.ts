import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { AgentConfigInput, Evidence, ReasonCode } from "@muto/spec";
import { openRosbridgeDouble, type RosbridgeDouble } from "../stand-ins/rosbridge.ts";
import { desire, startCloud } from "./world/cloud.ts";
import { publish } from "./world/publish.ts";
import { converge } from "./world/settle.ts";
import { createVehicle, reported, runs } from "./world/vehicle.ts";

/** What the stack's topics say, several times a second; undefined falls silent. */
interface Stack {
  speed: number | undefined;
  gear: number;
  operation: { mode: number; is_autoware_control_enabled: boolean; is_in_transition: boolean };
  risk: number;
  energy: number;
  heart: "beats" | "stopped";
}

const PARKED: Stack = {
  speed: 0,
  gear: 22,
  operation: { mode: 1, is_autoware_control_enabled: false, is_in_transition: false },
  risk: 1,
  energy: 0.8,
  heart: "beats",
};

const INTERVAL_MS = 200;
const OPERATION = "/api/operation_mode/state";
const RISK = "/api/fail_safe/mrm_state";
const GEAR = { topic: "/vehicle/status/gear_status", type: "autoware_vehicle_msgs/msg/GearReport" };
const ACKNOWLEDGED = "/muto/acknowledged";

function speak(ros: RosbridgeDouble, stack: Stack): void {
  const { speed, gear, operation, risk, energy, heart } = stack;
  const twist = { linear: { x: speed, y: 0, z: 0 }, angular: { x: 0, y: 0, z: 0 } };
  if (speed !== undefined) ros.publish("/api/vehicle/kinematics", { twist: { twist: { twist } } });
  ros.publish(GEAR.topic, { report: gear });
  ros.publish("/api/vehicle/metrics", { energy });
  if (heart === "beats") ros.publish("/api/system/heartbeat", {});
  ros.publish(OPERATION, operation);
  ros.publish(RISK, { state: risk });
}

function signals(url: string, lockFile: string): AgentConfigInput["signals"] {
  const ros = [{ provider: "ros", freshForSec: 1 }];
  const values = [
    { when: [22], means: true },
    { when: [2, 20], means: false },
  ] as const;
  return {
    speed: ros,
    mode: ros,
    battery: ros,
    parked: ros,
    lockFile,
    providers: [
      {
        name: "ros",
        kind: "rosbridge",
        url,
        presets: ["autoware-adapi"],
        mappings: [{ signal: "parked", ...GEAR, path: ["report"], values }],
        change: { topic: "/muto/change", acknowledgementTopic: ACKNOWLEDGED },
      },
    ],
  };
}

/*
 * A real agent on a vehicle whose signals all come over rosbridge. One thing closes a gate after the other; the stack that runs
 * stays as it is until everything is open and the vehicle's own software has acknowledged the change.
 */
test(
  "gates over ROS topics: closed one after the other, then open, told and acknowledged",
  { timeout: 120_000 },
  async () => {
    await using cloud = await startCloud();
    const old = await publish(cloud, { version: "1.0.0" });
    const next = await publish(cloud, { version: "2.0.0" });
    await using ros = await openRosbridgeDouble();
    for (const topic of [OPERATION, RISK]) ros.advertise(topic, { latched: true });
    const stack: Stack = { ...PARKED };
    const speaking = setInterval(() => speak(ros, stack), INTERVAL_MS);
    using _speaking = { [Symbol.dispose]: () => clearInterval(speaking) };
    void _speaking;
    const answering = setInterval(() => {
      const told: unknown = JSON.parse(ros.published.map(({ message }) => textIn(message)).at(-1) ?? "null");
      const changeId = typeof told === "object" && told !== null && "changeId" in told ? told.changeId : undefined;
      if (typeof changeId === "string") ros.publish(ACKNOWLEDGED, { data: changeId });
    }, INTERVAL_MS);
    using _answering = { [Symbol.dispose]: () => clearInterval(answering) };
    void _answering;
    const lockFile = join(cloud.folder, "hold.lock");
    await using vehicle = await createVehicle(cloud, {
      id: "ros",
      config: { signals: signals(ros.url, lockFile), changeInProgress: { acknowledgementRequired: true } },
    });
    vehicle.startAgent();
    const before = await converge(cloud, vehicle, old);

    Object.assign(stack, { speed: 3 });
    const revision = await desire(cloud, next, [vehicle], { policy: { requireBatteryPctMin: 35 } });
    let last = { seq: 0 };
    const closedBy = async (codes: readonly ReasonCode[], signal: string, seen: unknown, problem?: string) => {
      const evidence = (item: Evidence) =>
        item.kind === "gate" &&
        item.signal === signal &&
        item.seen === seen &&
        (problem === undefined || item.problem === problem);
      last = await reported(cloud, vehicle, { status: "blocked", codes, revision, evidence, after: last });
      assert.deepEqual(vehicle.running(), before, "what runs is not touched");
    };
    const now = (change: Partial<Stack>) => Object.assign(stack, PARKED, change);

    await closedBy(["DENY_MOVING"], "speed", 3, "out-of-bounds");
    now({ risk: 2 });
    await closedBy(["DENY_AUTONOMOUS_MODE"], "mode", "minimal-risk-manoeuvre");
    now({ gear: 2 });
    await closedBy(["DENY_MOVING"], "parked", false);
    now({ operation: { ...PARKED.operation, is_in_transition: true } });
    await closedBy(["DENY_AUTONOMOUS_MODE"], "mode", "transition");
    now({ energy: 0.05 });
    await closedBy(["DENY_LOW_BATTERY"], "battery", 5);
    // Held from here on: until a silence is noticed, everything looks open.
    writeFileSync(lockFile, JSON.stringify({ kind: "muto.lock-file/v1", by: "planner", reason: "mission" }));
    await closedBy(["DENY_LOW_BATTERY", "DENY_LOCAL_HOLD"], "hold", "mission", "held");
    now({ heart: "stopped" });
    await closedBy(["DENY_AUTONOMOUS_MODE", "DENY_LOCAL_HOLD"], "mode", null, "stale");
    now({ energy: 87 });
    await closedBy(["DENY_LOW_BATTERY", "DENY_LOCAL_HOLD"], "battery", null, "malformed");
    now({ speed: undefined });
    await closedBy(["DENY_MOVING", "DENY_LOCAL_HOLD"], "speed", null, "stale");
    now({});
    await closedBy(["DENY_LOCAL_HOLD"], "hold", "mission", "held");
    rmSync(lockFile);
    await reported(cloud, vehicle, { status: "converged", version: "2.0.0", revision });
    await runs(cloud, vehicle, next);
    await ros.until(() => ros.published.some(({ message }) => textIn(message).includes('"inProgress":false')));
  },
);

function textIn(message: unknown): string {
  return typeof message === "object" && message !== null && "data" in message ? String(message.data) : "null";
}
