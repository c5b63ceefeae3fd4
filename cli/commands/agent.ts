import { resolve } from "node:path";
import { loadAgentConfig } from "@muto/agent/config";
import { readHold, readStanding, release, writeHold, writeStanding } from "@muto/agent/local/technician-files";
import type { TechnicianFolder } from "@muto/agent/local/technician-files";
import { systemUptime } from "@muto/agent/local/uptime";
import { makeHold, makeStanding, STANDING_MS_MAX } from "@muto/agent/safety/technician";
import { systemDisk } from "@muto/kit/disk";
import { timestamp } from "@muto/kit/clock";
import { CommandFailed } from "../command.ts";
import type { Command, Input } from "../command.ts";
import { chosen, show } from "../show.ts";
import { table } from "../table.ts";

const config = {
  config: { about: "the vehicle's configuration file", type: "text", value: "FILE", required: true },
} as const;
const who = { who: { about: "your name, for the report", type: "text" } } as const;
const whys = ["maintenance", "mission", "charging", "passengers", "diagnosis", "calibration", "other"] as const;

const run: Command = {
  words: ["agent"],
  summary: "Run the vehicle agent",
  details: "Ending it, in whatever way, does not touch the stack that runs; the next agent takes it over.",
  options: config,
  run: async (input, io) => {
    const { runAgent } = await import("@muto/agent/main");
    const { openNativeRuntime } = await import("@muto/agent/runtime/native-runtime");
    return await runAgent({
      configFile: resolve(input.required("config")),
      signal: io.signal,
      log: io.error,
      openNative: openNativeRuntime,
    });
  },
};

const hold: Command = {
  words: ["agent", "hold"],
  summary: "On the vehicle: no change until it is released",
  options: { ...config, ...who, why: { about: "why", type: "text", choices: whys } },
  run: async (input, io) => {
    const folder = await technicianFolder(input);
    await writeHold(folder, makeHold(nameOf(input), chosen(input, "why", whys) ?? "maintenance", io.clock.wallMs()));
    io.out("held: no change starts on this vehicle until: muto agent release\n");
    return 0;
  },
};

const releaseHold: Command = {
  words: ["agent", "release"],
  summary: "On the vehicle: end the hold and any confirmation",
  options: config,
  run: async (input, io) => {
    const released = await release(await technicianFolder(input));
    io.out(released ? "released: changes may start when the vehicle's gates are open\n" : "nothing was held\n");
    return 0;
  },
};

const confirmStanding: Command = {
  words: ["agent", "confirm-standing"],
  summary: "On the vehicle: confirm that it stands, for a limited time",
  details: [
    "The way out when every signal comes from the very stack that is down: it stands in for signals that are missing,",
    "never against one that is seen. It ends by itself, with the time or with a reboot, and is reported.",
  ].join("\n"),
  options: {
    ...config,
    ...who,
    for: { about: "such as 10m or 90s, at most 60m", type: "text", value: "TIME", required: true },
  },
  run: async (input, io) => {
    const disk = systemDisk();
    const durationMs = durationOf(input.required("for"));
    const bootId = Buffer.from((await disk.read("/proc/sys/kernel/random/boot_id")) ?? new Uint8Array())
      .toString("utf8")
      .trim();
    const now = { wallMs: io.clock.wallMs(), uptimeMs: systemUptime()(), bootId };
    const standing = makeStanding(nameOf(input), durationMs, now);
    if (standing === undefined)
      throw new CommandFailed(`--for takes at most ${STANDING_MS_MAX / 60_000}m`, { exitCode: 2 });
    await writeStanding(await technicianFolder(input), standing);
    io.out(`confirmed: this vehicle stands, until ${standing.until}\n`);
    return 0;
  },
};

const local: Command = {
  words: ["agent", "status"],
  summary: "On the vehicle: what a technician said, and whether it still counts",
  options: config,
  run: async (input, io) => {
    const folder = await technicianFolder(input);
    const [held, standing] = [await readHold(folder), await readStanding(folder)];
    const now = timestamp(io.clock.wallMs());
    io.out(
      held.kind === "absent"
        ? "not held\n"
        : held.kind === "unreadable"
          ? "held (the record cannot be read)\n"
          : `held by ${held.value.who} since ${held.value.at}: ${held.value.why}\n`,
    );
    if (standing.kind === "document") {
      io.out(
        `standing confirmed by ${standing.value.who} until ${standing.value.until}${standing.value.until < now ? " (expired)" : ""}\n`,
      );
    }
    return 0;
  },
};

const check: Command = {
  words: ["agent", "check"],
  summary: "On the vehicle: whether it could take and run a release, and what it sees",
  details: [
    "Looks at trust, state folder, disk, clock, container engine, network, signals with their age, gates and why, and the ROS",
    "graph; changes nothing. A gate that is closed because the vehicle moves is no fault; one that nobody can judge is.",
    "Exit code 0: fit. 1: not fit.",
  ].join("\n"),
  options: config,
  run: async (input, io) => {
    const { runCheck } = await import("@muto/agent/check/run-check");
    const result = await runCheck(resolve(input.required("config")));
    show(input, io, result, ({ findings, fit }) => {
      const rows = findings.map(({ verdict, about, says, next }) => [
        VERDICTS[verdict],
        about,
        next === undefined || verdict === "ok" ? says : `${says} → ${next}`,
      ]);
      return `${table(["", "about", "what was seen"], rows)}\n${fit ? "fit: this vehicle can take a release" : "not fit"}\n`;
    });
    return result.fit ? 0 : 1;
  },
};

const VERDICTS = { ok: "ok", wait: "wait", warn: "warn", fail: "FAIL" } as const;

export const agentCommands: readonly Command[] = [run, check, hold, releaseHold, confirmStanding, local];

async function technicianFolder(input: Input): Promise<TechnicianFolder> {
  const disk = systemDisk();
  const loaded = await loadAgentConfig(disk, resolve(input.required("config")));
  if (!loaded.ok) throw new CommandFailed(loaded.problems.join("\n      "), { hint: "muto agent --help" });
  return { disk, stateDir: loaded.config.stateDir };
}

function nameOf(input: Input): string {
  const name = input.text("who") ?? "technician";
  if (!/^[a-z0-9][a-z0-9._-]{0,62}$/.test(name))
    throw new CommandFailed(`--who takes lower-case letters, digits and dashes, not ${name}`, { exitCode: 2 });
  return name;
}

function durationOf(text: string): number {
  const [, amount, unit] = /^(\d{1,5})(s|m)$/.exec(text) ?? [];
  const ms = Number(amount) * (unit === "m" ? 60_000 : 1_000);
  if (amount === undefined || ms === 0 || ms > STANDING_MS_MAX) {
    throw new CommandFailed(
      `--for takes a time such as 10m or 90s, at most ${STANDING_MS_MAX / 60_000}m, not ${text}`,
      { exitCode: 2 },
    );
  }
  return ms;
}
