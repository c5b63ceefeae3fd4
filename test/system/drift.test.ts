import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { StackManifestInput } from "@muto/spec";
import { parked } from "../../demo/signals.ts";
import { openRosbridgeDouble } from "../stand-ins/rosbridge.ts";
import type { RosbridgeDouble } from "../stand-ins/rosbridge.ts";
import { desire, reportsOf, startCloud, vehicleRecord } from "./world/cloud.ts";
import type { Cloud } from "./world/cloud.ts";
import { eventually } from "./world/eventually.ts";
import { publish } from "./world/publish.ts";
import type { Published } from "./world/publish.ts";
import { converge, vehicleOn } from "./world/settle.ts";
import { createVehicle, howThingsStand, reported, runs } from "./world/vehicle.ts";
import type { Vehicle } from "./world/vehicle.ts";

const TOPIC = "/sensing/points";
const PLANNER = "/planning/planner";
const RATE_HZ_MIN = 10;

const probes: NonNullable<StackManifestInput["healthModel"]["probes"]> = [
  { kind: "node", name: "planner-there", workload: "main", node: PLANNER },
  {
    kind: "topic",
    name: "points-flow",
    workload: "main",
    topic: TOPIC,
    messageType: "sensor_msgs/msg/PointCloud2",
    windowSec: 1,
    hzMin: RATE_HZ_MIN,
  },
  { kind: "service", name: "nav-active", workload: "main", service: "/nav/is_active" },
];

/** A stack that speaks over rosbridge: a node, a service, and a topic at a rate that can be turned. */
interface RosStack extends AsyncDisposable {
  readonly bridge: RosbridgeDouble;
  publishEvery(ms: number): void;
}

async function openRosStack(everyMs: number): Promise<RosStack> {
  const bridge = await openRosbridgeDouble();
  bridge.nodes = ["/rosapi", PLANNER];
  bridge.advertise(TOPIC);
  bridge.services.set("/nav/is_active", () => ({ success: true, message: "" }));
  const publishing = (ms: number) => setInterval(() => bridge.publish(TOPIC, {}), ms);
  let timer = publishing(everyMs);
  return {
    bridge,
    publishEvery: (ms) => {
      clearInterval(timer);
      timer = publishing(ms);
    },
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await bridge[Symbol.asyncDispose]();
    },
  };
}

describe("probes of the ROS graph, with a real agent and a rosbridge", { concurrency: 3 }, () => {
  let cloud: Cloud;
  let plain: Published;
  let ros: Published;

  before(async () => {
    cloud = await startCloud();
    plain = await publish(cloud, { version: "1.0.0" });
    ros = await publish(cloud, { version: "2.0.0-ros", healthModel: { readinessTimeoutSec: 8, probes } });
  });

  after(async () => {
    await cloud[Symbol.asyncDispose]();
  });

  const drift = async (vehicle: Vehicle, what: string, kinds: readonly string[]) =>
    await eventually(
      what,
      async () => {
        const record = await vehicleRecord(cloud, vehicle.id);
        return record.drift.map((one) => one.drift).join() === kinds.join() ? record : undefined;
      },
      { explain: async () => await howThingsStand(cloud, vehicle) },
    );

  test("a node leaves on the motorway: the operator sees which, nothing is restarted, and its return ends it (H3)", async () => {
    await using stack = await openRosStack(20);
    await using vehicle = await vehicleOn(cloud, plain, { id: "node-left", rosbridge: stack.bridge.url });
    await converge(cloud, vehicle, ros);
    const [converged] = await reportsOf(cloud, vehicle.id);
    const seen = converged?.report.probes?.map(({ probe, met, required }) => [probe, met, required]);
    assert.deepEqual(seen, [
      ["planner-there", true, true],
      ["points-flow", true, RATE_HZ_MIN],
      ["nav-active", true, true],
    ]);
    vehicle.gateway.say({ ...parked, speedMps: 30, parked: false });
    const before = vehicle.running();
    const leftMs = Date.now();
    stack.bridge.nodes = ["/rosapi"];
    const record = await drift(vehicle, "the node's departure is told", ["node-left"]);
    assert.deepEqual([record.status, record.reasonCodes], ["converged", []]);
    const { body } = await cloud.session.call("explainVehicle", { params: { id: vehicle.id } });
    const [explained] = body.data.drift;
    assert.ok(explained !== undefined);
    const { workload, probe, required, seen: saw, since } = explained.drift;
    assert.deepEqual([workload, probe, required, saw], ["main", "planner-there", true, false]);
    assert.ok(Date.parse(since) >= leftMs - 1_000);
    assert.match(explained.summary, /no longer in the ROS graph/);
    const fleet = await cloud.session.call("getFleetSummary", { query: {} });
    assert.ok(fleet.body.data.topDrift.some((one) => one.drift === "node-left"));
    assert.deepEqual(vehicle.running(), before, "nothing was touched");
    stack.bridge.nodes = ["/rosapi", PLANNER];
    const over = await drift(vehicle, "its return is told", []);
    const events = over.timeline.map(({ event }) => event).filter((event) => event.startsWith("drift"));
    assert.deepEqual(events, ["drift_cleared", "drifted"]);
    assert.deepEqual(vehicle.running(), before);
  });

  test("READINESS_TIMEOUT with a topic below its rate: the numbers are in the evidence, and the vehicle goes back", async () => {
    await using stack = await openRosStack(250);
    await using vehicle = await vehicleOn(cloud, plain, { id: "too-slow", rosbridge: stack.bridge.url });
    const revision = await desire(cloud, ros, [vehicle]);
    const back = await reported(cloud, vehicle, {
      status: "rolled_back",
      codes: ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"],
      revision,
    });
    const [unmet, ...others] = back.evidence.filter((item) => item.kind === "probe");
    assert.ok(unmet !== undefined && others.length === 2 && others.every(({ met }) => met));
    assert.deepEqual([unmet.probe, unmet.probeKind, unmet.problem], ["points-flow", "topic", "too-slow"]);
    assert.equal(unmet.required, RATE_HZ_MIN);
    assert.ok(typeof unmet.seen === "number" && unmet.seen > 1 && unmet.seen < RATE_HZ_MIN, String(unmet.seen));
    assert.ok(typeof unmet.ageMs === "number");
    await runs(cloud, vehicle, plain);
    stack.publishEvery(20);
    const again = await desire(cloud, ros, [vehicle], { retry: true });
    await reported(cloud, vehicle, { status: "converged", codes: [], revision: again });
  });

  test("a vehicle that shows no graph refuses the release before anything of it is fetched", async () => {
    await using vehicle = await createVehicle(cloud, { id: "no-graph" });
    vehicle.startAgent();
    const revision = await desire(cloud, ros, [vehicle]);
    const refused = await reported(cloud, vehicle, { status: "failed", codes: ["DESIRED_STATE_REJECTED"], revision });
    const [evidence] = refused.evidence;
    assert.ok(evidence?.kind === "compatibility");
    assert.deepEqual([evidence.fact, evidence.seen], ["runtime", null]);
    assert.ok(evidence.required.includes("ros graph"));
    assert.equal(refused.phase, "verify");
    assert.deepEqual(vehicle.running(), []);
  });
});
