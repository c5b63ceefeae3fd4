import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { isolationOf } from "./test-bench.ts";

/** Runs where RUNS is a small disk of its own: starts a workload, fills the disk to the last byte, and goes on. */
const PROGRAM = String.raw`
const [here, runs, isolation] = process.argv.slice(1);
const { openSync, writeSync, rmSync } = await import("node:fs");
const { bench, hasEnded, optionsFor, until } = await import(here + "/test-bench.ts");
const { ProcessRuntime } = await import(here + "/process-runtime.ts");
const world = bench();
const set = world.set({ nav: "#!/bin/sh\ntrap 'exit 7' INT\nwhile :; do echo alive; sleep 0.02; done\n" });
const [workload] = set.manifest.workloads;
const runtime = new ProcessRuntime({ ...optionsFor(runs), isolation });
const seen = {};
seen.first = await runtime.start(set, workload, "first");
seen.zeroth = await runtime.start(set, workload, "zeroth");
await runtime.stop("zeroth");
const fd = openSync(runs + "/recording", "w");
const bytes = Buffer.alloc(512);
try { for (;;) writeSync(fd, bytes); } catch (error) { seen.full = error.code; }
seen.stopped = await runtime.stop("first");
seen.second = await runtime.start(set, workload, "second");
process.kill(supervisorOf("second"), "SIGKILL");
const orphan = await until(runtime, "second", ({ state }) => state.kind === "running" && !state.supervised);
seen.identity = [orphan.set === set.manifestDigest, orphan.workload];
await runtime.forget("zeroth");
seen.third = await runtime.start(set, workload, "third");
const next = new ProcessRuntime({ ...optionsFor(runs), isolation });
seen.stops = [await next.stop("second"), await next.stop("third")];
seen.ends = [];
for (const id of ["first", "second", "third"]) seen.ends.push((await until(next, id, hasEnded)).state.code);
rmSync(runs + "/recording");
for (const id of ["first", "second", "third"]) await next.forget(id);
await runtime[Symbol.asyncDispose]();
await next[Symbol.asyncDispose]();
await world[Symbol.asyncDispose]();
console.log(JSON.stringify(seen));
function supervisorOf(id) {
  return Number.parseInt(process.getBuiltinModule("node:fs").readlinkSync(runs + "/" + id + "/owner.1"), 10);
}
`;

if (isolationOf("auto") === "full") {
  for (const isolation of ["auto", "degraded"]) {
    test(`H8: on a full disk workloads are started, adopted and stopped, isolation ${isolation}`, async () => {
      const runs = mkdtempSync(join(tmpdir(), "muto-full-"));
      const mounted = `mount -t tmpfs -o size=400k tmpfs "$0" && exec "$@"`;
      const user = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
      const node = [process.execPath, "--input-type=module", "-e", PROGRAM, import.meta.dirname, runs, isolation];
      const { stdout, stderr } = await promisify(execFile)(
        "unshare",
        [...user, "--mount", "sh", "-c", mounted, runs, ...node],
        {
          timeout: 60_000,
        },
      );
      rmSync(runs, { recursive: true });
      assert.equal(stderr, "");
      assert.deepEqual(JSON.parse(stdout), {
        first: { ok: true },
        zeroth: { ok: true },
        full: "ENOSPC",
        stopped: { ok: true },
        second: { ok: true },
        identity: [true, "nav"],
        third: { ok: true },
        stops: [{ ok: true }, { ok: true }],
        ends: [7, null, 7],
      });
    });
  }
}
