import { resolve } from "node:path";
import { systemDisk } from "@muto/kit/disk";
import { jsonLogger } from "@muto/kit/logger";
import type { SimulatedFleet } from "@muto/sim/fleet";
import type { RequestKind } from "@muto/sim/measure";
import { startSimulatedFleet } from "@muto/sim/fleet";
import { loadTrustFile } from "@muto/trust/trust-file";
import type { TrustRoots } from "@muto/trust/roots";
import { CommandFailed } from "../command.ts";
import type { Command } from "../command.ts";
import { ended } from "../io.ts";
import { openSession } from "../session.ts";
import { table } from "../table.ts";

const simulate: Command = {
  words: ["simulate"],
  summary: "Run simulated vehicles that speak the real protocols: the production agent on simulated computers",
  details: [
    "muto simulate --vehicles 50 --seed 1 --trust .muto/trust.json --mqtt mqtt://127.0.0.1:1883",
    "What a simulated workload does, its release says: MUTO_SIM_READY_MS (or never), MUTO_SIM_EXIT_MS and MUTO_SIM_DRIFT_MS in its environment.",
  ].join("\n"),
  options: {
    vehicles: { about: "how many (50)", type: "number" },
    seed: { about: "decides their models, regions and rings (1)", type: "number" },
    prefix: { about: "beginning of their ids (sim-)", type: "text" },
    trust: { about: "trust file (.muto/trust.json)", type: "text", value: "FILE" },
    mqtt: { about: "URL of the broker; left out, they poll", type: "text", value: "URL" },
    "poll-sec": { about: "seconds between polls (30)", type: "number" },
    "health-sec": { about: "seconds between heartbeats (30)", type: "number" },
    "ramp-sec": { about: "seconds over which they come up (10)", type: "number" },
    "for-sec": { about: "end after this time; left out, until Ctrl-C", type: "number" },
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const roots = await rootsAt(
      resolve(input.text("trust") ?? `${io.environment["MUTO_DATA_DIR"] ?? ".muto"}/trust.json`),
    );
    const vehicles = input.number("vehicles") ?? 50;
    const pollSec = input.number("poll-sec") ?? 30;
    io.error(`${vehicles} vehicles come up\n`);
    await using fleet = await startSimulatedFleet({
      vehicles,
      seed: input.number("seed") ?? 1,
      idPrefix: input.text("prefix") ?? "sim-",
      url: session.url,
      mqttUrl: input.text("mqtt"),
      pollSec,
      healthSec: input.number("health-sec") ?? 30,
      rampMs: (input.number("ramp-sec") ?? 10) * 1000,
      roots,
      http: io.http,
      clock: io.clock,
      logger: jsonLogger({ write: io.error, level: "warn", clock: io.clock }),
      register: async (vehicle) => {
        await session.call("createVehicle", { body: vehicle });
      },
    });
    io.error(`${vehicles} vehicles are up; Ctrl-C ends them\n`);
    const limitSec = input.number("for-sec");
    if (limitSec === undefined) await ended(io.signal);
    else await io.clock.sleep(limitSec * 1000, io.signal);
    const seen = figures(fleet, pollSec);
    io.out(input.text("output") === "json" ? `${JSON.stringify(seen)}\n` : figuresText(seen));
    return fleet.faults.length === 0 ? 0 : 1;
  },
};

export const simulateCommands: readonly Command[] = [simulate];

const kinds: readonly RequestKind[] = ["poll", "report", "health", "other"];

/** A poll follows the last one after at most one and a quarter of the interval and a second; the answer may take this long. */
const POLL_ANSWER_MS_MAX = 5_000;

function figures({ vehicles, faults, measure }: SimulatedFleet, pollSec: number) {
  const gapMsMax = pollSec * 1_250 + 1_000 + POLL_ANSWER_MS_MAX;
  return {
    vehicles: vehicles.length,
    faults,
    requests: kinds.map((kind) => ({ kind, ...measure.summary(kind) })),
    polls: { gapMsMax, ...measure.punctuality(gapMsMax) },
  };
}

function figuresText({ requests, polls }: ReturnType<typeof figures>): string {
  const rows = requests.map(({ kind, requests: count, errors, p50Ms, p99Ms, maxMs }) => [
    kind,
    String(count),
    String(errors),
    ...[p50Ms, p99Ms, maxMs].map((ms) => ms.toFixed(1)),
  ]);
  const shown = table(["request", "count", "errors", "p50 ms", "p99 ms", "max ms"], rows);
  const { vehicles, missed, longestGapMs } = polls;
  return `${shown}${vehicles} vehicles polled, longest gap ${(longestGapMs / 1000).toFixed(1)} s, ${missed} polls missed\n`;
}

async function rootsAt(file: string): Promise<TrustRoots> {
  const bytes = await systemDisk().read(file);
  if (bytes === undefined)
    throw new CommandFailed(`${file} does not exist`, {
      hint: "--trust FILE; muto up writes one into its data folder",
    });
  const loaded = loadTrustFile(bytes);
  if (!loaded.ok) throw new CommandFailed(`${file} is not a usable trust file: ${loaded.problem}`);
  return loaded.roots;
}
