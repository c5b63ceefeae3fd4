import { PRINCIPALS, type AnswerEntry, type OperationEntry } from "./api.ts";
import { literal } from "./json.ts";
import type { TypeContext } from "./types.ts";

/** The route table and, for each operation, the types of what goes in and comes out. */
export function operationsSource(operations: readonly OperationEntry[], context: TypeContext): string {
  const ids = operations.map(({ operationId }) => literal(operationId));
  const rows = operations.map((operation) => {
    const { path } = operation;
    const route = path.replace(/\{([^}]+)\}/g, ":$1");
    return `  ${operation.operationId}: ${literal({ ...operation, route, answers: operation.answers.map((answer) => ({ ...answer })), body: operation.body === null ? null : { ...operation.body } })},`;
  });
  return `import type * as messages from "./messages.ts";
import type { OperationRoute, RawBody } from "../route.ts";

export type OperationId =
  | ${ids.join("\n  | ")};

export type Principal = ${PRINCIPALS.map(literal).join(" | ")};

/** What goes in and comes out. \`query\` and \`body\` are as the handler gets them, the inputs as a caller may write them. */
export interface Operations {
${operations.map((operation) => operationType(operation, context)).join("\n")}
}

export const OPERATIONS: { readonly [Id in OperationId]: OperationRoute<Id> } = {
${rows.join("\n")}
};
`;
}

function operationType(operation: OperationEntry, context: TypeContext): string {
  const { params, query, headers, body } = operation;
  const parsed = (name: string | null): string => (name === null ? "Record<string, never>" : `messages.${name}`);
  const input = (name: string | null): string =>
    name !== null && context.defaulted.has(name) ? `messages.${name}Input` : parsed(name);
  const absent = body?.required === false ? " | undefined" : "";
  const bodyType = (of: (name: string | null) => string): string =>
    body === null ? "undefined" : body.schema === null ? "RawBody" : `${of(body.schema)}${absent}`;
  return `  /** ${operation.summary}. */
  readonly ${operation.operationId}: {
    readonly params: ${parsed(params)};
    readonly query: ${parsed(query)};
    readonly queryInput: ${input(query)};
    readonly headers: ${parsed(headers)};
    readonly body: ${bodyType(parsed)};
    readonly bodyInput: ${bodyType(input)};
    readonly success: ${operation.answers.map(answerType).join(" | ")};
    readonly refusal: { readonly status: ${operation.refusals.join(" | ")}; readonly body: messages.ErrorBody };
  };`;
}

function answerType(answer: AnswerEntry): string {
  const body =
    answer.schema === null ? (answer.mediaType === null ? "undefined" : "RawBody") : `messages.${answer.schema}`;
  return `{ readonly status: ${answer.status}; readonly body: ${body} }`;
}
