import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { timestamp } from "@muto/kit/clock";
import { HEADERS } from "@muto/spec";
import type { OperationId, OperationRoute } from "@muto/spec";
import type { Validation } from "@muto/spec/validation";
import { claimKey, keepAnswer, releaseKey } from "../../store/idempotency.ts";
import type { Json } from "../../store/tables.ts";
import type { ApiContext } from "./context.ts";
import type { Call, Handler, Outcome, Success } from "./operation.ts";
import type { Principal } from "./principal.ts";
import { readParts } from "./read-parts.ts";
import { errorBody, plainRefusal, statusOf } from "./refusals.ts";
import type { AnyRefusal } from "./refusals.ts";

/** What the server knows of a request before its handler runs. */
export interface RequestState {
  readonly principal: Principal;
  readonly gone: AbortSignal;
}

export interface Binding {
  readonly app: FastifyInstance;
  readonly context: ApiContext;
  readonly validation: Validation;
  /** Authenticates and limits; the answer of a refused request. */
  readonly admit: (
    request: FastifyRequest,
    reply: FastifyReply,
    route: OperationRoute<OperationId>,
  ) => Promise<RequestState | AnyRefusal>;
  /** Tests and development: an answer that is not the contract's becomes an error. */
  readonly checksAnswers: boolean;
}

/** Answers that hold a secret are made anew from the same key instead of being kept in clear. */
const NEVER_KEPT: ReadonlySet<OperationId> = new Set(["createClaim"]);

/** Makes one operation of the contract a route. Order: who, how much, what media type, how large, what, then the handler. */
export function bindOperation<Id extends OperationId>(
  binding: Binding,
  route: OperationRoute<Id>,
  handler: Handler<Id>,
): void {
  const { app, context } = binding;
  const states = new WeakMap<FastifyRequest, RequestState>();
  app.route({
    method: route.method,
    url: route.route,
    ...(route.body === null ? {} : { bodyLimit: route.body.bytesMax }),
    onRequest: async (request, reply) => {
      const admitted = await binding.admit(request, reply, route);
      if ("refusal" in admitted) return sendRefusal(reply, admitted, request.id, now(context));
      if (route.body !== null && isOtherMediaType(request, route.body.mediaType)) {
        return sendRefusal(reply, plainRefusal("MEDIA_TYPE_UNSUPPORTED"), request.id, now(context));
      }
      states.set(request, admitted);
      return undefined;
    },
    handler: async (request, reply) => {
      const state = states.get(request);
      if (state === undefined) throw new Error("a request reached its handler without being admitted");
      const parts = readParts(binding.validation, route, request);
      if ("refusal" in parts) return sendRefusal(reply, parts, request.id, now(context));
      const outcome = await answerOnce(binding, route, handler, {
        ...parts,
        principal: state.principal,
        requestId: request.id,
        at: now(context),
        signal: state.gone,
      });
      return send(binding, route, reply, request.id, outcome);
    },
  });
}

/** Either the handler's outcome with its envelope, or one that was kept from an earlier request. */
type Ready = { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: unknown };

async function answerOnce<Id extends OperationId>(
  binding: Binding,
  route: OperationRoute<Id>,
  handler: Handler<Id>,
  call: Omit<Call<Id>, "idempotencyKey" | "remember">,
): Promise<Ready | AnyRefusal> {
  const { context } = binding;
  const { db } = context.database;
  const idempotencyKey = route.idempotencyKey ? keyOf(call.headers) : undefined;
  if (idempotencyKey === undefined) {
    const outcome = await handler(
      { ...call, idempotencyKey, remember: (_transaction, answer) => Promise.resolve(answer) },
      context,
    );
    return ready(outcome, call.at);
  }
  const request = { principal: `${call.principal.kind}:${call.principal.id}`, key: idempotencyKey };
  const claim = await claimKey(db, { ...request, hash: requestHash(route.operationId, call), at: call.at });
  if (claim.kind === "in-flight" || claim.kind === "other-request") return plainRefusal("CONFLICT_IDEMPOTENCY_KEY");
  const keepable = !NEVER_KEPT.has(route.operationId);
  if (claim.kind === "answered" && keepable) return claim;
  let kept = false;
  const keep: Call<Id>["remember"] = async (transaction, answer) => {
    const whole = ready<Id>(answer, call.at);
    if (!("refusal" in whole)) await keepAnswer(transaction, request, keepable ? whole : { ...whole, body: null });
    kept = true;
    return answer;
  };
  try {
    const outcome = await handler({ ...call, idempotencyKey, remember: keep }, context);
    if ("refusal" in outcome) await releaseKey(db, request);
    else if (!kept) await keep(db, outcome);
    return ready(outcome, call.at);
  } catch (error) {
    await releaseKey(db, request).catch(() => {});
    throw error;
  }
}

function ready<Id extends OperationId>(outcome: Outcome<Id>, at: string): Ready | AnyRefusal {
  if ("refusal" in outcome) return outcome;
  const success: Success<Id> = outcome;
  const headers = success.headers ?? {};
  if ("raw" in success) return { status: success.status, headers, body: success.raw };
  const metadata = "metadata" in success ? { metadata: success.metadata } : {};
  return { status: success.status, headers, body: { data: success.data, ...metadata, timestamp: at } };
}

function send<Id extends OperationId>(
  binding: Binding,
  route: OperationRoute<Id>,
  reply: FastifyReply,
  requestId: string,
  outcome: Ready | AnyRefusal,
): FastifyReply {
  if ("refusal" in outcome) {
    if (binding.checksAnswers && !route.refusals.includes(statusOf(outcome.refusal))) {
      throw new Error(`${route.operationId} refuses with ${outcome.refusal}, which the contract does not declare`);
    }
    return sendRefusal(reply, outcome, requestId, now(binding.context));
  }
  const declared = route.answers.find(({ status }) => status === outcome.status);
  if (declared === undefined) throw new Error(`${route.operationId} answers ${outcome.status}, which is not declared`);
  void reply.code(outcome.status).headers({ ...outcome.headers });
  if (declared.mediaType === null) return reply.send();
  void reply.type(declared.mediaType);
  const { body } = outcome;
  if (declared.schema === null) return reply.send(isStream(body) ? Readable.from(body) : body);
  const text = JSON.stringify(body);
  if (binding.checksAnswers) {
    const parsed = binding.validation.parse(declared.schema, JSON.parse(text));
    if (!parsed.ok)
      throw new Error(`${route.operationId} answers against the contract: ${JSON.stringify(parsed.problems)}`);
  }
  return reply.send(text);
}

export function sendRefusal(reply: FastifyReply, refusal: AnyRefusal, requestId: string, at: string): FastifyReply {
  const { retryAfterSec } = refusal.details;
  void reply.header(HEADERS.xRequestId, requestId);
  if (retryAfterSec !== undefined) void reply.header(HEADERS.retryAfter, String(retryAfterSec));
  if (refusal.refusal === "UNAUTHENTICATED") void reply.header("WWW-Authenticate", "Bearer");
  return reply
    .code(statusOf(refusal.refusal))
    .type("application/json; charset=utf-8")
    .send(JSON.stringify(errorBody(refusal, requestId, at)));
}

function now(context: ApiContext): string {
  return timestamp(context.clock.wallMs());
}

function isOtherMediaType(request: FastifyRequest, mediaType: string): boolean {
  const given = request.headers["content-type"];
  return given !== undefined && given.split(";", 1)[0]?.trim().toLowerCase() !== mediaType;
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}

function keyOf(headers: object): string | undefined {
  const name = HEADERS.idempotencyKey.toLowerCase();
  const found: unknown = Object.entries(headers).find(([each]) => each === name)?.[1];
  return typeof found === "string" ? found : undefined;
}

/** The same request for the purpose of a key: operation, where, and what, whatever the order of its fields. */
function requestHash(operationId: OperationId, call: { params: object; query: object; body: unknown }): string {
  const said: Json = JSON.parse(JSON.stringify([call.params, call.query, call.body ?? null], sortKeys));
  return createHash("sha256")
    .update(JSON.stringify([operationId, said]))
    .digest("hex");
}

function sortKeys(_key: string, value: unknown): unknown {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value;
}
