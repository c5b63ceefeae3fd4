import type { Clock } from "@muto/kit/clock";
import { BodyTooLarge, readBody } from "@muto/kit/http";
import type { HttpClient, HttpRequest, HttpResponse } from "@muto/kit/http";
import { DEFAULT_PACE, TooSlow, paced } from "./pace.ts";
import type { Pace } from "./pace.ts";

/** In the words of the contract's download evidence. */
export type RegistryProblem =
  | "not-found"
  | "unauthorized"
  | "digest-mismatch"
  | "too-large"
  | "too-slow"
  | "truncated"
  | "unreachable"
  /** A status, or an answer under a good status, that the distribution specification does not foresee here. */
  | "unexpected-status";

export interface RegistryFailure {
  readonly ok: false;
  readonly problem: RegistryProblem;
  readonly httpStatus?: number;
  /** What a 429 or 503 asked for. */
  readonly retryAfterSec?: number;
}

export interface RegistryAnswer {
  readonly ok: true;
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Throws `TooSlow` below the pace, or whatever the transport says when the connection ends early. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Reads what is left of an unwanted body, up to a limit, so that the connection can be used again. */
  discard(): Promise<void>;
}

export type Answer = RegistryAnswer | RegistryFailure;

export type Ask = (
  request: Omit<HttpRequest, "signal"> & { readonly signal?: AbortSignal | undefined },
) => Promise<Answer>;

export interface AskLimits {
  /** How long a peer may take until the head of its answer has arrived, not counting the time for sending a body. */
  readonly answerMsMax: number;
  readonly uploadBytesPerSecMin: number;
  readonly pace: Pace;
}

export const DEFAULT_ASK_LIMITS: AskLimits = {
  answerMsMax: 30_000,
  uploadBytesPerSecMin: 16 * 1024,
  pace: DEFAULT_PACE,
};

const DISCARDED_BYTES_MAX = 64 * 1024;

/**
 * One HTTP exchange in which every wait has a limit. Trouble outside is a value; when the caller's signal ends the
 * exchange, the answer is `unreachable` and the caller knows why.
 */
export function createAsk(ports: { readonly http: HttpClient; readonly clock: Clock }, limits: AskLimits): Ask {
  return async ({ signal, ...request }) => {
    const own = new AbortController();
    const both = signal === undefined ? own.signal : AbortSignal.any([signal, own.signal]);
    const limitMs = limits.answerMsMax + ((request.body?.byteLength ?? 0) / limits.uploadBytesPerSecMin) * 1000;
    const done = new AbortController();
    const deadline = ports.clock.sleep(limitMs, done.signal).then(() => undefined);
    const answered = ports.http({ ...request, signal: both });
    try {
      const response = await Promise.race([answered, deadline]);
      if (response !== undefined) return answerOf(response, () => own.abort(), ports.clock, limits);
      own.abort();
      // The abandoned exchange rejects in its own time; nobody waits for it any more.
      answered.catch(() => {});
      return { ok: false, problem: "too-slow" };
    } catch {
      return { ok: false, problem: "unreachable" };
    } finally {
      done.abort();
    }
  };
}

function answerOf(response: HttpResponse, abandon: () => void, clock: Clock, limits: AskLimits): RegistryAnswer {
  const body = paced(response.body, { clock, pace: limits.pace, abandon });
  const discard = async () => {
    try {
      await readBody(body, DISCARDED_BYTES_MAX);
    } catch {
      abandon();
    }
  };
  return { ok: true, status: response.status, headers: response.headers, body, discard };
}

/** Reads a small answer whole: the bytes, or why they did not come. */
export async function readAnswer(
  answer: RegistryAnswer,
  bytesMax: number,
): Promise<{ readonly ok: true; readonly bytes: Uint8Array } | RegistryFailure> {
  try {
    return { ok: true, bytes: await readBody(answer.body, bytesMax) };
  } catch (error) {
    return { ok: false, problem: bodyProblem(error) };
  }
}

/** What an error thrown by a body means. Anything unknown is a connection that ended early. */
export function bodyProblem(error: unknown): "too-large" | "too-slow" | "truncated" {
  if (error instanceof BodyTooLarge) return "too-large";
  return error instanceof TooSlow ? "too-slow" : "truncated";
}
