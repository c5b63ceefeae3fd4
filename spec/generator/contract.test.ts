import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { generateContract, linkContract } from "./contract.ts";
import { ContractError, isObject, type Json, type JsonObject } from "./json.ts";
import { parseYaml, readSources, type Sources } from "./sources.ts";

const root = join(import.meta.dirname, "..", "..");
const sources = await readSources(root);

test("what is committed is what the sources say", async () => {
  const files = generateContract(sources);
  assert.ok(files.size >= 13);
  const stale: string[] = [];
  for (const [path, text] of files) if ((await readFile(join(root, path), "utf8")) !== text) stale.push(path);
  assert.deepEqual(stale, [], "run `npm run spec`");
});

test("the same sources give the same bytes", async () => {
  assert.deepEqual(generateContract(await readSources(root)), generateContract(sources));
});

suite("sources that do not hold together are refused with the place", () => {
  const table: readonly {
    readonly name: string;
    readonly change: (from: Sources) => Sources;
    readonly says: RegExp;
  }[] = [
    {
      name: "an unknown schema keyword",
      change: message("presence.yaml", ["properties", "online"], { type: "boolean", nullable: true }),
      says: /presence\.yaml.*unknown schema keyword "nullable"/,
    },
    {
      name: "an unknown extension",
      change: message("presence.yaml", ["properties", "online"], { type: "boolean", "x-muto-novelty": 1 }),
      says: /unknown schema keyword "x-muto-novelty"/,
    },
    {
      name: "an unknown format",
      change: message("presence.yaml", ["properties", "online"], { type: "string", format: "hostname" }),
      says: /unknown format "hostname"/,
    },
    {
      name: "a reference to a file that is not there",
      change: message("presence.yaml", ["properties", "online"], { $ref: "absent.yaml" }),
      says: /there is no file messages\/absent\.yaml/,
    },
    {
      name: "a reference to a schema that is not there",
      change: message("presence.yaml", ["properties", "online"], { $ref: "common.yaml#/$defs/Absent" }),
      says: /there is no schema Absent/,
    },
    {
      name: "a reference into the middle of a schema",
      change: message("presence.yaml", ["properties", "online"], {
        $ref: "common.yaml#/$defs/Policy/properties/applyWindow",
      }),
      says: /cannot follow/,
    },
    {
      name: "a name that is used twice",
      change: message("presence.yaml", ["properties", "online"], { title: "Policy", type: "boolean" }),
      says: /the name Policy is already taken in messages\/common\.yaml/,
    },
    {
      name: "a required field that is no property",
      change: message("presence.yaml", ["required"], ["kind", "absent"]),
      says: /required names "absent"/,
    },
    {
      name: "a list of who knows what",
      change: message("presence.yaml", ["properties", "online"], { type: "array" }),
      says: /a list says what its items are/,
    },
    {
      name: "a document that nobody reads",
      change: message("presence.yaml", ["x-muto-readers"], "agent"),
      says: /x-muto-readers must be a list/,
    },
    {
      name: "a document without a name",
      change: message("presence.yaml", ["title"], ""),
      says: /a schema needs a title/,
    },
    {
      name: "a reason code that the schema does not list",
      change: message("reason-code.yaml", ["enum"], ["DENY_MOVING"]),
      says: /differ: missing VERIFY_SIGNATURE_FAILED/,
    },
    {
      name: "a reason code of an unknown fault",
      change: (from) => ({ ...from, reasons: edit(from.reasons, ["reasonCodes", "0", "fault"], "weather") }),
      says: /weather is none of/,
    },
    {
      name: "an error code that the schema does not list",
      change: (from) => ({ ...from, errors: edit(from.errors, ["errorCodes", "0", "code"], "NOVEL") }),
      says: /do not list the same codes/,
    },
    {
      name: "a topic outside the base",
      change: (from) => ({ ...from, topics: from.topics.replace("pattern: muto/", "pattern: other/") }),
      says: /not below the base/,
    },
    {
      name: "a topic at QoS 2",
      change: (from) => ({ ...from, topics: from.topics.replace("qos: 1", "qos: 2") }),
      says: /qos is 0 or 1/,
    },
    {
      name: "a payload that no schema describes",
      change: (from) => ({ ...from, mediaTypes: edit(from.mediaTypes, ["mediaTypes", "0", "payload"], "Absent") }),
      says: /there is no schema named Absent/,
    },
    {
      name: "an operation that nobody may call",
      change: api(["paths", "/vehicles", "get", "x-muto-principals"], []),
      says: /nobody may call it/,
    },
    {
      name: "an operation for an unknown principal",
      change: api(["paths", "/vehicles", "get", "x-muto-principals"], ["administrator"]),
      says: /unknown principal/,
    },
    {
      name: "two operations of one name",
      change: api(["paths", "/vehicles", "post", "operationId"], "createRelease"),
      says: /two operations are called createRelease|already taken/,
    },
    {
      name: "a path whose parameter is not declared",
      change: api(["paths", "/vehicles/{id}", "get", "parameters"], []),
      says: /the path and its parameters differ/,
    },
    {
      name: "a body without a limit",
      change: api(["paths", "/vehicles", "post", "x-muto-body-bytes-max"], null),
      says: /a body has x-muto-body-bytes-max/,
    },
    {
      name: "an operation that never succeeds",
      change: api(["paths", "/vehicles", "get", "responses"], { "500": { $ref: "#/components/responses/Internal" } }),
      says: /it never succeeds/,
    },
    {
      name: "a refusal with a status that no error code has",
      change: api(["paths", "/vehicles", "get", "responses", "418"], { $ref: "#/components/responses/Internal" }),
      says: /no error code goes with 418/,
    },
    {
      name: "a refusal with a body of its own",
      change: api(["components", "responses", "Internal", "content"], {
        "application/json": { schema: { $ref: "./messages/common.yaml#/$defs/Policy" } },
      }),
      says: /500 answers with ErrorBody/,
    },
    {
      name: "a field that OpenAPI would understand and the generator does not",
      change: api(["paths", "/vehicles", "get", "callbacks"], {}),
      says: /unknown field callbacks/,
    },
  ];
  for (const { name, change, says } of table) {
    test(name, () => {
      assert.throws(
        () => generateContract(change(sources)),
        (error) => error instanceof ContractError && says.test(error.message),
      );
    });
  }
});

test("a key that stands twice in a source is refused", () => {
  assert.throws(() => parseYaml("a: 1\na: 2\n", "x.yaml"), /unique/);
});

test("every operation that changes something for an operator takes an Idempotency-Key", () => {
  const { operations } = linkContract(sources);
  const without = operations.filter(
    ({ method, principals, idempotencyKey }) => method === "POST" && principals.includes("operator") && !idempotencyKey,
  );
  assert.deepEqual(
    without.map(({ operationId }) => operationId),
    ["postVehicleStatus", "postVehicleEvents", "postReconcileReports"],
    "ingest is idempotent by itself",
  );
});

test("every list is paged, and its items are bounded", () => {
  const { operations, table } = linkContract(sources);
  const lists = operations.filter(({ operationId }) => operationId.startsWith("list"));
  assert.ok(lists.length >= 7);
  for (const { operationId, query } of lists) {
    const properties = query === null ? undefined : table.get(query)?.schema["properties"];
    assert.ok(isObject(properties) && isObject(properties["page"]) && isObject(properties["limit"]), operationId);
    assert.equal(properties["limit"]["maximum"], 200);
  }
});

/** Sources with one part of a message replaced; null removes it. */
function message(file: string, path: readonly string[], value: Json): (from: Sources) => Sources {
  return document(`messages/${file}`, path, value);
}

function api(path: readonly string[], value: Json): (from: Sources) => Sources {
  return document("api.yaml", path, value);
}

function document(file: string, path: readonly string[], value: Json): (from: Sources) => Sources {
  return (from) => {
    const before = from.documents.get(file);
    assert.ok(before, `there is ${file}`);
    return { ...from, documents: new Map([...from.documents, [file, edit(before, path, value)]]) };
  };
}

function edit(part: JsonObject, path: readonly string[], value: Json): JsonObject {
  const [key = "", ...rest] = path;
  if (rest.length === 0) {
    const { [key]: _old, ...others } = part;
    return value === null ? others : { ...part, [key]: value };
  }
  const inner = part[key];
  if (Array.isArray(inner)) {
    const [index = "", ...deeper] = rest;
    const items = inner.map((item: Json, at) =>
      String(at) === index && isObject(item) ? edit(item, deeper, value) : item,
    );
    return { ...part, [key]: items };
  }
  assert.ok(isObject(inner), `there is ${key}`);
  return { ...part, [key]: edit(inner, rest, value) };
}
