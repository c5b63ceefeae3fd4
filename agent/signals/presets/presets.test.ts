import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { compilePathDecoder } from "@muto/dds/cdr/decode";
import { definitionsOf } from "../message-types.ts";
import { PRESETS } from "./presets.ts";

for (const [name, { mappings, messages = [], heartbeat }] of Object.entries(PRESETS)) {
  test(`preset ${name}: every field is one of its message`, () => {
    for (const { type, path } of mappings) {
      const compiled = compilePathDecoder(type, path, definitionsOf(messages));
      assert.ok(compiled.ok, `${type} ${path.join()}: ${JSON.stringify(compiled)}`);
    }
  });

  test(`preset ${name}: one topic has one type, and latched modes have a heartbeat`, () => {
    const types = new Map(mappings.map(({ topic, type }) => [topic, type]));
    assert.ok(mappings.every(({ topic, type }) => types.get(topic) === type));
    assert.ok(heartbeat !== undefined || !mappings.some(({ latched }) => latched));
  });

  test(`preset ${name}: the documentation's table has its topics and types`, async () => {
    const page = await readFile(join(import.meta.dirname, "..", "..", "..", "docs", "signals.md"), "utf8");
    const rows = page.split("\n").map((line) => line.split("|").map((cell) => cell.trim().replaceAll("`", "")));
    const typeOf = new Map<string, string>();
    for (const [, , , topic = "", type = ""] of rows) if (type !== "") typeOf.set(topic, type);
    for (const { topic, type } of [...mappings, ...(heartbeat === undefined ? [] : [heartbeat])]) {
      assert.equal(typeOf.get(topic), type, topic);
    }
  });
}
