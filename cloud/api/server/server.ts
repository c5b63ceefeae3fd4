import { createServer, STATUS_CODES } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import fastify from "fastify";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { timestamp } from "@muto/kit/clock";
import { ulid } from "@muto/kit/ids";
import { HEADERS, OPERATIONS, parseJson } from "@muto/spec";
import type { OperationId } from "@muto/spec";
import { createValidation } from "@muto/spec/validation";
import type { VehicleAuth } from "../../trust/vehicle-auth.ts";
import { createAdmission, RATES } from "./admission.ts";
import type { Rates } from "./admission.ts";
import { bindOperation, sendRefusal } from "./bind.ts";
import type { Binding } from "./bind.ts";
import type { ApiContext } from "./context.ts";
import type { Handler } from "./operation.ts";
import { errorBody, plainRefusal, refusalOfError, RefusedRequest, problemDetails, statusOf } from "./refusals.ts";

/** One handler per operation of the contract, under the operation's name. */
export type Handlers = { readonly [Id in OperationId]: Handler<Id> };

export interface ServerOptions {
  readonly context: ApiContext;
  readonly handlers: Handlers;
  readonly vehicleAuth: VehicleAuth;
  readonly rates?: Rates;
  /** Asked before everything else; true says that it has answered. The development registry stands in front like this. */
  readonly first?: (request: IncomingMessage, response: ServerResponse) => Promise<boolean>;
  /** Every answer is held against the contract; for tests and development. */
  readonly checksAnswers?: boolean;
}

/** A request must have arrived completely within this time (slow senders). */
const REQUEST_TIMEOUT_MS = 60_000;
const PUSH_TIMEOUT_MS = 900_000;
const CONNECTION_TIMEOUT_MS = 120_000;
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
const PATH_PARAMETER_CHARACTERS_MAX = 200;
const JSON_DEPTH_MAX = 32;
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/**
 * The HTTP side of the control plane, not yet listening. A route that is not in the contract cannot exist; an operation
 * without a handler, or a handler without an operation, throws here, at the start.
 */
export function buildServer(options: ServerOptions): FastifyInstance {
  const { context, handlers, first } = options;
  const app = fastify<Server>({
    logger: false,
    ...(first === undefined ? {} : { serverFactory: (handle) => serverBehind(first, handle, context) }),
    exposeHeadRoutes: false,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: "idle",
    return503OnClosing: true,
    requestIdHeader: false,
    genReqId: ({ headers }) => {
      const given = headers[HEADERS.xRequestId.toLowerCase()];
      return typeof given === "string" && REQUEST_ID.test(given) ? given : ulid(context.clock, context.random);
    },
    routerOptions: { maxParamLength: PATH_PARAMETER_CHARACTERS_MAX, ignoreTrailingSlash: false },
    frameworkErrors: (error, request, reply) => {
      void sendRefusal(reply, refusalOfError(error, undefined), request.id, timestamp(context.clock.wallMs()));
    },
    clientErrorHandler: (error, socket) => {
      if (error.code === "ECONNRESET" || !socket.writable) return;
      socket.end(malformedAnswer(context, error.code));
    },
  });
  addParsers(app);
  addObservation(app, context);
  addRefusals(app, context);
  const binding: Binding = {
    app,
    context,
    validation: createValidation(),
    admit: createAdmission(context, options.vehicleAuth, options.rates ?? RATES),
    checksAnswers: options.checksAnswers === true,
  };
  const surplus = Object.keys(handlers).filter((name) => !Object.hasOwn(OPERATIONS, name));
  if (surplus.length > 0) throw new Error(`handlers without an operation in the contract: ${surplus.join(", ")}`);
  for (const route of Object.values(OPERATIONS)) bindOne(binding, handlers, route.operationId);
  return app;
}

type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** The same limits, but for the time that a large push takes; what `first` throws is logged and ends that connection alone. */
function serverBehind(first: NonNullable<ServerOptions["first"]>, handle: RequestHandler, { logger }: ApiContext) {
  return createServer(
    { requestTimeout: PUSH_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS },
    (request, response) => {
      first(request, response).then(
        (answered) => {
          if (!answered) handle(request, response);
        },
        (error: unknown) => {
          logger.error("request could not be served", { error: String(error) });
          response.destroy();
        },
      );
    },
  );
}

function bindOne<Id extends OperationId>(binding: Binding, handlers: Handlers, operationId: Id): void {
  if (!Object.hasOwn(handlers, operationId)) throw new Error(`the operation ${operationId} has no handler`);
  bindOperation<Id>(binding, OPERATIONS[operationId], handlers[operationId]);
}

/** JSON within bounds (size, depth, prototype keys), raw bytes, and nothing else. An empty body is no body. */
function addParsers(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    "application/json",
    { parseAs: "buffer" },
    async (_request: FastifyRequest, body: Buffer) => {
      if (body.byteLength === 0) return undefined;
      const parsed = parseJson(body, { bytesMax: Number.MAX_SAFE_INTEGER, depthMax: JSON_DEPTH_MAX });
      if (parsed.ok) return parsed.value;
      const message = `The body ${parsed.problems[0]?.message ?? "is not JSON"}.`;
      throw new RefusedRequest({ refusal: "BODY_INVALID", message, details: problemDetails(parsed.problems) });
    },
  );
  app.addContentTypeParser(
    "application/octet-stream",
    { parseAs: "buffer" },
    async (_request: FastifyRequest, body: Buffer) => body,
  );
}

/** Every answer carries its request id and our time (vehicles set the clock of their tokens by it); every request is logged. */
function addObservation(app: FastifyInstance, context: ApiContext): void {
  const started = new WeakMap<FastifyRequest, number>();
  app.addHook("onRequest", async (request, reply) => {
    started.set(request, context.clock.monotonicMs());
    void reply.headers({
      [HEADERS.xRequestId]: request.id,
      Date: new Date(context.clock.wallMs()).toUTCString(),
      "Cache-Control": "no-store",
      "X-Content-Type-Options": "nosniff",
    });
  });
  app.addHook("onResponse", async (request, reply) => {
    const ms = context.clock.monotonicMs() - (started.get(request) ?? context.clock.monotonicMs());
    const operation = operationAt(request.method, request.routeOptions.url);
    context.metrics.count("muto_http_requests_total", { operation, status: String(reply.statusCode) });
    context.metrics.observe("muto_http_request_duration_seconds", { operation }, ms / 1000);
    const data = { requestId: request.id, operation, status: reply.statusCode, ms: Math.round(ms) };
    if (reply.statusCode >= 500) context.logger.warn("request failed", data);
    else context.logger.debug("request answered", data);
  });
}

function addRefusals(app: FastifyInstance, context: ApiContext): void {
  app.setErrorHandler((error, request, reply) => {
    const operation = operationAt(request.method, request.routeOptions.url);
    const refusal = refusalOfError(error, request.routeOptions.bodyLimit);
    if (statusOf(refusal.refusal) >= 500) {
      const cause = error instanceof Error ? { error: error.message, stack: error.stack } : { error: String(error) };
      context.logger.error("request could not be served", { requestId: request.id, operation, ...cause });
    }
    return sendRefusal(reply, refusal, request.id, timestamp(context.clock.wallMs()));
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "";
    const methods = Object.values(OPERATIONS)
      .filter((route) => patternOf(route.path).test(path))
      .map(({ method }) => method);
    if (methods.length > 0) void reply.header("Allow", [...new Set(methods)].join(", "));
    const refusal =
      methods.length > 0 ? plainRefusal("METHOD_NOT_ALLOWED") : plainRefusal("NOT_FOUND", { what: "path" });
    return sendRefusal(reply, refusal, request.id, timestamp(context.clock.wallMs()));
  });
}

function patternOf(path: string): RegExp {
  const literal = path.replace(/[.*+?^$()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${literal.replace(/\{[^}]+\}/g, "[^/]+")}$`);
}

function operationAt(method: string, route: string | undefined): string {
  const found = Object.values(OPERATIONS).find((each) => each.method === method && each.route === route);
  return found?.operationId ?? "none";
}

/** Bytes that are no HTTP request, or headers without end: answered by hand, in the same envelope, and closed. */
function malformedAnswer(context: ApiContext, code: string | undefined): string {
  const status = code === "HPE_HEADER_OVERFLOW" ? 431 : code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
  const refusal = { ...plainRefusal("HEADER_INVALID"), message: "This is not an HTTP request that can be read." };
  const body = JSON.stringify(
    errorBody(refusal, ulid(context.clock, context.random), timestamp(context.clock.wallMs())),
  );
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    "Content-Type: application/json; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    "",
    body,
  ].join("\r\n");
}
