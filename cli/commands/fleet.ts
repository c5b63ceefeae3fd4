import type { FleetSummary } from "@muto/spec";
import type { Command } from "../command.ts";
import { openSession } from "../session.ts";
import { defined, show, stackText } from "../show.ts";
import { table } from "../table.ts";

const summary: Command = {
  words: ["fleet", "summary"],
  summary: "Count the fleet by status, with the most frequent reasons and the active rollouts",
  options: { selector: { about: "only vehicles that it selects", type: "text", value: "SELECTOR" } },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("getFleetSummary", { query: defined({ selector: input.text("selector") }) });
    show(input, io, body.data, summaryText);
    return 0;
  },
};

const confirmRestore: Command = {
  words: ["fleet", "confirm-restore"],
  summary: "Confirm that the database was restored from a backup, so that rollouts may be resumed",
  options: { comment: { about: "what was restored and why, for the audit log", type: "text", required: true } },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("confirmRestore", { body: { comment: input.required("comment") } });
    show(input, io, body.data, ({ vehiclesAhead, pausedRollouts }) => {
      const resume = pausedRollouts.map((id) => `  muto rollout resume ${id}\n`).join("");
      return `confirmed; ${vehiclesAhead} vehicles know newer sequences, ${pausedRollouts.length} rollouts are paused\n${resume}`;
    });
    return 0;
  },
};

export const fleetCommands: readonly Command[] = [summary, confirmRestore];

function summaryText(fleet: FleetSummary): string {
  const statuses = Object.entries(fleet.byStatus).filter(([, count]) => count > 0);
  const parts = [`${fleet.vehicles} vehicles\n`];
  if (fleet.restorePending)
    parts.push("the database is older than the fleet: muto fleet confirm-restore --comment …\n");
  parts.push(
    table(
      ["status", "vehicles"],
      statuses.map(([status, count]) => [status, String(count)]),
    ),
  );
  if (fleet.topReasonCodes.length > 0) {
    parts.push(
      table(
        ["reason", "vehicles"],
        fleet.topReasonCodes.map(({ code, vehicles }) => [code, String(vehicles)]),
      ),
    );
  }
  if (fleet.drifting > 0) {
    const rows = fleet.topDrift.map(({ drift, vehicles }) => [drift, String(vehicles)]);
    parts.push(`${fleet.drifting} drifting: muto vehicle list --drifting\n`, table(["drift", "vehicles"], rows));
  }
  if (fleet.activeRollouts.length > 0) {
    const rows = fleet.activeRollouts.map(({ id, stack, status, stage, counts }) => [
      id,
      stackText(stack),
      status,
      stage,
      `${counts.converged}/${counts.members}`,
    ]);
    parts.push(table(["rollout", "release", "status", "stage", "converged"], rows));
  }
  return parts.join("\n");
}
