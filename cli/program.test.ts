import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { seededRandom } from "@muto/kit/random";
import { commands } from "./commands/index.ts";
import type { Io } from "./io.ts";
import { runProgram } from "./program.ts";

async function run(args: readonly string[], overrides: Partial<Io> = {}) {
  const printed = { out: "", error: "" };
  const io: Io = {
    out: (text) => {
      printed.out += text;
    },
    error: (text) => {
      printed.error += text;
    },
    terminal: false,
    errorTerminal: false,
    architecture: "amd64",
    environment: { MUTO_TOKEN: "token" },
    http: async () => {
      throw new Error("connection refused");
    },
    clock: systemClock(),
    random: seededRandom(1),
    signal: new AbortController().signal,
    ask: async () => undefined,
    ...overrides,
  };
  const code = await runProgram(commands, "1.2.3", args, io);
  return { code, ...printed };
}

const situations: readonly (readonly [args: string, code: number, out: RegExp, error: RegExp])[] = [
  ["", 2, /usage: muto COMMAND/, /^$/],
  ["--help", 0, /rollout create/, /^$/],
  ["--version", 0, /^1\.2\.3\n$/, /^$/],
  ["rollot list", 2, /^$/, /no command "rollot list"[\s\S]*muto rollout --help/],
  ["vehicle lst", 2, /^$/, /no command "vehicle lst"\ntry: {2}muto vehicle list\n/],
  ["vehicle frobnicate", 2, /^$/, /try: {2}muto vehicle --help\n/],
  ["rollout", 2, /rollout pause/, /^$/],
  ["rollout create --help", 0, /usage: muto rollout create STACK VERSION[\s\S]*--selector SELECTOR/, /^$/],
  ["rollout create autonomy-core", 2, /^$/, /VERSION is missing/],
  ["rollout create a 1 --selector x=y --soak-sec soon", 2, /^$/, /--soak-sec takes a number/],
  ["rollout create a 1", 2, /^$/, /either --selector or --vehicle/],
  ["rollout create a 1 --selector x=y --window 2-5", 2, /^$/, /HH:MM-HH:MM/],
  ["rollout list --status done", 2, /^$/, /--status takes active or paused/],
  ["vehicle list --color", 2, /^$/, /Unknown option '--color'/],
  ["vehicle show a b", 2, /^$/, /unexpected argument b/],
  ["vehicle list", 1, /^$/, /no answer from http:\/\/127\.0\.0\.1:8080\ntry: {2}muto up/],
  ["seed --help", 0, /^(?![\s\S]*--url)[\s\S]*--vehicles N/, /^$/],
  ["reset --url http://127.0.0.1:8080", 2, /^$/, /Unknown option '--url'/],
  ["vehicle delete vehicle-a", 1, /^$/, /nothing was changed/],
];

for (const [args, code, out, error] of situations) {
  test(`muto ${args}`, async () => {
    const result = await run(args.split(" ").filter((word) => word !== ""));
    assert.match(result.out, out);
    assert.match(result.error, error);
    assert.equal(result.code, code);
  });
}

test("a refusal of the control plane shows its code and ends with 1", async () => {
  const body = {
    error: { code: "FORBIDDEN", message: "viewers may not write", details: {} },
    timestamp: "2026-01-01T00:00:00.000Z",
  };
  const result = await run(["rollout", "pause", "ro_01ARZ3NDEKTSV4RRFFQ69G5FAV"], {
    http: async () => ({ status: 403, headers: new Map(), body: chunks(JSON.stringify(body)) }),
  });
  assert.equal(result.code, 1);
  assert.match(result.error, /^muto: FORBIDDEN: viewers may not write\n$/);
});

for (const [status, code, details, hint] of [
  [401, "UNAUTHORIZED", {}, "the token in MUTO_TOKEN was refused; unset it to use .muto/operator-token"],
  [422, "TARGET_EMPTY", {}, "muto vehicle list"],
  [422, "RELEASE_UNKNOWN", {}, "muto release list"],
  [404, "NOT_FOUND", { what: "vehicle", id: "v" }, "muto vehicle list"],
  [409, "CONFLICT_ROLLOUT_MEMBER", { conflicts: [{ vehicleId: "v", rolloutId: "ro_1" }] }, "muto rollout watch ro_1"],
] as const) {
  test(`a refusal with ${code} says what to try next`, async () => {
    const body = { error: { code, message: "refused", details }, timestamp: "2026-01-01T00:00:00.000Z" };
    const http: Io["http"] = async () => ({ status, headers: new Map(), body: chunks(JSON.stringify(body)) });
    const result = await run(["vehicle", "list"], { http });
    assert.equal(result.code, 1);
    assert.ok(result.error.includes(`\ntry:  ${hint}`), result.error);
  });
}

test("an answer that is not of the contract is refused, not shown", async () => {
  const result = await run(["fleet", "summary"], {
    http: async () => ({ status: 200, headers: new Map(), body: chunks('{"data":{"vehicles":"many"}}') }),
  });
  assert.equal(result.code, 1);
  assert.match(result.error, /does not follow the contract/);
});

test("a claim goes into a file for its owner alone, and is not shown beside it", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "muto-claim-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, "claim");
  const claim = `mct_${"A".repeat(43)}`;
  const at = "2026-01-01T00:15:00.000Z";
  const body = { data: { vehicleId: "vehicle-1", claim, expiresAt: at }, timestamp: "2026-01-01T00:00:00.000Z" };
  const http: Io["http"] = async () => ({ status: 201, headers: new Map(), body: chunks(JSON.stringify(body)) });
  assert.equal((await run(["vehicle", "claim", "vehicle-1"], { http })).out, `${claim}\n`);
  for (const output of ["table", "json"]) {
    const result = await run(["vehicle", "claim", "vehicle-1", "--out", file, "--output", output], { http });
    assert.equal(result.code, 0, result.error);
    assert.ok(result.out.includes(file) && result.out.includes(at) && !result.out.includes(claim), result.out);
  }
  assert.equal(await readFile(file, "utf8"), `${claim}\n`);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  const lost = await run(["vehicle", "claim", "vehicle-1", "--out", join(file, "inside")], { http });
  assert.equal(lost.code, 1);
  assert.match(lost.error, /cannot be written \(ENOTDIR\); the claim is lost/);
});

test("every command says what it does, and no option repeats another's name", () => {
  const names = commands.map(({ words }) => words.join(" "));
  assert.equal(new Set(names).size, names.length);
  for (const { summary } of commands) assert.match(summary, /^[A-Z].*[^.]$/);
});

async function* chunks(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
