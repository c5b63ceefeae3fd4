import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemDisk } from "@muto/kit/disk";
import { lockAgentState, type AgentLockOptions } from "./agent-lock.ts";
import { procTable } from "./process-table.ts";

const BOOT_ID = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
const disk = systemDisk();

const HOLDER = `
const [lock, table, disk] = await Promise.all(process.argv.slice(1, 4).map((path) => import(path)));
const options = { disk: disk.systemDisk(), processes: table.procTable(), bootId: process.argv[4], stateDir: process.argv[5] };
console.log((await lock.lockAgentState(options)).ok);
setInterval(() => {}, 1000);
`;

async function folder(): Promise<{ readonly options: AgentLockOptions } & AsyncDisposable> {
  const stateDir = await mkdtemp(join(tmpdir(), "muto-lock-"));
  const options = { disk, processes: procTable(), bootId: BOOT_ID, stateDir };
  return { options, [Symbol.asyncDispose]: () => rm(stateDir, { recursive: true }) };
}

test("one agent at a time works with a state folder, and a dead one leaves no lock behind", async () => {
  await using world = await folder();
  const { options } = world;
  const modules = ["./agent-lock.ts", "./process-table.ts", "../../kit/disk.ts"].map(
    (path) => new URL(path, import.meta.url).href,
  );
  const arguments_ = ["--input-type=module", "-e", HOLDER, ...modules, BOOT_ID, options.stateDir];
  const holder = spawn(process.execPath, arguments_);
  const [words] = await once(holder.stdout, "data");
  assert.equal(String(words).trim(), "true");
  assert.deepEqual(await lockAgentState(options), { ok: false, problem: "held", pid: holder.pid });

  holder.kill("SIGKILL");
  await once(holder, "exit");
  const next = await lockAgentState(options);
  assert.ok(next.ok);
  assert.deepEqual(await lockAgentState(options), { ok: false, problem: "held", pid: process.pid });
  assert.equal(readdirSync(options.stateDir).length, 1, "the dead one's name is gone");
  await next.lock[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(options.stateDir), []);
});

test("a name of an earlier boot, or of a process whose number another one has now, keeps nobody out", async () => {
  await using world = await folder();
  const { options } = world;
  const earlier = "00000000-0000-4000-8000-000000000000";
  await disk.symlink("agent", join(options.stateDir, `owner-${process.pid}-1-${BOOT_ID}`));
  await disk.symlink("agent", join(options.stateDir, `owner-1-1-${earlier}`));
  const locked = await lockAgentState(options);
  assert.ok(locked.ok);
  assert.equal(readdirSync(options.stateDir).length, 1);
});

test("of many that start at the same moment never do two go on", async () => {
  for (let round = 0; round < 20; round++) {
    await using world = await folder();
    const alive = { isAlive: async () => true };
    const outcomes = await Promise.all(
      Array.from({ length: 5 }, (_, index) =>
        lockAgentState({ ...world.options, processes: alive, self: { pid: 100 + index, startTicks: round } }),
      ),
    );
    assert.ok(outcomes.filter(({ ok }) => ok).length <= 1);
  }
});
