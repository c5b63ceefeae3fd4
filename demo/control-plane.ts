import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "@muto/cli/session";
import type { Session } from "@muto/cli/session";
import { systemHttp } from "@muto/kit/http";
import { systemRandom } from "@muto/kit/random";
import { startMuto } from "./program.ts";

/** The control plane of the demonstration: `muto up` in a process of its own. */
export interface ControlPlane {
  readonly pid: number;
  readonly url: string;
  readonly httpPort: number;
  readonly mqttPort: number;
  readonly trustFile: string;
  readonly releaseKeyFile: string;
  readonly session: Session;
  readonly token: string;
  readonly stop: () => Promise<void>;
}

export async function startControlPlane(folder: string, signal: AbortSignal): Promise<ControlPlane> {
  mkdirSync(folder, { recursive: true });
  const env = { MUTO_HTTP_PORT: "0", MUTO_MQTT_PORT: "0", MUTO_DATA_DIR: folder, MUTO_LOG_LEVEL: "warn" };
  const program = startMuto(["up", "--output", "json"], { env, logFile: join(folder, "muto-up.log") });
  for await (const line of program.lines) {
    const up: unknown = JSON.parse(line);
    const { url, mqttUrl, trustFile, operatorTokenFile } = upOf(up);
    const token = readFileSync(operatorTokenFile, "utf8").trim();
    return {
      pid: program.pid,
      url,
      httpPort: Number(new URL(url).port),
      mqttPort: Number(new URL(mqttUrl).port),
      trustFile,
      releaseKeyFile: join(folder, "keys", "release.key"),
      token,
      session: connect({ url, token, io: { http: systemHttp(), random: systemRandom(), signal } }),
      stop: async () => await program.stop(),
    };
  }
  throw new Error(`the control plane ended at its start; see ${join(folder, "muto-up.log")}`);
}

function upOf(value: unknown): { url: string; mqttUrl: string; trustFile: string; operatorTokenFile: string } {
  const text = (key: string) => {
    const found: unknown =
      typeof value === "object" && value !== null
        ? Object.entries(value).find(([name]) => name === key)?.[1]
        : undefined;
    if (typeof found !== "string") throw new Error(`muto up did not say its ${key}`);
    return found;
  };
  return {
    url: text("url"),
    mqttUrl: text("mqttUrl"),
    trustFile: text("trustFile"),
    operatorTokenFile: text("operatorTokenFile"),
  };
}
