import { rm } from "node:fs/promises";
import { join } from "node:path";
import { CommandFailed } from "../command.ts";
import type { Command } from "../command.ts";
import { settingsOf } from "./serve.ts";

const config = { config: { about: "file with settings (MUTO_CONFIG)", type: "text", value: "FILE" } } as const;
const MINUTE_MS = 60_000;

const seed: Command = {
  words: ["seed"],
  local: true,
  summary: "Fill an empty control plane with a week of demonstration data",
  details: [
    "Made by the real API and engine from the seed: vehicles, releases, rollouts, signed reports, audit log. The same seed and",
    "end give the same data. Stop muto up first; afterwards the vehicles fall silent and count as offline after five minutes.",
  ].join("\n"),
  options: {
    ...config,
    seed: { about: "decides everything (1)", type: "number" },
    vehicles: { about: "how many (40)", type: "number" },
    end: { about: "time at which the history ends; left out, the present minute", type: "text", value: "TIME" },
  },
  run: async (input, io) => {
    const settings = await settingsOf(input, io);
    const { openStore } = await import("@muto/cloud/main");
    const { seedDatabase } = await import("@muto/cloud/seed/seed");
    const opened = await openStore(settings, io.error);
    if (!opened.ok) throw new CommandFailed(opened.message, { hint: "stop muto up, or set MUTO_DATA_DIR" });
    await using database = opened.database;
    const known = await database.db.selectFrom("vehicles").select("id").limit(1).executeTakeFirst();
    if (known !== undefined)
      throw new CommandFailed("there is data already; seeding would mix with it", { hint: "muto reset" });
    const seeded = await seedDatabase({
      database,
      seed: input.number("seed") ?? 1,
      vehicles: input.number("vehicles") ?? 40,
      endMs: endOf(input.text("end"), io.clock.wallMs()),
      tenant: settings.tenant,
      offlineAfterMs: settings.offlineAfterSec * 1000,
    });
    io.out(
      `${seeded.vehicles} vehicles, ${seeded.releases} releases, ${seeded.rollouts} rollouts; see them with: muto up\n` +
        "Nobody drives these vehicles: five minutes after the end of their history they count as offline.\n",
    );
    return 0;
  },
};

const reset: Command = {
  words: ["reset"],
  local: true,
  summary: "Back to an empty control plane; keys, trust file and tokens stay",
  details: "Stop muto up first. Removes the database's content and the development registry.",
  options: { ...config, yes: { about: "do not ask", type: "flag" } },
  run: async (input, io) => {
    const settings = await settingsOf(input, io);
    const what =
      settings.databaseUrl === undefined ? settings.dataDir : new URL(settings.databaseUrl).pathname.slice(1);
    const question = `Everything in ${what} is removed: vehicles, releases, rollouts, reports, audit log. Type yes: `;
    if (!input.flag("yes") && (await io.ask(question)) !== "yes") {
      throw new CommandFailed("nothing was removed", { hint: "muto reset --yes" });
    }
    const { emptyStore } = await import("@muto/cloud/main");
    const emptied = await emptyStore(settings, io.error);
    if (!emptied.ok) throw new CommandFailed(emptied.message, { hint: "stop muto up first" });
    if (settings.registryUrl === undefined)
      await rm(join(settings.dataDir, "registry"), { recursive: true, force: true });
    io.out(`${what} is empty\n`);
    return 0;
  },
};

export const dataCommands: readonly Command[] = [seed, reset];

function endOf(text: string | undefined, nowMs: number): number {
  if (text === undefined) return Math.floor(nowMs / MINUTE_MS) * MINUTE_MS;
  const ms = Date.parse(text);
  if (Number.isNaN(ms))
    throw new CommandFailed(`--end takes a time such as 2026-01-31T12:00:00Z, not ${text}`, { exitCode: 2 });
  return ms;
}
