import { timestamp } from "./clock.ts";
import type { Clock } from "./clock.ts";

/** Four levels, a constant message, and data as keys: never secrets, never payloads. */
export interface Logger {
  debug(message: string, data?: LogData): void;
  info(message: string, data?: LogData): void;
  warn(message: string, data?: LogData): void;
  error(message: string, data?: LogData): void;
}

export type LogData = Readonly<Record<string, unknown>>;
export type LogLevel = "debug" | "info" | "warn" | "error";

export const silentLogger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

export interface JsonLoggerOptions {
  /** Takes one line, newline included. */
  readonly write: (line: string) => void;
  /** The lowest level that is written. */
  readonly level: LogLevel;
  readonly clock: Pick<Clock, "wallMs">;
  /** Keys whose values are secret here besides the ones that always are; case and punctuation do not matter. */
  readonly redact?: readonly string[];
  /** Keys for every line, as the name of the program. */
  readonly with?: LogData;
}

/**
 * One line of JSON per message: `at`, `level`, `message`, then the data. Values behind keys that sound like secrets, and
 * what looks like a secret inside a text, are replaced; bytes are only counted; depth and length are bounded. Never throws:
 * a log that fails must not stop what it tells about.
 */
export function jsonLogger(options: JsonLoggerOptions): Logger {
  const secretKeys = [...SECRET_KEYS, ...(options.redact ?? []).map(plain)];
  const log = (level: LogLevel, message: string, data?: LogData) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(options.level)) return;
    try {
      const given = printable({ ...options.with, ...data }, secretKeys, 0);
      const head = { at: timestamp(options.clock.wallMs()), level, message: printableText(message) };
      options.write(`${JSON.stringify({ ...head, ...(isRecord(given) ? given : {}), ...head })}\n`);
    } catch {
      writeUnprintable(options.write, level, message);
    }
  };
  return {
    debug: (message, data) => log("debug", message, data),
    info: (message, data) => log("info", message, data),
    warn: (message, data) => log("warn", message, data),
    error: (message, data) => log("error", message, data),
  };
}

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];
const REDACTED = "[redacted]";
const DEPTH_MAX = 6;
const ITEMS_MAX = 100;
const TEXT_CHARACTERS_MAX = 4000;

/** Parts of keys, in lower case without punctuation. */
const SECRET_KEYS = [
  "token",
  "authorization",
  "password",
  "passwd",
  "passphrase",
  "secret",
  "credential",
  "claim",
  "privatekey",
  "privatepem",
  "apikey",
  "cookie",
];

/** What is secret wherever it stands: key files, bearer headers, passwords in addresses. */
const SECRET_TEXTS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED],
  [/\b(bearer|basic)\s+[\w.~+/=-]+/gi, `$1 ${REDACTED}`],
  [/\b([a-z][a-z0-9+.-]{0,20}:\/\/)[^/\s@]+@/gi, `$1${REDACTED}@`],
  [/([?&](?:[a-z_-]*token|password|secret|claim|key|signature|sig)=)[^&\s#]+/gi, `$1${REDACTED}`],
];

function printable(value: unknown, secretKeys: readonly string[], depth: number): unknown {
  if (typeof value === "string") return printableText(value);
  if (typeof value === "bigint" || typeof value === "symbol") return String(value);
  if (typeof value === "function") return "[function]";
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return `[${value.byteLength} bytes]`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "invalid date" : value.toISOString();
  if (depth >= DEPTH_MAX) return "[deeper]";
  if (Array.isArray(value)) return value.slice(0, ITEMS_MAX).map((item) => printable(item, secretKeys, depth + 1));
  if (value instanceof Map) return printable(Object.fromEntries(value), secretKeys, depth);
  if (value instanceof Set) return printable([...value], secretKeys, depth);
  const entries = value instanceof Error ? errorEntries(value) : Object.entries(value);
  return Object.fromEntries(
    entries.slice(0, ITEMS_MAX).map(([key, item]) => {
      const hidden = secretKeys.some((secret) => plain(key).includes(secret));
      return [key, hidden ? hide(item) : printable(item, secretKeys, depth + 1)];
    }),
  );
}

/** That there is none, or whether there is one, is no secret. */
function hide(value: unknown): unknown {
  return value === undefined || value === null || typeof value === "boolean" ? value : REDACTED;
}

/** What an error says is not enumerable. */
function errorEntries(error: Error): (readonly [string, unknown])[] {
  const { name, message, stack, cause } = error;
  const said: (readonly [string, unknown])[] = [
    ["name", name],
    ["message", message],
  ];
  if (cause !== undefined) said.push(["cause", cause]);
  return [...said, ...Object.entries(error), ["stack", stack]];
}

function printableText(text: string): string {
  const cut = text.length > TEXT_CHARACTERS_MAX ? `${text.slice(0, TEXT_CHARACTERS_MAX)}…` : text;
  return SECRET_TEXTS.reduce((before, [pattern, by]) => before.replace(pattern, by), cut);
}

function plain(key: string): string {
  return key.toLowerCase().replace(/[^a-z0-9]/g, "");
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function writeUnprintable(write: (line: string) => void, level: LogLevel, message: string): void {
  try {
    write(`${JSON.stringify({ level, message, unprintable: true })}\n`);
  } catch {
    // There is nowhere left to say it.
  }
}
