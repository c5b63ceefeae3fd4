import type { Cable } from "./cut.ts";
import { ferry } from "./fleet.ts";
import type { Stage } from "./story.ts";
import { muto, patience, STACK, vehicleOf } from "./story.ts";
import { until } from "./until.ts";
import type { DemoVehicle } from "./vehicle.ts";
import { runningWorkloads } from "./workloads.ts";

const RECEIVED_LIMIT_MS = 30_000;
const REPORTED_LIMIT_MS = 30_000;
/** A window opens on a full minute; the assignment has to arrive and be staged before. */
const LEAD_MS = 12_000;
const CONVERGED_LIMIT_MS = 30_000;
const WORKLOADS = 3;
/** Readiness and probation of the demonstration's stack, with room. */
const PROBATION_MS = 5_000;

/** The act of the ferry, in two parts with a rollout of the others in between. */
export interface OfflineAct {
  /** Assigns, waits until everything is staged behind a closed window, and cuts every cable. */
  depart(): Promise<void>;
  /** Waits for the window, mends the cables, and reads the records. */
  arrive(): Promise<void>;
}

export function offlineAct(stage: Stage, vehicle: DemoVehicle, cables: readonly Cable[]): OfflineAct {
  const { plane, expectations, say } = stage;
  const opensMs = nextMinute(Date.now() + patience(stage, LEAD_MS));
  const window = `${localTime(opensMs)}-${localTime(opensMs + 3_600_000)}`;
  let cutAtMs = Number.POSITIVE_INFINITY;
  return {
    depart: async () => {
      await muto(stage, ["desired", "create", STACK, "1.0.0", "--vehicle", ferry.id, "--window", window]);
      const refused = await until(patience(stage, RECEIVED_LIMIT_MS), async () => {
        const { status, reasonCodes } = await vehicleOf(plane, ferry.id);
        return status === "blocked" && reasonCodes.includes("DENY_OUTSIDE_WINDOW") ? true : undefined;
      });
      expectations.expect(
        `${ferry.id} (its window is closed) refuses with DENY_OUTSIDE_WINDOW`,
        refused === true,
        refused === true ? "refused, everything staged" : "did not refuse",
      );
      for (const cable of cables) cable.cut();
      cutAtMs = Date.now();
      say(
        `  ${ferry.id} waits for its window at ${localTime(opensMs)}; control plane, broker and registry are cut off from it`,
      );
    },
    arrive: async () => {
      // Nobody can ask the vehicle; what its processes do can be seen on the computer that it shares with us.
      const runs = await until(opensMs - Date.now() + patience(stage, CONVERGED_LIMIT_MS), async () => {
        const running = await runningWorkloads(vehicle.home);
        return running.length === WORKLOADS ? true : undefined;
      });
      if (runs === true) await new Promise((resolve) => setTimeout(resolve, PROBATION_MS));
      const silent = await vehicleOf(plane, ferry.id);
      const mendedAtMs = Date.now();
      for (const cable of cables) cable.mend();
      say(`  ${ferry.id} has its network again`);
      const report = await until(patience(stage, REPORTED_LIMIT_MS), async () => {
        const { body } = await plane.session.call("listReconcileReports", {
          query: { vehicleId: ferry.id, limit: 50 },
        });
        return body.data.find((one) => one.report.status === "converged" && one.report.stack?.version === "1.0.0");
      });
      const [atMs, receivedMs] = [Date.parse(report?.report.at ?? ""), Date.parse(report?.receivedAt ?? "")];
      expectations.expect(
        `${ferry.id} converged by itself when its window opened, without any network`,
        silent.status !== "converged" && atMs >= opensMs && atMs > cutAtMs && atMs < mendedAtMs,
        report === undefined
          ? "no report"
          : `converged ${seconds(atMs - opensMs)} after the window opened, ${seconds(atMs - cutAtMs)} after the cut`,
      );
      expectations.expect(
        `${ferry.id} reported later what it had done`,
        receivedMs >= mendedAtMs,
        report === undefined
          ? "no report"
          : `report ${report.report.seq} arrived ${seconds(receivedMs - atMs)} after it was written`,
      );
    },
  };
}

function nextMinute(ms: number): number {
  return Math.ceil(ms / 60_000) * 60_000;
}

/** HH:MM as a clock on board shows it. */
function localTime(ms: number): string {
  return new Intl.DateTimeFormat("en-GB", {
    timeZone: ferry.timezone,
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  }).format(ms);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
