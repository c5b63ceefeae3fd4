import {
  ContractError,
  isList,
  isObject,
  listAt,
  literal,
  objectAt,
  textAt,
  type Json,
  type JsonObject,
} from "./json.ts";
import { linkSchema, REF_PREFIX, type SchemaTable } from "./schemas.ts";

/** One operation of api.yaml with the names of the schemas that its parts follow. */
export interface OperationEntry {
  readonly operationId: string;
  readonly method: string;
  /** With the base, parameters in braces: `/api/v1/vehicles/{id}`. */
  readonly path: string;
  readonly summary: string;
  readonly principals: readonly string[];
  /** Whether a repeated Idempotency-Key returns the first answer. */
  readonly idempotencyKey: boolean;
  readonly params: string | null;
  readonly query: string | null;
  readonly headers: string | null;
  readonly body: BodyEntry | null;
  readonly answers: readonly AnswerEntry[];
  readonly refusals: readonly number[];
}

export interface BodyEntry {
  readonly mediaType: string;
  /** Null for raw bytes. */
  readonly schema: string | null;
  readonly required: boolean;
  readonly bytesMax: number;
}

export interface AnswerEntry {
  readonly status: number;
  readonly mediaType: string | null;
  readonly schema: string | null;
}

export const PRINCIPALS = ["operator", "viewer", "vehicle", "anonymous"];

const METHODS = ["get", "post", "put", "patch", "delete"];
const FIELDS = new Set([
  "operationId",
  "tags",
  "summary",
  "description",
  "parameters",
  "requestBody",
  "responses",
  "x-muto-principals",
  "x-muto-body-bytes-max",
]);
const JSON_TYPE = "application/json";

/** Reads every operation; schemas that have no name yet (queries, envelopes) are added to the table under one. */
export class ApiReader {
  readonly #api: JsonObject;
  readonly #documents: ReadonlyMap<string, JsonObject>;
  readonly #errorStatuses: ReadonlySet<number>;
  #table: SchemaTable;

  constructor(documents: ReadonlyMap<string, JsonObject>, table: SchemaTable, errorStatuses: ReadonlySet<number>) {
    const api = documents.get("api.yaml");
    if (api === undefined) throw new ContractError("api.yaml is missing");
    this.#api = api;
    this.#documents = documents;
    this.#table = table;
    this.#errorStatuses = errorStatuses;
  }

  get table(): SchemaTable {
    return this.#table;
  }

  read(): readonly OperationEntry[] {
    const operations = Object.entries(objectAt(this.#api, "paths", "api.yaml")).flatMap(([path, item]) => {
      if (!isObject(item)) throw new ContractError(`${path}: must be a mapping`);
      const base = baseOf(item["servers"] ?? this.#api["servers"], path);
      return Object.entries(item)
        .filter(([method]) => method !== "servers")
        .map(([method, operation]) => this.#readOperation(method, base + path, operation));
    });
    const ids = operations.map(({ operationId }) => operationId);
    const twice = ids.find((id, index) => ids.indexOf(id) !== index);
    if (twice !== undefined) throw new ContractError(`api.yaml: two operations are called ${twice}`);
    return operations;
  }

  #readOperation(method: string, path: string, operation: Json): OperationEntry {
    const where = `api.yaml ${method} ${path}`;
    if (!METHODS.includes(method) || !isObject(operation)) throw new ContractError(`${where}: unknown method`);
    for (const key of Object.keys(operation))
      if (!FIELDS.has(key)) throw new ContractError(`${where}: unknown field ${key}`);
    const operationId = textAt(operation, "operationId", where);
    if (!/^[a-z][A-Za-z0-9]*$/.test(operationId)) throw new ContractError(`${where}: operationId is in camelCase`);
    const principals = listAt(operation, "x-muto-principals", where).map((principal) => {
      if (typeof principal !== "string" || !PRINCIPALS.includes(principal))
        throw new ContractError(`${where}: unknown principal`);
      return principal;
    });
    if (principals.length === 0) throw new ContractError(`${where}: nobody may call it`);
    const name = (operationId[0] ?? "").toUpperCase() + operationId.slice(1);
    const parameters = this.#parameters(operation, where);
    checkPath(path, parameters, where);
    const closed = !principals.includes("vehicle");
    return {
      operationId,
      method: method.toUpperCase(),
      path,
      summary: textAt(operation, "summary", where),
      principals,
      idempotencyKey: parameters.some((parameter) => parameter["name"] === "Idempotency-Key"),
      params: this.#group(`${name}Params`, parameters, "path", false, where),
      query: this.#group(`${name}Query`, parameters, "query", closed, where),
      headers: this.#group(`${name}Headers`, parameters, "header", false, where),
      body: this.#body(operation, where),
      ...this.#responses(name, operation, where),
    };
  }

  #parameters(operation: JsonObject, where: string): readonly JsonObject[] {
    const listed = operation["parameters"] === undefined ? [] : listAt(operation, "parameters", where);
    return listed.map((parameter) => this.#component(parameter, "parameters", where));
  }

  #component(part: Json | undefined, kind: string, where: string): JsonObject {
    if (!isObject(part)) throw new ContractError(`${where}: ${kind} are mappings`);
    const ref = part["$ref"];
    if (ref === undefined) return part;
    const prefix = `#/components/${kind}/`;
    if (typeof ref !== "string" || !ref.startsWith(prefix))
      throw new ContractError(`${where}: cannot follow ${literal(ref)}`);
    const components = objectAt(this.#api, "components", "api.yaml");
    return objectAt(objectAt(components, kind, "api.yaml"), ref.slice(prefix.length), where);
  }

  /** Parameters of one place as a schema of an object. Unknown query parameters are refused where no vehicle calls. */
  #group(
    name: string,
    parameters: readonly JsonObject[],
    place: string,
    closed: boolean,
    where: string,
  ): string | null {
    const members = parameters.filter((parameter) => parameter["in"] === place);
    if (members.length === 0) return null;
    const keys = members.map((parameter) => {
      const key = textAt(parameter, "name", where);
      return place === "header" ? key.toLowerCase() : key;
    });
    const properties = Object.fromEntries(
      members.map((parameter, index) => [keys[index] ?? "", this.#described(parameter, where)]),
    );
    const required = keys.filter((_key, index) => members[index]?.["required"] === true);
    return this.#name(
      name,
      {
        type: "object",
        ...(required.length === 0 ? {} : { required }),
        properties,
        ...(closed ? { additionalProperties: false } : {}),
      },
      where,
    );
  }

  #described(parameter: JsonObject, where: string): JsonObject {
    const schema = objectAt(parameter, "schema", where);
    const description = parameter["description"];
    return description === undefined ? schema : { description, ...schema };
  }

  #body(operation: JsonObject, where: string): BodyEntry | null {
    const body = operation["requestBody"];
    if (body === undefined) return null;
    if (!isObject(body)) throw new ContractError(`${where}: requestBody must be a mapping`);
    const bytesMax = operation["x-muto-body-bytes-max"];
    if (typeof bytesMax !== "number") throw new ContractError(`${where}: a body has x-muto-body-bytes-max`);
    const { mediaType, schema } = this.#content(null, objectAt(body, "content", where), where);
    return { mediaType, schema, required: body["required"] !== false, bytesMax };
  }

  #responses(name: string, operation: JsonObject, where: string): Pick<OperationEntry, "answers" | "refusals"> {
    const answers: AnswerEntry[] = [];
    const refusals: number[] = [];
    for (const [key, response] of Object.entries(objectAt(operation, "responses", where))) {
      const status = Number(key);
      const content = this.#component(response, "responses", where)["content"];
      if (status >= 400) {
        if (!this.#errorStatuses.has(status)) throw new ContractError(`${where}: no error code goes with ${status}`);
        const body = isObject(content) ? this.#content(null, content, where).schema : null;
        if (body !== "ErrorBody") throw new ContractError(`${where}: ${status} answers with ErrorBody`);
        refusals.push(status);
      } else if (content === undefined) {
        answers.push({ status, mediaType: null, schema: null });
      } else {
        if (!isObject(content)) throw new ContractError(`${where}: content must be a mapping`);
        answers.push({ status, ...this.#content(`${name}${status}`, content, where) });
      }
    }
    if (answers.length === 0) throw new ContractError(`${where}: it never succeeds`);
    return { answers, refusals };
  }

  #content(
    name: string | null,
    content: JsonObject,
    where: string,
  ): { readonly mediaType: string; readonly schema: string | null } {
    const [entry, ...more] = Object.entries(content);
    if (entry === undefined || more.length > 0) throw new ContractError(`${where}: content has exactly one media type`);
    const [mediaType, media] = entry;
    if (!isObject(media)) throw new ContractError(`${where}: ${mediaType} must be a mapping`);
    if (mediaType !== JSON_TYPE) return { mediaType, schema: null };
    const schema = objectAt(media, "schema", where);
    const ref = this.#link(schema, where)["$ref"];
    if (typeof ref === "string") return { mediaType, schema: ref.slice(REF_PREFIX.length) };
    if (name === null) throw new ContractError(`${where}: the schema of a body is a reference`);
    return { mediaType, schema: this.#name(name, schema, where) };
  }

  #link(schema: JsonObject, where: string): JsonObject {
    const linked = linkSchema(this.#table, this.#documents, "api.yaml", schema, where);
    this.#table = linked.table;
    return linked.schema;
  }

  #name(name: string, schema: JsonObject, where: string): string {
    const linked = this.#link(schema, where);
    if (this.#table.has(name)) throw new ContractError(`${where}: the name ${name} is already taken`);
    this.#table = new Map([...this.#table, [name, { name, file: "api.yaml", root: false, schema: linked }]]);
    return name;
  }
}

function baseOf(servers: Json | undefined, where: string): string {
  const first = isList(servers) ? servers[0] : undefined;
  if (!isObject(first)) throw new ContractError(`${where}: no server says the base`);
  return textAt(first, "url", where).replace(/\/$/, "");
}

function checkPath(path: string, parameters: readonly JsonObject[], where: string): void {
  const inPath = [...path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1] ?? "").toSorted();
  const declared = parameters
    .filter((parameter) => parameter["in"] === "path")
    .map((parameter) => textAt(parameter, "name", where))
    .toSorted();
  if (inPath.join() !== declared.join()) throw new ContractError(`${where}: the path and its parameters differ`);
}
