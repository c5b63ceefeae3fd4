import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { lockAgentState } from "./agent-lock.ts";

const HOLDER = `
import { spawn } from "node:child_process";
const { lockAgentState } = await import(process.argv[1]);
const lock = await lockAgentState(process.argv[2]);
// A workload that outlives the agent must not keep the next agent out.
const workload = spawn("sleep", ["1000"], { detached: true, stdio: "ignore" });
console.log(lock.ok, workload.pid);
setInterval(() => {}, 1000);
`;

test("one agent at a time works with a state folder, and a dead one leaves no lock behind", async () => {
  const folder = await mkdtemp(join(tmpdir(), "muto-lock-"));
  const module = new URL("./agent-lock.ts", import.meta.url).href;
  const holder = spawn(process.execPath, ["--input-type=module", "-e", HOLDER, module, folder]);
  const [words] = await once(holder.stdout, "data");
  const [locked, workload] = String(words).trim().split(" ");
  assert.equal(locked, "true");
  assert.deepEqual(await lockAgentState(folder), { ok: false, problem: "held", pid: holder.pid });

  holder.kill("SIGKILL");
  await once(holder, "exit");
  const next = await lockAgentState(folder);
  process.kill(Number(workload), "SIGKILL");
  assert.ok(next.ok);
  assert.deepEqual(await lockAgentState(folder), { ok: false, problem: "held", pid: process.pid });
  await next.lock[Symbol.asyncDispose]();
  const again = await lockAgentState(folder);
  assert.ok(again.ok);
  await again.lock[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
