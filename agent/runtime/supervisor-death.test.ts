import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { jsonLogger, type Logger } from "@muto/kit/logger";
import { runAgent } from "./test-agent.ts";
import { bench, processesWith, untilOutput, type Bench } from "./test-bench.ts";

/** Waits without polling, and ends with 7 when asked by SIGINT. */
const PATIENT = "#!/bin/sh\ntrap 'exit 7' INT\necho ready\nwhile :; do sleep 1000 & wait; done\n";
const QUICK_STOP = { signal: "SIGINT", limitSec: 0.2 } as const;
const PROGRAM = readFileSync(join(import.meta.dirname, "supervisor.mjs"), "utf8");

/** A supervisor's program that dies so many times without a word, counting in the file, and then is the real one. */
function mortal(world: Bench, deaths: number, death: string): string {
  const file = join(world.root, "mortal.mjs");
  const counter = JSON.stringify(join(world.root, "deaths"));
  const real = JSON.stringify(join(import.meta.dirname, "supervisor.mjs"));
  const program = `
    import { appendFileSync, existsSync, readFileSync } from "node:fs";
    const deaths = existsSync(${counter}) ? readFileSync(${counter}).length : 0;
    if (process.argv[2] === "start" && deaths < ${deaths}) { appendFileSync(${counter}, "x"); ${death} }
    await import(${real});`;
  writeFileSync(file, program);
  return file;
}

function memoryLogger(): { readonly logger: Logger; readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string) => void lines.push({ ...JSON.parse(line) });
  return { logger: jsonLogger({ write, level: "debug", clock: systemClock() }), lines };
}

const deaths = [
  {
    name: "by a signal",
    death: 'process.kill(process.pid, "SIGKILL");',
    exitCode: null,
    signal: "SIGKILL",
    words: /^$/,
  },
  { name: "by a fault", death: 'throw new Error("no luck today");', exitCode: 1, signal: null, words: /no luck today/ },
  {
    name: "after it began a workload",
    death: `const { spawn } = await import("node:child_process");
      spawn("/bin/sleep", ["1000"], { detached: true, stdio: "ignore", env: { MUTO_RUN: process.cwd() } });
      process.exit(3);`,
    exitCode: 3,
    signal: null,
    words: /^$/,
  },
];
for (const { name, death, exitCode, signal, words } of deaths) {
  test(`a supervisor that dies ${name} before it says a word is told of, and tried again`, async () => {
    const { logger, lines } = memoryLogger();
    await using world = bench({ logger });
    const runtime = world.another({ logger, supervisorFile: mortal(world, 2, death) });
    const set = world.set({ nav: PATIENT });
    const [workload] = set.manifest.workloads;
    assert.ok(workload);
    assert.deepEqual(await runtime.start(set, workload, "one"), { ok: true });
    await untilOutput(runtime, "one", "ready");
    const told = lines.filter(({ message }) => message === "supervisor died before it said whether its workload runs");
    assert.deepEqual(
      told.map((line) => ({ exitCode: line["exitCode"], signal: line["signal"], triesLeft: line["triesLeft"] })),
      [2, 1].map((triesLeft) => ({ exitCode, signal, triesLeft })),
    );
    for (const line of told) assert.match(String(line["lastWords"]), words);
    const [instance] = await runtime.inspect();
    assert.equal(instance?.state.kind === "running" && instance.state.supervised, true);
    const bearers = processesWith("MUTO_RUN", join(world.runs, "one"));
    assert.deepEqual(await runtime.stop("one"), { ok: true });
    assert.ok(bearers.length > 0);
    assert.deepEqual(processesWith("MUTO_RUN", join(world.runs, "one")), []);
  });
}

test("a start is refused when supervisors keep dying, and nothing is left of it", async () => {
  await using world = bench();
  const runtime = world.another({ supervisorFile: mortal(world, 100, "process.exit(1);") });
  const set = world.set({ nav: PATIENT });
  const [workload] = set.manifest.workloads;
  assert.ok(workload);
  const refused = { ok: false, problem: "start-refused", code: "SUPERVISOR_DIED" };
  assert.deepEqual(await runtime.start(set, workload, "one"), refused);
  assert.equal(readFileSync(join(world.root, "deaths"), "utf8").length, 3);
  assert.deepEqual(await runtime.inspect(), []);
});

test("a supervisor that dies or hangs before it says a word is no start, and leaves nothing", async () => {
  for (const [program, answer] of [
    [
      "if (process.argv[2] === 'start') process.exit(1);",
      { ok: false, problem: "start-refused", code: "SUPERVISOR_DIED" },
    ],
    [
      "if (process.argv[2] === 'start') await new Promise(() => setInterval(() => {}, 1000));",
      { ok: false, problem: "start-timeout", code: "START_TIMEOUT" },
    ],
    [
      PROGRAM.replace(
        'tell("running");',
        "if (mode === 'start') process.kill(process.pid, 'SIGKILL'); tell('running');",
      ),
      { ok: false, problem: "start-refused", code: "SUPERVISOR_DIED" },
    ],
  ] as const) {
    await using world = bench({ terminateLimitMs: 100, startLimitMs: 1_000 });
    const supervisorFile = join(world.root, "other-supervisor.mjs");
    // The supervisor that takes over what was left is the real one.
    writeFileSync(supervisorFile, program.includes("import ") ? program : `${program}\n${PROGRAM}`);
    const set = world.set({ nav: PATIENT }, { stop: QUICK_STOP });
    const [workload] = set.manifest.workloads;
    assert.ok(workload);
    const next = world.another({ supervisorFile });
    assert.deepEqual(await next.start(set, workload, "one"), answer);
    assert.deepEqual(await next.inspect(), []);
    assert.deepEqual(processesWith("MUTO_RUN", join(world.runs, "one")), []);
    rmSync(supervisorFile);
  }
});

for (const how of ["was read", "could not be recorded"] as const) {
  test(`a supervisor leaves when somebody removes the folder of an instance whose end ${how}`, async () => {
    await using world = bench();
    const id = await world.start(world.set({ nav: PATIENT }), "nav");
    const folder = join(world.runs, id);
    const supervisor = world.supervisorOf(id);
    if (how === "could not be recorded") mkdirSync(join(folder, "exit.json~"));
    assert.deepEqual(await world.runtime.stop(id), { ok: true });
    while (how === "was read" && !existsSync(join(folder, "exit.json"))) await systemClock().sleep(5);
    rmSync(folder, { recursive: true });
    while (existsSync(`/proc/${supervisor}`)) await systemClock().sleep(20);
    assert.deepEqual(await world.runtime.inspect(), []);
  });
}

test("a forgotten instance's folder is free: no process of it is left that could write there", async () => {
  await using world = bench();
  const set = world.set({ nav: "#!/bin/sh\nexit 3\n" });
  for (let round = 0; round < 10; round++) {
    const id = await world.start(set, "nav");
    const supervisor = world.supervisorOf(id);
    await world.runtime.stop(id);
    await world.runtime.forget(id);
    const state = existsSync(`/proc/${supervisor}`) ? readFileSync(`/proc/${supervisor}/stat`, "utf8") : "";
    assert.match(state, /^$|\) Z /);
  }
});

test("who looks while an agent starts workloads does not disturb it, and neither does who looks while they are forgotten", async () => {
  await using world = bench();
  const names = ["lidar", "planner", "controller"];
  const set = world.set(Object.fromEntries(names.map((name) => [name, PATIENT])));
  const agent = runAgent({ runs: world.runs }, set, names);
  let looks = 0;
  let hasStarted = false;
  const looking = (async () => {
    for (; !hasStarted; looks++) await world.runtime.inspect();
  })();
  await agent.said("all started");
  hasStarted = true;
  await looking;
  assert.ok(looks > 0);
  const found = await world.runtime.inspect();
  assert.deepEqual(found.map(({ workload }) => workload).toSorted(), names.toSorted());
  await agent.kill();
  for (const { instanceId } of found) await world.runtime.stop(instanceId);
  const other = world.another();
  const forgetting = Promise.all(found.map(async ({ instanceId }) => await world.runtime.forget(instanceId)));
  let isForgotten = false;
  void forgetting.finally(() => (isForgotten = true));
  while (!isForgotten) {
    for (const { state } of await other.inspect()) assert.ok(state.kind === "ended" && state.code === 7);
  }
  await forgetting;
  assert.deepEqual(await other.inspect(), []);
});
