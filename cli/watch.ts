import type { Rollout } from "@muto/spec";
import { CommandFailed } from "./command.ts";
import type { Input } from "./command.ts";
import type { Io } from "./io.ts";
import type { Session } from "./session.ts";
import { codesText, stackText } from "./show.ts";

const POLL_MS = 1_000;
const BAR_WIDTH = 24;

/**
 * Shows a rollout until it ends or waits for a person. On a terminal the lines redraw themselves; elsewhere a plain line
 * is printed when something changed. With --output json one JSON line for each change.
 */
export async function watchRollout(session: Session, input: Input, io: Io, id: string): Promise<number> {
  let shown = "";
  while (!io.signal.aborted) {
    const { body } = await session.call("getRollout", { params: { id } });
    const rollout = body.data;
    const text = input.text("output") === "json" ? `${JSON.stringify(rollout)}\n` : progressText(rollout);
    if (text !== shown) {
      const lines = shown.split("\n").length - 1;
      if (io.terminal && lines > 0 && input.text("output") !== "json") io.out(`\u001B[${lines}A\u001B[J`);
      io.out(text);
      shown = text;
    }
    if (rollout.status === "completed")
      return rollout.outcome === "aborted" || rollout.outcome === "superseded" ? 1 : 0;
    if (
      rollout.stage === "watch" &&
      rollout.status === "active" &&
      rollout.counts.converged === rollout.counts.members
    ) {
      io.out(`every member converged; the gates go on judging until ${rollout.next.at ?? "the watch ends"}\n`);
      return 0;
    }
    if (rollout.status === "rolled_back") return 1;
    if (rollout.status === "paused") {
      throw new CommandFailed(`${id} is paused: ${rollout.pause?.cause ?? "unknown"}`, {
        hint: `muto rollout show ${id}`,
      });
    }
    await io.clock.sleep(POLL_MS, io.signal);
  }
  return 1;
}

export function progressText(rollout: Rollout): string {
  const lines = [`${rollout.id}  ${stackText(rollout.stack)}  ${rollout.status}, ${rollout.outcome ?? rollout.stage}`];
  for (const { stage, counts } of rollout.stages) {
    if (counts.members === 0) continue;
    const filled = Math.floor((counts.converged / counts.members) * BAR_WIDTH);
    const bar = `${"#".repeat(filled)}${".".repeat(BAR_WIDTH - filled)}`;
    const rest = (["failed", "rolledBack", "blocked", "applying", "pending", "offline", "waiting"] as const)
      .filter((name) => counts[name] > 0)
      .map((name) => `${counts[name]} ${name}`);
    lines.push(
      `  ${stage.padEnd(6)} [${bar}] ${counts.converged}/${counts.members} converged${rest.length === 0 ? "" : `, ${rest.join(", ")}`}`,
    );
  }
  const deciding = rollout.verdict?.vehicles ?? [];
  for (const { vehicleId, class: judged, reasonCodes } of deciding)
    lines.push(`  ${vehicleId} ${judged} ${codesText(reasonCodes)}`);
  return `${lines.join("\n")}\n`;
}
