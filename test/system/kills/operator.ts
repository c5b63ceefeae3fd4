import { readBody, systemHttp } from "@muto/kit/http";
import type { Random } from "@muto/kit/random";
import { HEADERS, OPERATIONS, requestTarget } from "@muto/spec";
import type { AuditAction, OperationId, Operations } from "@muto/spec";

/** A decision that the control plane has answered for. */
export interface Decision {
  readonly action: AuditAction;
  readonly subjectId: string;
  /** Stands in the entry of the audit log: its comment, or a value of `after`. */
  readonly mark: string;
}

/** A person who insists: every request is repeated until it is answered, with the key of its first attempt. */
export interface Operator {
  /** Answered with success. */
  readonly acknowledged: readonly Decision[];
  /** Takes one decision at random; resolves when it is answered, or when the signal aborts. */
  decide(signal: AbortSignal): Promise<void>;
  /** Ends what was begun: a paused rollout is resumed. */
  finish(signal: AbortSignal): Promise<void>;
}

export interface OperatorOptions {
  readonly url: string;
  readonly token: string;
  readonly random: Random;
  readonly rolloutId: string;
  /** Vehicles whose tags are changed. */
  readonly vehicleIds: readonly string[];
  /** Ids of the vehicles that are made meanwhile begin with it. */
  readonly newIdPrefix: string;
}

const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
const AGAIN_MS = 100;
const REQUEST_MS_MAX = 10_000;

export function createOperator(options: OperatorOptions): Operator {
  const { random, rolloutId, vehicleIds, newIdPrefix } = options;
  const acknowledged: Decision[] = [];
  const state = { decisions: 0, isPaused: false };
  const insist = async (decision: Decision, request: Request, signal: AbortSignal) => {
    const isAnswered = await repeat(options, request, signal);
    if (isAnswered) acknowledged.push(decision);
    return isAnswered;
  };
  const command = async (which: "pause" | "resume", mark: string, signal: AbortSignal) => {
    const [operationId, action] =
      which === "pause"
        ? (["pauseRollout", "rollout.paused"] as const)
        : (["resumeRollout", "rollout.resumed"] as const);
    const request = { operationId, params: { id: rolloutId }, body: { comment: mark } };
    if (await insist({ action, subjectId: rolloutId, mark }, request, signal)) state.isPaused = which === "pause";
  };
  const tag = async (mark: string, signal: AbortSignal) => {
    const id = vehicleIds[Math.floor(random.fraction() * vehicleIds.length)] ?? "";
    const request = { operationId: "updateVehicle", params: { id }, body: { tags: { note: mark } } } as const;
    await insist({ action: "vehicle.tags-changed", subjectId: id, mark }, request, signal);
  };
  const make = async (mark: string, signal: AbortSignal) => {
    const id = `${newIdPrefix}${state.decisions}`;
    const request = { operationId: "createVehicle", params: {}, body: { id, tags: { note: mark } } } as const;
    await insist({ action: "vehicle.created", subjectId: id, mark }, request, signal);
  };
  return {
    acknowledged,
    decide: async (signal) => {
      state.decisions++;
      const mark = `decision-${state.decisions}`;
      const chance = random.fraction();
      // A paused rollout is resumed soon, or it would not move while the control plane is killed.
      if (state.isPaused) await command("resume", mark, signal);
      else if (chance < 0.4) await command("pause", mark, signal);
      else if (chance < 0.8) await tag(mark, signal);
      else await make(mark, signal);
    },
    finish: async (signal) => {
      if (state.isPaused) await command("resume", `decision-${++state.decisions}`, signal);
    },
  };
}

interface Request {
  readonly operationId: OperationId;
  readonly params: Operations[OperationId]["params"];
  readonly body: object;
}

/** True when it was answered with success; false when the signal aborted first. Throws at any refusal that is not a lost process. */
async function repeat(options: OperatorOptions, request: Request, signal: AbortSignal): Promise<boolean> {
  let key = keyFrom(options.random);
  while (!signal.aborted) {
    const answer = await ask(options, request, key);
    if (answer !== undefined && answer.status < 300) return true;
    // The key is held by a request that died with its process before it did anything: another one may be tried at once.
    if (answer?.code === "CONFLICT_IDEMPOTENCY_KEY") key = keyFrom(options.random);
    else if (answer !== undefined && answer.status < 500) {
      throw new Error(`${request.operationId} is refused: ${answer.status} ${answer.code}`);
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
  return false;
}

/** Undefined when there was no complete answer. */
async function ask(
  { url, token }: OperatorOptions,
  { operationId, params, body }: Request,
  key: string,
): Promise<{ readonly status: number; readonly code: string | undefined } | undefined> {
  const { method } = OPERATIONS[operationId];
  try {
    const response = await systemHttp()({
      method,
      url: new URL(requestTarget(operationId, { params, query: {} }), url).href,
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        ...(OPERATIONS[operationId].idempotencyKey && { [HEADERS.idempotencyKey]: key }),
      },
      body: Buffer.from(JSON.stringify(body)),
      signal: AbortSignal.timeout(REQUEST_MS_MAX),
    });
    const text = Buffer.from(await readBody(response.body, ANSWER_BYTES_MAX)).toString("utf8");
    return { status: response.status, code: /"code":"([A-Z_]+)"/.exec(text)?.[1] };
  } catch {
    return undefined;
  }
}

function keyFrom(random: Random): string {
  return Buffer.from(random.bytes(16)).toString("hex");
}
