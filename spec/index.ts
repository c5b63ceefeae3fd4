/** The contract of Muto: types, reason codes and parsers, all generated from the sources beside this file. */
export type * from "./generated/messages.ts";
export * from "./generated/parsers.ts";
export { REASON_CODES, REASONS, type Reason, type ReasonFault, type ReasonRetry } from "./generated/reasons.ts";
export { ERRORS, type ApiError } from "./generated/error-codes.ts";
export { OPERATIONS, type OperationId, type Operations, type Principal } from "./generated/operations.ts";
export type { SchemaName, SchemaTypes } from "./generated/schema-types.ts";
export { requestTarget, type Answer, type AnswerData, type OperationRoute, type RawBody } from "./route.ts";
export { HEADERS } from "./generated/headers.ts";
export { MEDIA_TYPES, type MediaType } from "./generated/media-types.ts";
export { TOPICS, type TopicMessages, type TopicName } from "./generated/topics.ts";
export type { Topic, TopicParams } from "./topic.ts";
export {
  DOCUMENT_BOUNDS,
  parseJson,
  problemsOf,
  type JsonBounds,
  type Parsed,
  type Problem,
  type SchemaError,
  type Validator,
} from "./parse.ts";
