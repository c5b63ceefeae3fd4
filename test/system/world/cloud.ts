import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@muto/cli/session";
import type { Session } from "@muto/cli/session";
import { copyTemplate } from "@muto/cloud/store/test-database";
import { systemHttp } from "@muto/kit/http";
import { systemRandom } from "@muto/kit/random";
import type { Operations, ReconcileReport, Vehicle } from "@muto/spec";
import { startMuto } from "../../../demo/program.ts";
import type { MutoProgram } from "../../../demo/program.ts";

/** A real control plane in a process of its own, on embedded defaults, in a folder that is gone at the end. */
export interface Cloud extends AsyncDisposable {
  /** For everything that belongs to this test file. */
  readonly folder: string;
  readonly dataDir: string;
  readonly url: string;
  /** Undefined where it works without a broker. */
  readonly mqttUrl: string | undefined;
  readonly trustFile: string;
  readonly token: string;
  readonly session: Session;
  /** Ends the process and starts it again on the same folder and ports. */
  restart(): Promise<void>;
  /** Asks the process to end and waits. */
  stop(): Promise<void>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Starts a process on the same folder and ports after the last one is gone; false when it ended before it served. */
  start(): Promise<boolean>;
}

export type DesiredStateBody = Operations["createDesiredState"]["bodyInput"];

/** `env` adds to the settings, and wins over those that are made here. */
export async function startCloud(env: Readonly<Record<string, string>> = {}): Promise<Cloud> {
  const folder = mkdtempSync(join(tmpdir(), "muto-system-"));
  const dataDir = join(folder, "cloud");
  mkdirSync(dataDir);
  await copyTemplate(join(dataDir, "database"));
  const settings = { MUTO_HTTP_PORT: "0", MUTO_MQTT_PORT: "0", MUTO_DATA_DIR: dataDir, MUTO_LOG_LEVEL: "info", ...env };
  const logFile = join(folder, "cloud.log");
  const launch = (env: Readonly<Record<string, string>>) => startMuto(["up", "--output", "json"], { env, logFile });
  let program = launch(settings);
  const { url, mqttUrl, trustFile, operatorTokenFile } = await served(program, logFile);
  const token = readFileSync(operatorTokenFile, "utf8").trim();
  const ended = new AbortController();
  const port = (address: string | undefined) => (address === undefined ? "0" : new URL(address).port);
  const again = { ...settings, MUTO_HTTP_PORT: port(url), MUTO_MQTT_PORT: port(mqttUrl) };
  return {
    folder,
    dataDir,
    url,
    mqttUrl,
    trustFile,
    token,
    session: connect({ url, token, io: { http: systemHttp(), random: systemRandom(), signal: ended.signal } }),
    restart: async () => {
      await program.stop();
      program = launch(again);
      await served(program, logFile);
    },
    stop: async () => await program.stop(),
    kill: async () => {
      process.kill(program.pid, "SIGKILL");
      await program.exited;
    },
    start: async () => {
      program = launch(again);
      return (await addressesOf(program)) !== undefined;
    },
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      await program.stop();
      if (process.env["MUTO_TEST_KEEP"] === undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Makes a desired state for some vehicles; its revision. */
export async function desire(
  { session }: Cloud,
  release: { readonly name: string; readonly version: string },
  vehicles: readonly { readonly id: string }[],
  more: Partial<DesiredStateBody> = {},
): Promise<string> {
  const target = { type: "vehicleList" as const, vehicleIds: vehicles.map(({ id }) => id) };
  const { name, version } = release;
  const { body } = await session.call("createDesiredState", { body: { target, stack: { name, version }, ...more } });
  return body.data.desiredStateRevision;
}

export async function vehicleRecord({ session }: Cloud, id: string): Promise<Vehicle> {
  return (await session.call("getVehicle", { params: { id } })).body.data;
}

/** What the vehicle signed for and the control plane stored, newest first; as far back as one test looks. */
export async function reportsOf(
  { session }: Cloud,
  vehicleId: string,
): Promise<readonly { readonly report: ReconcileReport; readonly receivedAt: string }[]> {
  return (await session.call("listReconcileReports", { query: { vehicleId, limit: 40 } })).body.data;
}

interface Addresses {
  readonly url: string;
  readonly mqttUrl: string | undefined;
  readonly trustFile: string;
  readonly operatorTokenFile: string;
}

async function served(program: MutoProgram, logFile: string): Promise<Addresses> {
  const addresses = await addressesOf(program);
  if (addresses !== undefined) return addresses;
  await program.stop();
  throw new Error(`the control plane did not start:\n${readFileSync(logFile, "utf8").slice(-2_000)}`);
}

/** What it prints once it serves; undefined when it ends before. */
async function addressesOf(program: MutoProgram): Promise<Addresses | undefined> {
  for await (const line of program.lines) {
    const said: unknown = JSON.parse(line);
    const text = (key: string): string | undefined => {
      const found: unknown =
        typeof said === "object" && said !== null
          ? Object.entries(said).find(([name]) => name === key)?.[1]
          : undefined;
      return typeof found === "string" ? found : undefined;
    };
    const [url, trustFile, operatorTokenFile] = [text("url"), text("trustFile"), text("operatorTokenFile")];
    if (url === undefined || trustFile === undefined || operatorTokenFile === undefined) break;
    return { url, trustFile, operatorTokenFile, mqttUrl: text("mqttUrl") };
  }
  return undefined;
}
