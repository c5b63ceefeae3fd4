import { readFile } from "node:fs/promises";
import { parseDocument } from "yaml";
import { readSettings } from "@muto/cloud/settings";
import type { CloudSettings } from "@muto/cloud/settings";
import { CommandFailed } from "../command.ts";
import type { Command, Input } from "../command.ts";
import { ended } from "../io.ts";
import type { Io } from "../io.ts";

const config = {
  config: {
    about: "file with settings (YAML or JSON); the environment wins (MUTO_CONFIG)",
    type: "text",
    value: "FILE",
  },
} as const;

const up: Command = {
  words: ["up"],
  summary: "Run a control plane on this machine on embedded defaults",
  details: [
    "Database, MQTT broker and a development OCI registry, all in the data folder .muto (MUTO_DATA_DIR).",
    "Keys, a trust file for vehicles and an operator token are made at the first start; the command line on this machine finds the token.",
  ].join("\n"),
  options: config,
  run: async (input, io) => await serve(input, io, true),
};

const cloud: Command = {
  words: ["cloud"],
  summary: "Run the control plane against your own PostgreSQL, broker and registry",
  details: "Every setting comes from the environment or a file; docs/configuration.md lists them.",
  options: config,
  run: async (input, io) => await serve(input, io, false),
};

const migrate: Command = {
  words: ["migrate"],
  summary: "Bring the database's schema up to date, and end",
  options: config,
  run: async (input, io) => {
    const { migrateDatabase } = await import("@muto/cloud/main");
    const result = await migrateDatabase(await settingsOf(input, io), io.error);
    if (!result.ok) throw new CommandFailed(result.message);
    io.out(result.applied.length === 0 ? "the schema is up to date\n" : `applied ${result.applied.join(", ")}\n`);
    return 0;
  },
};

export const serveCommands: readonly Command[] = [up, cloud, migrate];

export async function settingsOf(input: Input, io: Io): Promise<CloudSettings> {
  const file = input.text("config") ?? io.environment["MUTO_CONFIG"];
  const read = readSettings(io.environment, file === undefined ? {} : await settingsFile(file));
  if (!read.ok) throw new CommandFailed(read.message, { exitCode: 2 });
  return read.settings;
}

async function settingsFile(file: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new CommandFailed(`${file} cannot be read`, { exitCode: 2, cause });
  });
  const document = parseDocument(text);
  const value: unknown = document.toJS();
  if (document.errors.length > 0 || typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CommandFailed(`${file} holds no settings`, { exitCode: 2 });
  }
  return Object.fromEntries(Object.entries(value));
}

async function serve(input: Input, io: Io, development: boolean): Promise<number> {
  const { startCloud } = await import("@muto/cloud/main");
  const started = await startCloud({ settings: await settingsOf(input, io), development, log: io.error });
  if (!started.ok) throw new CommandFailed(started.message, started.hint === undefined ? {} : { hint: started.hint });
  await using running = started.cloud;
  if (input.text("output") === "json") io.out(`${JSON.stringify(running.addresses)}\n`);
  else io.out(addressesText(running.addresses, development));
  await ended(io.signal);
  io.error("stopping: open requests are answered first\n");
  return 0;
}

function addressesText(addresses: Readonly<Record<string, string | undefined>>, development: boolean): string {
  const names: Readonly<Record<string, string>> = {
    url: "API",
    docsUrl: "contract",
    mqttUrl: "MQTT",
    registryUrl: "registry",
    trustFile: "trust file",
    operatorTokenFile: "token",
    token: "",
  };
  const notes: Readonly<Record<string, string>> = {
    trustFile: "   copy it to vehicles",
    operatorTokenFile: "   the command line on this machine reads it",
  };
  const lines = Object.entries(names).flatMap(([key, name]) => {
    const value = addresses[key];
    return value === undefined ? [] : [`  ${name.padEnd(11)}${value}${notes[key] ?? ""}`];
  });
  const database = development
    ? ["", "the embedded database is for a desk, a demonstration or a test, not for a fleet: MUTO_DATABASE_URL"]
    : [];
  return `${["muto is up", ...lines, ...database, ""].join("\n")}`;
}
