import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemDisk } from "@muto/kit/disk";
import { systemRandom } from "@muto/kit/random";
import { provision } from "./provision.ts";
import { readSettings } from "./settings.ts";

const ports = { disk: systemDisk(), random: systemRandom() };

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "muto-provision-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function settingsFor(folder: string, more: Record<string, string> = {}) {
  const result = readSettings({ MUTO_DATA_DIR: folder, ...more });
  assert.ok(result.ok);
  return result.settings;
}

test("a development start makes keys, trust and a token once, readable by the owner alone", async () => {
  await inFolder(async (folder) => {
    const first = await provision(settingsFor(folder), ports, true);
    const second = await provision(settingsFor(folder), ports, true);
    assert.ok(first.ok && second.ok);
    assert.deepEqual(second.provisions.trust, first.provisions.trust);
    assert.equal(second.provisions.localToken?.token, first.provisions.localToken?.token);
    for (const name of ["keys/assignment.key", "keys/release.key", "operator-token"]) {
      assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
    }
    const trust = await readFile(join(folder, "trust.json"), "utf8");
    assert.doesNotMatch(trust, /PRIVATE/);
  });
});

test("what a production start lacks is named in one line", async () => {
  await inFolder(async (folder) => {
    const missing = await provision(settingsFor(folder), ports, false);
    assert.ok(!missing.ok);
    assert.match(missing.message, /MUTO_ASSIGNMENT_KEY_FILE/);
    await provision(settingsFor(folder), ports, true);
    const nobody = await provision(settingsFor(folder), ports, false);
    assert.ok(!nobody.ok);
    assert.match(nobody.message, /MUTO_OPERATOR_TOKEN_FILE/);
  });
});

test("a trust file that does not list the assignment key, or is for another tenant, stops the start", async () => {
  await inFolder(async (folder) => {
    await provision(settingsFor(folder), ports, true);
    const tenant = await provision(settingsFor(folder, { MUTO_TENANT: "acme" }), ports, true);
    assert.ok(!tenant.ok);
    assert.match(tenant.message, /tenant default, not acme/);
    await rm(join(folder, "keys", "assignment.key"));
    const other = await provision(settingsFor(folder), ports, true);
    assert.ok(!other.ok);
    assert.match(other.message, /does not list the assignment key/);
  });
});

test("token files hold named or hashed tokens, and weak ones are refused", async () => {
  await inFolder(async (folder) => {
    const file = join(folder, "tokens");
    await writeFile(file, `# people\nalice long-enough-token-1\nsha256:${"a".repeat(64)}\n`);
    const named = await provision(settingsFor(folder, { MUTO_OPERATOR_TOKEN_FILE: file }), ports, true);
    assert.ok(named.ok);
    assert.deepEqual(
      named.provisions.tokens.map(({ name }) => name),
      ["alice", "operator-2"],
    );
    assert.equal(named.provisions.localToken, undefined);
    await writeFile(file, "short\n");
    const weak = await provision(settingsFor(folder, { MUTO_OPERATOR_TOKEN_FILE: file }), ports, true);
    assert.ok(!weak.ok);
    assert.match(weak.message, /shorter than 16/);
  });
});
