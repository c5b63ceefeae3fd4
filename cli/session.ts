import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { readBody } from "@muto/kit/http";
import { ERRORS, OPERATIONS, parseJson, requestTarget } from "@muto/spec";
import type { OperationId, Operations } from "@muto/spec";
import { createValidation } from "@muto/spec/validation";
import { CommandFailed } from "./command.ts";
import type { Input } from "./command.ts";
import type { Io } from "./io.ts";

/** One person's access to one control plane. */
export interface Session {
  readonly url: string;
  readonly token: string | undefined;
  /**
   * One operation of the contract. Resolves to its checked success; throws {@link CommandFailed} with the error's code and
   * what to try next.
   */
  call<Id extends OperationId>(operationId: Id, request?: ApiRequest<Id>): Promise<Operations[Id]["success"]>;
}

export interface ApiRequest<Id extends OperationId> {
  readonly params?: Operations[Id]["params"];
  readonly query?: Operations[Id]["queryInput"];
  readonly body?: Operations[Id]["bodyInput"];
}

const REQUEST_TIMEOUT_MS = 60_000;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
const DEFAULT_URL = "http://127.0.0.1:8080";

export async function openSession(input: Input, io: Io): Promise<Session> {
  const url = input.text("url") ?? io.environment["MUTO_URL"] ?? DEFAULT_URL;
  if (!URL.canParse(url))
    throw new CommandFailed(`${url} is not a URL`, { exitCode: 2, hint: `MUTO_URL=${DEFAULT_URL}` });
  const tokenGiven = io.environment["MUTO_TOKEN"] !== undefined;
  return connect({ url, token: await tokenFor(url, io), tokenGiven, io });
}

/** A session with a control plane whose address and token are known. */
export function connect({
  url,
  token,
  tokenGiven = false,
  io,
}: {
  url: string;
  token: string | undefined;
  /** Whether MUTO_TOKEN holds it. */
  tokenGiven?: boolean;
  io: Pick<Io, "http" | "random" | "signal">;
}): Session {
  const validation = createValidation();
  return {
    url,
    token,
    call: async (operationId, request = {}) => {
      const answer = await send({ url, token, tokenGiven, io }, operationId, request);
      const parsed = validation.parseAnswer(operationId, answer.status, answer.body);
      if (!parsed.ok) {
        throw new CommandFailed(`the answer to ${operationId} does not follow the contract (HTTP ${answer.status})`, {
          hint: "use the same version of muto here and there: muto --version",
        });
      }
      return parsed.value;
    },
  };
}

/** MUTO_TOKEN; else, for a control plane on this machine only, the token that `muto up` left in its data folder. */
async function tokenFor(url: string, io: Io): Promise<string | undefined> {
  const given = io.environment["MUTO_TOKEN"];
  if (given !== undefined) return given;
  const { hostname } = new URL(url);
  if (hostname !== "127.0.0.1" && hostname !== "localhost" && hostname !== "[::1]") return undefined;
  const file = join(io.environment["MUTO_DATA_DIR"] ?? ".muto", "operator-token");
  return await readFile(file, "utf8").then(
    (text) => text.trim(),
    () => undefined,
  );
}

async function send<Id extends OperationId>(
  session: { url: string; token: string | undefined; tokenGiven: boolean; io: Pick<Io, "http" | "random" | "signal"> },
  operationId: Id,
  request: ApiRequest<Id>,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const { url, token, tokenGiven, io } = session;
  const operation = OPERATIONS[operationId];
  const target = new URL(requestTarget(operationId, { params: request.params ?? {}, query: request.query ?? {} }), url);
  const answer = await io
    .http({
      method: operation.method,
      url: target.href,
      headers: {
        accept: "application/json",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(request.body === undefined ? {} : { "content-type": "application/json" }),
        ...(operation.idempotencyKey ? { "idempotency-key": Buffer.from(io.random.bytes(16)).toString("hex") } : {}),
      },
      ...(request.body === undefined ? {} : { body: Buffer.from(JSON.stringify(request.body)) }),
      signal: AbortSignal.any([io.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
    })
    .catch((cause: unknown) => {
      throw new CommandFailed(`no answer from ${target.origin}`, {
        hint: "muto up   (or name another control plane with MUTO_URL)",
        cause,
      });
    });
  const bytes = await readBody(answer.body, ANSWER_BYTES_MAX);
  const json = bytes.byteLength === 0 ? undefined : parseJson(bytes, { bytesMax: ANSWER_BYTES_MAX, depthMax: 64 });
  if (json !== undefined && !json.ok) {
    throw new CommandFailed(`${target.origin} answered ${answer.status} with something that is not JSON; is it Muto?`);
  }
  if (answer.status >= 400) throw refused(json?.value, answer.status, tokenGiven);
  return { status: answer.status, body: json?.value };
}

function refused(body: unknown, status: number, given: boolean): CommandFailed {
  const error = field(body, "error");
  const [code, message] = [field(error, "code"), field(error, "message")];
  const details = JSON.stringify(field(error, "details") ?? {});
  const shown = details === "{}" || details === "[]" ? "" : `\n      ${details}`;
  const hint = status === 401 ? tokenHint(given) : hintFor(code, field(error, "details"));
  const line =
    typeof code === "string" && typeof message === "string" ? `${code}: ${message}${shown}` : `HTTP ${status}`;
  return new CommandFailed(line, hint === undefined ? {} : { hint });
}

function tokenHint(given: boolean): string {
  return given
    ? "the token in MUTO_TOKEN was refused; unset it to use .muto/operator-token"
    : "MUTO_TOKEN=<operator token>   (muto up prints one at start)";
}

/** What to do about a refusal, where the command line knows it. */
function hintFor(code: unknown, details: unknown): string | undefined {
  switch (code) {
    case ERRORS.CONFLICT_ROLLOUT_MEMBER.code: {
      const [conflict] = listOf(field(details, "conflicts"));
      const id = field(conflict, "rolloutId");
      return typeof id === "string"
        ? `muto rollout watch ${id}   (or end it with the new one: --supersedes ${id})`
        : "muto rollout list --status active";
    }
    case ERRORS.TARGET_EMPTY.code:
      return "muto vehicle list   (excluded vehicles are not assigned)";
    case ERRORS.RELEASE_UNKNOWN.code:
      return "muto release list";
    case ERRORS.NOT_FOUND.code:
      return field(details, "what") === "vehicle" ? "muto vehicle list" : undefined;
  }
  return undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function field(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null
    ? Object.entries(value).find(([name]) => name === key)?.[1]
    : undefined;
}
