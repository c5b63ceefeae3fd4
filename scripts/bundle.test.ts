import assert from "node:assert/strict";
import { test } from "node:test";
import { bundle, processStarters } from "./bundle.ts";

test("the confined agent holds nothing that starts a process", async () => {
  const agent = await bundle("agent/confined.ts");
  assert.deepEqual(processStarters(agent), []);
  assert.ok(agent.builtins.includes("crypto") && agent.code.length > 100_000, "it is the whole agent");
});

test("a program that starts processes is told from it", async () => {
  const native = await bundle("agent/runtime/native-runtime.ts");
  assert.ok(processStarters(native).includes("child_process"));
});
