import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { systemDisk } from "@muto/kit/disk";
import { loadAgentConfig, readAgentConfig } from "./config.ts";

const path = "/etc/muto/agent.yaml";

const small = `
kind: muto.agent/v1
vehicle: { id: vehicle-v3-0142, model: vehicle-v3, os: ubuntu-22.04, rosDistro: humble, timezone: Europe/Berlin }
cloud: { url: "https://muto.example.org" }
stateDir: /var/lib/muto
trustFile: trust.json
signals:
  speed: [{ provider: gateway }]
  mode: [{ provider: gateway, freshForSec: 5 }]
  battery: none
  providers:
    - { name: gateway, kind: socket, path: ../../run/muto/signals }
`;

/** The small file with one line replaced or added. */
function problemsOf(change: (text: string) => string): readonly string[] {
  const text = change(small);
  assert.notEqual(text, small, "the change changes something");
  const loaded = readAgentConfig(text, path);
  return loaded.ok ? [] : [loaded.code, ...loaded.problems];
}

test("config: defaults are filled in with the safe values, paths count from the file", () => {
  const loaded = readAgentConfig(small, path);
  assert.ok(loaded.ok, JSON.stringify(loaded));
  assert.deepEqual(loaded.warnings, []);
  const { safety, signals, cloud, trustFile } = loaded.config;
  assert.deepEqual(safety, {
    requireStationary: true,
    denyAutonomous: true,
    batteryPctMin: 0,
    speedMpsMax: 0.1,
    yawRateRadpsMax: 0.05,
    standstillSec: 120,
    requireParked: false,
    diskReserveMb: 512,
  });
  assert.deepEqual(signals.speed, [{ provider: "gateway", optional: false, freshForSec: 2 }]);
  assert.deepEqual(signals.providers, [{ name: "gateway", kind: "socket", path: "/run/muto/signals" }]);
  assert.deepEqual([cloud.pollSec, trustFile], [30, "/etc/muto/trust.json"]);
});

test("config: JSON is YAML", () => {
  const loaded = readAgentConfig(small, path);
  assert.ok(loaded.ok);
  const again = readAgentConfig(JSON.stringify(loaded.config), "/elsewhere/agent.json");
  assert.ok(again.ok, JSON.stringify(again));
  assert.deepEqual(again.config, loaded.config);
});

const refusals: readonly (readonly [string, (text: string) => string, readonly string[]])[] = [
  [
    "an unknown key, which may be a misspelt safety setting",
    (text) => `${text}safety: { requireStationnary: true }\n`,
    [`${path}: safety.requireStationnary is not known here`],
  ],
  ["a missing setting", (text) => text.replace("stateDir: /var/lib/muto\n", ""), [`${path}: stateDir is missing`]],
  [
    "a signal that is neither there nor declared absent",
    (text) => text.replace("battery: none\n", "\n"),
    [`${path}: signals.battery is missing`],
  ],
  [
    "a time zone that nobody knows",
    (text) => text.replace("Europe/Berlin", "Europe/Atlantis"),
    [`${path}: vehicle.timezone is no time zone of this computer: Europe/Atlantis`],
  ],
  [
    "a provider that is not there",
    (text) => text.replace("speed: [{ provider: gateway }]", "speed: [{ provider: gateway }, { provider: wheels }]"),
    [`${path}: signals.speed[1].provider is not among signals.providers: wheels`],
  ],
  [
    "two providers of one name and path",
    (text) => `${text}    - { name: gateway, kind: file, path: ../../run/muto/signals }\n`,
    [
      `${path}: signals.providers[1].name is used twice: gateway`,
      `${path}: signals.providers[1].path is used twice: /run/muto/signals`,
    ],
  ],
  [
    "a password in a URL",
    (text) => text.replace("https://muto", "https://me:secret@muto"),
    [`${path}: cloud.url holds a user name or password; secrets come from files`],
  ],
  [
    "a URL of another kind",
    (text) => `${text}mqtt: { url: "https://broker.example.org" }\n`,
    [`${path}: mqtt.url must match pattern "^(mqtts?|wss?)://[!-~]+$"`],
  ],
  [
    "a URL with a query",
    (text) => `${text}registry: { url: "https://registry.example.org/?token=1" }\n`,
    [`${path}: registry.url must have neither query nor fragment`],
  ],
  [
    "limits that nothing is ever below",
    (text) => `${text}safety: { speedMpsMax: 0, yawRateRadpsMax: 0 }\n`,
    [
      `${path}: safety.speedMpsMax must be above 0, because nothing is ever below it`,
      `${path}: safety.yawRateRadpsMax must be above 0, because nothing is ever below it`,
    ],
  ],
  [
    "demands that no signal can meet",
    (text) => `${text}safety: { requireParked: true, batteryPctMin: 20 }\n`,
    [
      `${path}: safety.requireParked needs a provider in signals.parked`,
      `${path}: safety.batteryPctMin needs a provider in signals.battery`,
    ],
  ],
  [
    "half a credential",
    (text) =>
      `${text}registry: { url: "https://r.example.org", usernameFile: u }\nmqtt: { url: "mqtts://b.example.org", username: me }\n`,
    [
      `${path}: registry needs usernameFile and passwordFile, or neither`,
      `${path}: mqtt.username needs mqtt.passwordFile; without both, the vehicle's key is used`,
    ],
  ],
  [
    "an acknowledgement that nobody could give",
    (text) =>
      text
        .replace("speed: [{ provider: gateway }]", "speed: none")
        .replace("mode: [{ provider: gateway, freshForSec: 5 }]", "mode: none")
        .replace(/ {2}providers:\n.*\n/, "changeInProgress: { acknowledgementRequired: true }\n"),
    [`${path}: changeInProgress.acknowledgementRequired needs a signal provider to hear the answer from`],
  ],
];
for (const [name, change, problems] of refusals) {
  test(`config: refused: ${name}`, () => assert.deepEqual(problemsOf(change), ["CONFIG_INVALID", ...problems]));
}

test("config: refused: a socket path that the kernel does not take, once it is absolute", () => {
  const loaded = readAgentConfig(small.replace("../../run", "."), `/${"x".repeat(100)}/agent.yaml`);
  assert.ok(!loaded.ok);
  assert.match(loaded.problems.join(), /signals\.providers\[0\]\.path is longer than 107 bytes/);
});

test("config: refused: aliases, which can make a small file very large", () => {
  assert.deepEqual(
    problemsOf((text) => text.replace("kind:", "x: &x [1]\ny: *x\nkind:")),
    ["CONFIG_MALFORMED", `${path}: has an alias; say each thing once`],
  );
});

test("config: refused: what is no YAML, with its line and without its content", () => {
  assert.deepEqual(
    problemsOf((text) => `${text}secret: "abc`),
    ["CONFIG_MALFORMED", `${path}: line 13 is not YAML (MISSING_CHAR)`],
  );
  assert.deepEqual(
    problemsOf((text) => `${text}stateDir: /elsewhere\n`),
    ["CONFIG_MALFORMED", `${path}: line 13 is not YAML (DUPLICATE_KEY)`],
  );
});

const warnings: readonly (readonly [string, (text: string) => string, readonly string[]])[] = [
  [
    "no speed and no mode while the floor demands both",
    (text) =>
      text
        .replace("speed: [{ provider: gateway }]", "speed: none")
        .replace("mode: [{ provider: gateway, freshForSec: 5 }]", "mode: none"),
    [
      `${path}: signals.speed is none while the floor demands it, so no change starts without a technician's confirmation`,
      `${path}: signals.mode is none while the floor demands it, so no change starts without a technician's confirmation`,
      `${path}: signals.providers names gateway, which no signal uses`,
    ],
  ],
  [
    "a lowered floor",
    (text) => `${text}safety: { requireStationary: false, denyAutonomous: false }\n`,
    [
      `${path}: safety.requireStationary is false: the vehicle's own floor no longer demands it`,
      `${path}: safety.denyAutonomous is false: the vehicle's own floor no longer demands it`,
    ],
  ],
  [
    "plain text beyond the computer itself",
    (text) => `${text.replace("https://muto", "http://muto")}mqtt: { url: "mqtt://127.0.0.1:1883" }\n`,
    [`${path}: cloud.url is not encrypted, and does not stay on this computer`],
  ],
];
for (const [name, change, expected] of warnings) {
  test(`config: warned of: ${name}`, () => {
    const loaded = readAgentConfig(change(small), path);
    assert.ok(loaded.ok, JSON.stringify(loaded));
    assert.deepEqual(loaded.warnings, expected);
  });
}

test("config: a file that is there, one that is not, and one that is too large", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "muto-config-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, "agent.yaml");
  const codeOf = async () => {
    const loaded = await loadAgentConfig(systemDisk(), file);
    return loaded.ok ? "ok" : loaded.code;
  };
  assert.equal(await codeOf(), "CONFIG_NOT_FOUND");
  await writeFile(file, small);
  assert.equal(await codeOf(), "ok");
  await writeFile(file, `${small}#${"x".repeat(300_000)}`);
  assert.equal(await codeOf(), "CONFIG_UNREADABLE");
});

test("config: any text is a configuration or a refusal with a code and a reason", () => {
  const pieces = fc.constantFrom(
    "kind: muto.agent/v1\n",
    "signals:\n",
    "  - ",
    "{",
    "[",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!js ",
    "? ",
    "\t",
    "'",
    "%TAG\n",
    small,
  );
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(fc.oneof(pieces, fc.string())).map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(text, (given) => {
      const loaded = readAgentConfig(given, path);
      assert.ok(loaded.ok || (loaded.problems.length > 0 && loaded.problems.every((line) => !line.includes("\n"))));
    }),
    { seed: 5, numRuns: 150 },
  );
});
