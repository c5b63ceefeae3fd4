import assert from "node:assert/strict";
import { isAbsolute } from "node:path";
import { test } from "node:test";
import { readSettings, settings } from "./settings.ts";

test("without any setting the embedded defaults stand", () => {
  const result = readSettings({});
  assert.ok(result.ok);
  assert.equal(result.settings.httpPort, 8080);
  assert.equal(result.settings.bind, "127.0.0.1");
  assert.equal(result.settings.databaseUrl, undefined);
  assert.ok(isAbsolute(result.settings.dataDir));
});

test("the environment wins over the file", () => {
  const result = readSettings({ MUTO_HTTP_PORT: "0" }, { httpPort: 9000, tenant: "acme" });
  assert.ok(result.ok);
  assert.deepEqual([result.settings.httpPort, result.settings.tenant], [0, "acme"]);
});

const refused: readonly (readonly [
  environment: Record<string, string>,
  file: Record<string, unknown>,
  message: RegExp,
])[] = [
  [{ MUTO_HTPP_PORT: "1" }, {}, /MUTO_HTPP_PORT is not a setting/],
  [{}, { port: 1 }, /port in the configuration file/],
  [{ MUTO_HTTP_PORT: "70000" }, {}, /MUTO_HTTP_PORT=70000: expected a port/],
  [{ MUTO_HTTP_PORT: "8o8o" }, {}, /expected a port/],
  [{ MUTO_DATABASE_URL: "mysql://x" }, {}, /MUTO_DATABASE_URL: expected a URL/],
  [{ MUTO_LOG_LEVEL: "loud" }, {}, /MUTO_LOG_LEVEL/],
  [{ MUTO_TENANT: "A b" }, {}, /MUTO_TENANT/],
  [{ MUTO_BIND: "0.0.0.0" }, {}, /needs TLS in front and MUTO_INSECURE_BIND/],
];

for (const [environment, file, message] of refused) {
  test(`${JSON.stringify({ ...environment, ...file })} stops the start with one line`, () => {
    const result = readSettings(environment, file);
    assert.ok(!result.ok);
    assert.match(result.message, message);
    assert.ok(!result.message.includes("\n"));
  });
}

test("no secret is a value of a setting: secrets come from files", () => {
  for (const { name } of settings) assert.doesNotMatch(name, /(PASSWORD|TOKEN|SECRET)$/);
});
