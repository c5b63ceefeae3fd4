import { resolve } from "node:path";
import type { Logger } from "@muto/kit/logger";

/** One setting of the control plane: in the environment under `name`, in the configuration file under `key`. */
export interface Setting {
  readonly key: keyof CloudSettings;
  readonly name: string;
  readonly default: string;
  readonly about: string;
}

/** Every setting, parsed. Paths are absolute; undefined where the embedded default stands in. */
export interface CloudSettings {
  readonly httpPort: number;
  readonly mqttPort: number;
  readonly bind: string;
  readonly dataDir: string;
  readonly databaseUrl: string | undefined;
  readonly mqttUrl: string | undefined;
  readonly mqttUsername: string | undefined;
  readonly mqttPasswordFile: string | undefined;
  readonly registryUrl: string | undefined;
  readonly publicUrl: string | undefined;
  readonly tenant: string;
  readonly logLevel: keyof Logger;
  readonly assignmentKeyFile: string | undefined;
  readonly trustFile: string | undefined;
  readonly operatorTokenFile: string | undefined;
  readonly viewerTokenFile: string | undefined;
  readonly oidcIssuer: string | undefined;
  readonly oidcAudience: string | undefined;
  readonly oidcJwksUrl: string | undefined;
  readonly oidcRoleClaim: string;
  readonly insecureBind: boolean;
  readonly offlineAfterSec: number;
}

export const settings: readonly Setting[] = [
  {
    key: "httpPort",
    name: "MUTO_HTTP_PORT",
    default: "8080",
    about: "Port of the HTTP API; 0 is any free port, printed at start.",
  },
  {
    key: "mqttPort",
    name: "MUTO_MQTT_PORT",
    default: "1883",
    about: "Port of the embedded MQTT broker; 0 is any free port. Unused with MUTO_MQTT_URL.",
  },
  {
    key: "bind",
    name: "MUTO_BIND",
    default: "127.0.0.1",
    about: "Address that HTTP and the embedded broker listen on.",
  },
  {
    key: "dataDir",
    name: "MUTO_DATA_DIR",
    default: ".muto",
    about: "Folder of the embedded database, keys and development registry.",
  },
  {
    key: "databaseUrl",
    name: "MUTO_DATABASE_URL",
    default: "",
    about: "postgres:// URL of PostgreSQL 15 or newer; empty is the embedded database.",
  },
  {
    key: "mqttUrl",
    name: "MUTO_MQTT_URL",
    default: "",
    about: "mqtt:// or mqtts:// URL of an external broker; empty is the embedded one, none works without a broker.",
  },
  {
    key: "mqttUsername",
    name: "MUTO_MQTT_USERNAME",
    default: "",
    about: "User name of the control plane at the external broker.",
  },
  {
    key: "mqttPasswordFile",
    name: "MUTO_MQTT_PASSWORD_FILE",
    default: "",
    about: "File with the password of the control plane at the external broker.",
  },
  {
    key: "registryUrl",
    name: "MUTO_REGISTRY_URL",
    default: "",
    about: "Base URL of the OCI registry that releases are looked up in; empty is the development registry.",
  },
  {
    key: "publicUrl",
    name: "MUTO_PUBLIC_URL",
    default: "",
    about: "Origin under which vehicles reach this control plane; empty is the address it listens on.",
  },
  {
    key: "tenant",
    name: "MUTO_TENANT",
    default: "default",
    about: "Name that is part of every topic and every signed document.",
  },
  { key: "logLevel", name: "MUTO_LOG_LEVEL", default: "info", about: "debug, info, warn or error." },
  {
    key: "assignmentKeyFile",
    name: "MUTO_ASSIGNMENT_KEY_FILE",
    default: "",
    about:
      "PEM file of the Ed25519 key that signs assignments; empty is <data>/keys/assignment.key, made at the first start.",
  },
  {
    key: "trustFile",
    name: "MUTO_TRUST_FILE",
    default: "",
    about: "Trust file with the release keys; empty is <data>/trust.json, made at the first start of muto up.",
  },
  {
    key: "operatorTokenFile",
    name: "MUTO_OPERATOR_TOKEN_FILE",
    default: "",
    about: "File with operator tokens, one a line, as sha256:<hex> or in clear; muto up makes one when it is empty.",
  },
  {
    key: "viewerTokenFile",
    name: "MUTO_VIEWER_TOKEN_FILE",
    default: "",
    about: "File with viewer tokens, in the same form.",
  },
  {
    key: "oidcIssuer",
    name: "MUTO_OIDC_ISSUER",
    default: "",
    about: "Issuer of the JWTs that people's tools present; empty accepts none.",
  },
  { key: "oidcAudience", name: "MUTO_OIDC_AUDIENCE", default: "", about: "Audience that these JWTs must name." },
  { key: "oidcJwksUrl", name: "MUTO_OIDC_JWKS_URL", default: "", about: "URL of the issuer's key set." },
  {
    key: "oidcRoleClaim",
    name: "MUTO_OIDC_ROLE_CLAIM",
    default: "muto_role",
    about: "Claim that holds operator or viewer.",
  },
  {
    key: "insecureBind",
    name: "MUTO_INSECURE_BIND",
    default: "false",
    about: "true allows listening beyond the loopback interface without TLS in front; a warning is printed.",
  },
  {
    key: "offlineAfterSec",
    name: "MUTO_OFFLINE_AFTER_SEC",
    default: "300",
    about: "Seconds without any sign of a vehicle after which it counts as offline.",
  },
];

/** Other MUTO_ variables that are known and belong to the command line. */
const otherNames = new Set(["MUTO_URL", "MUTO_TOKEN", "MUTO_CONFIG"]);

export type SettingsResult =
  | { readonly ok: true; readonly settings: CloudSettings }
  | { readonly ok: false; readonly message: string };

/**
 * Merges environment over file over defaults. Any unknown MUTO_ variable, unknown key or bad value stops the start with
 * one line that names it.
 */
export function readSettings(
  environment: Readonly<Record<string, string | undefined>>,
  file: Readonly<Record<string, unknown>> = {},
): SettingsResult {
  const known = new Map(settings.map((setting) => [setting.name, setting]));
  for (const name of Object.keys(environment)) {
    if (name.startsWith("MUTO_") && !known.has(name) && !otherNames.has(name) && !name.startsWith("MUTO_TEST_")) {
      return refuse(name, `is not a setting; known are ${[...known.keys()].join(", ")}`);
    }
  }
  const keys = new Set<string>(settings.map((setting) => setting.key));
  for (const key of Object.keys(file))
    if (!keys.has(key)) return refuse(key, "in the configuration file is not a setting");
  const raw = (key: keyof CloudSettings): string => {
    const setting = settings.find((candidate) => candidate.key === key);
    if (setting === undefined) throw new Error(`no setting ${key}`);
    const given = environment[setting.name] ?? file[key];
    return typeof given === "string"
      ? given
      : typeof given === "number" || typeof given === "boolean"
        ? String(given)
        : setting.default;
  };
  return parseSettings(raw);
}

function parseSettings(raw: (key: keyof CloudSettings) => string): SettingsResult {
  const problems: string[] = [];
  const named = (key: keyof CloudSettings) => settings.find((setting) => setting.key === key)?.name ?? key;
  const port = (key: keyof CloudSettings) => {
    const value = Number(raw(key));
    if (!/^\d{1,5}$/.test(raw(key)) || value > 65535)
      problems.push(`${named(key)}=${raw(key)}: expected a port, 0 to 65535`);
    return value;
  };
  const optional = (key: keyof CloudSettings) => (raw(key) === "" ? undefined : raw(key));
  const path = (key: keyof CloudSettings) => (raw(key) === "" ? undefined : resolve(raw(key)));
  const url = (key: keyof CloudSettings, schemes: readonly string[], word?: string) => {
    const value = optional(key);
    if (value === undefined || value === word) return value;
    const scheme = URL.canParse(value) ? new URL(value).protocol : "";
    if (!schemes.includes(scheme))
      problems.push(`${named(key)}: expected a URL starting with ${schemes.map((s) => `${s}//`).join(" or ")}`);
    return value;
  };
  const matching = (key: keyof CloudSettings, pattern: RegExp, expected: string) => {
    if (!pattern.test(raw(key))) problems.push(`${named(key)}=${raw(key)}: expected ${expected}`);
    return raw(key);
  };
  const level = raw("logLevel");
  if (!isLevel(level)) problems.push(`MUTO_LOG_LEVEL=${level}: expected debug, info, warn or error`);
  const parsed: CloudSettings = {
    httpPort: port("httpPort"),
    mqttPort: port("mqttPort"),
    bind: matching("bind", /^[0-9a-fA-F:.]+$|^localhost$/, "an IP address"),
    dataDir: resolve(raw("dataDir")),
    databaseUrl: url("databaseUrl", ["postgres:", "postgresql:"]),
    mqttUrl: url("mqttUrl", ["mqtt:", "mqtts:"], "none"),
    mqttUsername: optional("mqttUsername"),
    mqttPasswordFile: path("mqttPasswordFile"),
    registryUrl: url("registryUrl", ["http:", "https:"]),
    publicUrl: url("publicUrl", ["http:", "https:"]),
    tenant: matching("tenant", /^[a-z0-9][a-z0-9-]{0,62}$/, "lower-case letters, digits and dashes"),
    logLevel: isLevel(level) ? level : "info",
    assignmentKeyFile: path("assignmentKeyFile"),
    trustFile: path("trustFile"),
    operatorTokenFile: path("operatorTokenFile"),
    viewerTokenFile: path("viewerTokenFile"),
    oidcIssuer: url("oidcIssuer", ["http:", "https:"]),
    oidcAudience: optional("oidcAudience"),
    oidcJwksUrl: url("oidcJwksUrl", ["http:", "https:"]),
    oidcRoleClaim: raw("oidcRoleClaim"),
    insecureBind: matching("insecureBind", /^(true|false)$/, "true or false") === "true",
    offlineAfterSec: Number(matching("offlineAfterSec", /^\d{1,6}(\.\d+)?$/, "seconds")),
  };
  if (!isLoopback(parsed.bind) && !parsed.insecureBind) {
    problems.push(
      `MUTO_BIND=${parsed.bind}: listening beyond the loopback interface needs TLS in front and MUTO_INSECURE_BIND=true`,
    );
  }
  const [first] = problems;
  return first === undefined ? { ok: true, settings: parsed } : { ok: false, message: first };
}

function refuse(name: string, message: string): SettingsResult {
  return { ok: false, message: `${name} ${message}` };
}

function isLevel(text: string): text is keyof Logger {
  return text === "debug" || text === "info" || text === "warn" || text === "error";
}

function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || address.startsWith("127.");
}
