import type { FastifyRequest } from "fastify";
import type { ErrorCode, OperationId, OperationRoute, Operations, Parsed, Problem, SchemaName } from "@muto/spec";
import type { Validation } from "@muto/spec/validation";
import { problemDetails } from "./refusals.ts";
import type { AnyRefusal } from "./refusals.ts";

/** The parts of a request as the contract types them, with defaults filled in. */
export interface Parts<Id extends OperationId> {
  readonly params: Operations[Id]["params"];
  readonly query: Operations[Id]["query"];
  readonly headers: Operations[Id]["headers"];
  readonly body: Operations[Id]["body"];
}

interface ReadParts {
  readonly params: unknown;
  readonly query: unknown;
  readonly headers: unknown;
  readonly body: unknown;
}

/** Validates path, query, headers and body by the schemas that the route names. Bodies are not coerced; text is. */
export function readParts<Id extends OperationId>(
  validation: Validation,
  route: OperationRoute<Id>,
  request: FastifyRequest,
): Parts<Id> | AnyRefusal {
  const params = readText(validation, route.params, request.params);
  if (!params.ok) return refusal("PATH_INVALID", "The path", params.problems);
  const query = readText(validation, route.query, request.query);
  if (!query.ok) return refusal("QUERY_INVALID", "The query", query.problems);
  const headers = readText(validation, route.headers, request.headers);
  if (!headers.ok) return refusal("HEADER_INVALID", "A header", headers.problems);
  const body = readBody(validation, route, request.body);
  if (!body.ok) return refusal("BODY_INVALID", "The body", body.problems);
  const parts: ReadParts = { params: params.value, query: query.value, headers: headers.value, body: body.value };
  return isTyped(route, parts) ? parts : refusal("BODY_INVALID", "The request", []);
}

/** True by construction: every part has passed the validator that the route names for it, or is empty where it names none. */
function isTyped<Id extends OperationId>(route: OperationRoute<Id>, parts: ReadParts): parts is Parts<Id> & ReadParts {
  return route.body?.required !== true || parts.body !== undefined;
}

function readText(validation: Validation, schema: SchemaName | null, value: unknown): Parsed<unknown> {
  return schema === null ? { ok: true, value: {} } : validation.parseText(schema, value);
}

function readBody(validation: Validation, route: OperationRoute<OperationId>, body: unknown): Parsed<unknown> {
  if (route.body === null) return { ok: true, value: undefined };
  if (body === undefined || body === null) {
    if (route.body.required) return { ok: false, problems: [{ path: "", message: "is missing" }] };
    return route.body.schema === null ? { ok: true, value: undefined } : validation.parse(route.body.schema, {});
  }
  return route.body.schema === null ? { ok: true, value: body } : validation.parse(route.body.schema, body);
}

function refusal(code: ErrorCode, part: string, problems: readonly Problem[]): AnyRefusal {
  const [first] = problems;
  const where = first === undefined || first.path === "" ? "" : ` at ${first.path}`;
  const message = first === undefined ? `${part} is not valid.` : `${part}${where} ${first.message}.`;
  return { refusal: code, message: message.slice(0, 1000), details: problemDetails(problems) };
}
