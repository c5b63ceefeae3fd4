/**
 * No imperative remote commands: nothing that a vehicle can receive, and nothing else that its agent reads, has room for
 * one. What a vehicle receives is found from the topics' direction and from who may call an operation, not from a list
 * that somebody would have to remember. The stack manifest alone is left out: it says what runs, and is signed by the
 * fleet's owner, never by the control plane.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { suite, test } from "node:test";
import { linkContract, type LinkedContract } from "./generator/contract.ts";
import { isList, isObject, type Json, type JsonObject } from "./generator/json.ts";
import { lookUp, refName, type SchemaTable } from "./generator/schemas.ts";
import { readSources } from "./generator/sources.ts";

const contract = linkContract(await readSources(join(import.meta.dirname, "..")));

const SIGNED_BY_THE_OWNER = "StackManifest";

/** What may be said: `remote` must not match anything that a shell would take for more than a word. */
type Origin = "remote" | "refusal" | "local";

interface Finding {
  readonly path: string;
  readonly problem: string;
}

interface Walk {
  readonly table: SchemaTable;
  readonly origin: Origin;
  readonly schemas: Set<string>;
  readonly findings: Finding[];
  leaves: number;
}

/** Each would be a command somewhere; a pattern of a remote text has to refuse them all. */
const COMMANDS = [
  "rm -rf /",
  "sudo reboot",
  "; reboot",
  "a && b",
  "a|b",
  "$(reboot)",
  "`reboot`",
  "a\nb",
  "cmd /c x",
  "> /dev/sda",
];

const COMMAND_FIELDS = /^(command|cmd|exec|execute|shell|script|argv|args|run|code|eval|entrypoint)$/i;

test("no message that a vehicle receives has room for a command", () => {
  const walk = walkAll(contract.table, "remote", receivedByVehicles(contract));
  assert.deepEqual(walk.findings, []);
  for (const name of [
    "Assignment",
    "LatestDesired",
    "DesiredNotify",
    "EnrolmentAnswer",
    "TrustRoot",
    "Envelope",
    "Policy",
    "StackRef",
  ]) {
    assert.ok(walk.schemas.has(name), `it looked at ${name}`);
  }
  assert.ok(walk.schemas.size >= 30, `it looked at ${walk.schemas.size} schemas`);
  assert.ok(walk.leaves >= 40, `it looked at ${walk.leaves} leaves`);
});

test("a refusal carries words for people only where it is marked, and codes for the agent", () => {
  const called = contract.operations.filter(calledByVehicles);
  assert.ok(called.some(({ refusals }) => refusals.length > 0));
  const walk = walkAll(contract.table, "refusal", ["ErrorBody"]);
  assert.deepEqual(walk.findings, []);
  assert.ok(walk.leaves >= 15, `it looked at ${walk.leaves} leaves`);
});

test("what the agent reads on the vehicle is ids, digests, enums, numbers, times, paths and addresses", () => {
  const walk = walkAll(contract.table, "local", readByAgents(contract));
  assert.deepEqual(walk.findings, []);
  for (const name of ["AgentConfig", "SignalLine", "TrustFile", "LocalHold"]) {
    assert.ok(walk.schemas.has(name), `it looked at ${name}`);
  }
  assert.ok(walk.leaves >= 90, `it looked at ${walk.leaves} leaves`);
});

test("every document that a vehicle receives says that the agent reads it", () => {
  const read = new Set(readByAgents(contract));
  const documents = new Set(contract.documents);
  const walk = walkAll(contract.table, "remote", receivedByVehicles(contract));
  assert.deepEqual(
    [...walk.schemas].filter((name) => documents.has(name) && !read.has(name)),
    [],
  );
});

test("operations that vehicles call answer with schemas, never with bytes of any shape", () => {
  const raw = contract.operations.filter(
    (operation) =>
      operation.principals.includes("vehicle") &&
      operation.answers.some(({ schema, mediaType }) => schema === null && mediaType !== null),
  );
  assert.deepEqual(
    raw.map(({ operationId }) => operationId),
    [],
  );
});

suite("a planted command is found", () => {
  const planted: readonly {
    readonly name: string;
    readonly schema: string;
    readonly change: (schema: JsonObject) => JsonObject;
  }[] = [
    { name: "a free text", schema: "DesiredNotify", change: withProperty("note", { type: "string", maxLength: 100 }) },
    {
      name: "a free text among other types",
      schema: "Assignment",
      change: withProperty("value", { type: ["number", "string"] }),
    },
    {
      name: "a list of texts",
      schema: "Policy",
      change: withProperty("steps", { type: "array", items: { type: "string" } }),
    },
    {
      name: "a text whose pattern allows anything",
      schema: "StackRef",
      change: withProperty("hint", { type: "string", pattern: "^.*$" }),
    },
    {
      name: "an address without a pattern",
      schema: "DesiredNotify",
      change: withProperty("more", { type: "string", format: "uri" }),
    },
    {
      name: "an open object",
      schema: "LatestDesired",
      change: withProperty("extra", { type: "object", additionalProperties: true }),
    },
    {
      name: "a map of texts",
      schema: "Assignment",
      change: withProperty("env", { type: "object", additionalProperties: { type: "string" } }),
    },
    { name: "anything at all", schema: "EnrolmentAnswer", change: withProperty("data", {}) },
    {
      name: "a field that is called a command",
      schema: "Assignment",
      change: withProperty("command", { enum: ["reboot"] }),
    },
    {
      name: "a text for people",
      schema: "Assignment",
      change: withProperty("note", { type: "string", "x-muto-for-people": true }),
    },
    {
      name: "a free text in a branch of a union",
      schema: "SimpleSigningSignature",
      change: withProperty("note", { type: "string" }),
    },
    { name: "a free text in a receipt", schema: "ReportReceipt", change: withProperty("then", { type: "string" }) },
  ];
  for (const { name, schema, change } of planted) {
    test(name, () => {
      const entry = contract.table.get(schema);
      assert.ok(entry);
      const table = new Map([...contract.table, [schema, { ...entry, schema: change(entry.schema) }]]);
      assert.equal(walkAll(table, "remote", receivedByVehicles(contract)).findings.length, 1);
    });
  }
});

test("a planted operation is found", () => {
  const [operation] = contract.operations.filter(({ operationId }) => operationId === "getRollout");
  assert.ok(operation);
  const tampered = { ...contract, operations: [...contract.operations, { ...operation, principals: ["vehicle"] }] };
  assert.ok(walkAll(contract.table, "remote", receivedByVehicles(tampered)).findings.length > 0);
});

function calledByVehicles({ principals }: { readonly principals: readonly string[] }): boolean {
  return principals.includes("vehicle") || principals.includes("anonymous");
}

function receivedByVehicles({ topics, operations, mediaTypes }: LinkedContract): readonly string[] {
  const published = topics.filter(({ direction }) => direction === "cloud-to-vehicle").map(({ message }) => message);
  const answered = operations
    .filter(calledByVehicles)
    .flatMap(({ answers }) => answers.flatMap(({ schema }) => schema ?? []));
  const signed = mediaTypes.flatMap(({ payload }) =>
    payload === null || payload.signedBy === "vehicle" ? [] : payload.schema,
  );
  assert.ok(published.length > 0 && answered.length > 0 && signed.length > 0);
  return [...published, ...answered, ...signed].filter((name) => name !== SIGNED_BY_THE_OWNER);
}

function readByAgents({ table, documents }: LinkedContract): readonly string[] {
  const names = documents.filter((name) => {
    const readers = lookUp(table, name)["x-muto-readers"];
    return isList(readers) && readers.includes("agent");
  });
  assert.ok(names.includes(SIGNED_BY_THE_OWNER));
  return names.filter((name) => name !== SIGNED_BY_THE_OWNER);
}

function walkAll(table: SchemaTable, origin: Origin, names: readonly string[]): Walk {
  const walk: Walk = { table, origin, schemas: new Set(), findings: [], leaves: 0 };
  for (const name of names) visitNamed(walk, name);
  return walk;
}

function visitNamed(walk: Walk, name: string): void {
  if (walk.schemas.has(name)) return;
  walk.schemas.add(name);
  visit(walk, lookUp(walk.table, name), name);
}

function visit(walk: Walk, schema: Json, path: string): void {
  if (!isObject(schema)) return found(walk, path, "anything may stand here");
  const { $ref, oneOf, anyOf, allOf, const: constant, enum: values, type } = schema;
  if ($ref !== undefined) return visitNamed(walk, refName($ref));
  const parts = [oneOf, anyOf, allOf].flatMap((list) => (isList(list) ? list : []));
  if (parts.length > 0) return parts.forEach((part, index) => visit(walk, part, `${path}|${index}`));
  if (constant !== undefined || values !== undefined) {
    walk.leaves += 1;
    return;
  }
  const types = isList(type) ? type : [type];
  for (const one of types) visitType(walk, schema, one, path);
}

function visitType(walk: Walk, schema: JsonObject, type: Json | undefined, path: string): void {
  if (type === "object") return visitObject(walk, schema, path);
  if (type === "array") return visit(walk, schema["items"] ?? true, `${path}[]`);
  if (type === undefined) return found(walk, path, "anything may stand here");
  walk.leaves += 1;
  if (type !== "string") return;
  const { pattern, format } = schema;
  if (schema["x-muto-for-people"] === true && walk.origin === "refusal") return;
  if (typeof pattern !== "string" && (typeof format !== "string" || walk.origin === "remote"))
    found(walk, path, "a free text");
  else if (walk.origin === "remote" && typeof pattern === "string") {
    const expression = new RegExp(pattern, "u");
    if (COMMANDS.some((command) => expression.test(command))) found(walk, path, "a pattern that lets commands through");
  }
}

function visitObject(walk: Walk, schema: JsonObject, path: string): void {
  const { properties, additionalProperties } = schema;
  if (additionalProperties !== undefined && additionalProperties !== false)
    return found(walk, path, "fields of any name");
  if (!isObject(properties)) return found(walk, path, "an object of any shape");
  for (const [name, part] of Object.entries(properties)) {
    if (COMMAND_FIELDS.test(name) && walk.origin === "remote") found(walk, `${path}/${name}`, "a field for a command");
    visit(walk, part, `${path}/${name}`);
  }
}

function found(walk: Walk, path: string, problem: string): void {
  walk.findings.push({ path, problem });
}

function withProperty(name: string, property: JsonObject): (schema: JsonObject) => JsonObject {
  return (schema) => {
    const { properties } = schema;
    assert.ok(isObject(properties));
    return { ...schema, properties: { ...properties, [name]: property } };
  };
}
