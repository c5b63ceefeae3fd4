import assert from "node:assert/strict";
import { test } from "node:test";
import { isPlainPath, parseExit, parseShow, systemdRunArguments, type UnitPlan } from "./unit.ts";

const plan: UnitPlan = {
  instanceId: "01",
  description: "nav of a Muto stack",
  program: "/state/sets/a/bin/nav",
  args: ["$HOME", "plain"],
  env: { COLOUR: "$green" },
  archive: "/state/sets/a",
  prefix: "/opt/stack",
  paramsFolder: "/state/sets/native/nav/params",
  resources: { memoryMb: 64, cpus: 1.5, pids: 20 },
  stop: { signal: "SIGINT", limitSec: 15 },
  exitFile: "/state/units/01.exit",
};

const properties = (changes: Partial<UnitPlan> = {}) =>
  systemdRunArguments({ ...plan, ...changes }).flatMap((one) => /^--property=(.*)$/.exec(one)?.[1] ?? []);

test("a unit is stopped as declared, never restarted, and held to its limits", () => {
  const has = properties();
  for (const property of [
    "KillSignal=SIGINT",
    "KillMode=mixed",
    "TimeoutStopSec=15",
    "Restart=no",
    "NoNewPrivileges=yes",
    "MemoryMax=64M",
    "CPUQuota=150%",
    "TasksMax=20",
    "BindReadOnlyPaths=/state/sets/a:/opt/stack",
    "BindReadOnlyPaths=/state/sets/native/nav/params",
    "WorkingDirectory=/opt/stack",
  ]) {
    assert.ok(has.includes(property), property);
  }
  assert.deepEqual(
    properties({ resources: {} }).filter((property) => /^(MemoryMax|CPUQuota|TasksMax)/.test(property)),
    [],
  );
});

test("the program is the one at the prefix, and systemd puts no variables into its arguments", () => {
  const args = systemdRunArguments(plan);
  assert.deepEqual(args.slice(args.indexOf("--") + 1), [
    "/bin/sh",
    "-c",
    'exec "$$0" "$$@"',
    "/opt/stack/bin/nav",
    "$$HOME",
    "plain",
  ]);
  const elsewhere = systemdRunArguments({ ...plan, program: "/usr/bin/env" });
  assert.deepEqual(elsewhere.slice(elsewhere.indexOf("--") + 1), ["/usr/bin/env", "$$HOME", "plain"]);
});

const exits = [
  ["exited 0 1000\n", { code: 0, signal: null, atMs: 1_000_000 }],
  ["exited 203 1000\n", { code: 203, signal: null, atMs: 1_000_000 }],
  ["killed KILL 1000\n", { code: null, signal: "SIGKILL", atMs: 1_000_000 }],
  ["dumped SEGV 1000\n", { code: null, signal: "SIGSEGV", atMs: 1_000_000 }],
  ["exited 0 1000", undefined],
  ["exited 0\n", undefined],
  ["", undefined],
  ["killed ../x 1\n", undefined],
] as const;
for (const [text, exit] of exits) {
  test(`an end that is written down as ${JSON.stringify(text)}`, () => assert.deepEqual(parseExit(text), exit));
}

test("what systemctl shows of several units, known or not", () => {
  const shown =
    "MainPID=7\nId=muto-a.service\nActiveState=active\n\nMainPID=0\nId=muto-b.service\nActiveState=inactive\n";
  assert.deepEqual(
    [...parseShow(shown)],
    [
      ["muto-a.service", { isAlive: true, pid: 7 }],
      ["muto-b.service", { isAlive: false, pid: 0 }],
    ],
  );
  assert.deepEqual([...parseShow("garbage\n\n=\n")], []);
});

test("only paths that mean themselves become properties", () => {
  for (const path of ["/var/lib/muto/sets/a", "/opt/a-b_c.d"]) assert.equal(isPlainPath(path), true);
  for (const path of ["relative", "/a b", "/a:b", "/a%h", "/a'", "/a$b", "/", ""])
    assert.equal(isPlainPath(path), false);
});
