import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Instance } from "../ports.ts";
import { runAgent } from "./test-agent.ts";
import { bench, hasEnded, isolationOf, processesRunning, processesWith, until, untilOutput } from "./test-bench.ts";

/** Waits without polling, and is woken by its traps. */
const LOOP = "echo ready\nwhile :; do sleep 1000 & wait; done\n";
/** Ends with 7 when asked by SIGINT. */
const PATIENT = `#!/bin/sh\ntrap 'exit 7' INT\n${LOOP}`;

const pidOf = (instance: Instance | undefined) => (instance?.state.kind === "running" ? instance.state.pid : 0);
const endOf = (instance: Instance | undefined) => {
  if (instance?.state.kind !== "ended") return instance;
  const { requested, code, signal } = instance.state;
  return { requested, code, signal };
};

for (const isolation of ["auto", "degraded"] as const) {
  describe(`the process runtime, isolation ${isolation}`, { concurrency: 4 }, () => {
    test("starts, shows, stops and forgets a workload", async () => {
      await using world = bench({ isolation });
      const set = world.set({ nav: PATIENT });
      const id = await world.start(set, "nav");
      await untilOutput(world.runtime, id, "ready");
      const [instance] = await world.runtime.inspect();
      assert.ok(instance);
      assert.equal(instance.instanceId, id);
      assert.equal(instance.set, set.manifestDigest);
      assert.equal(instance.workload, "nav");
      assert.equal(instance.isolation, isolationOf(isolation));
      assert.equal(instance.state.kind === "running" && instance.state.supervised, true);
      await assert.rejects(world.runtime.forget(id), /runs cannot be forgotten/);
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      assert.deepEqual(endOf(await until(world.runtime, id, hasEnded)), { requested: true, code: 7, signal: null });
      assert.deepEqual(processesWith("MUTO_INSTANCE", id), []);
      assert.deepEqual(await world.runtime.stop(id), { ok: true }, "stopping what has ended is no fault");
      await world.runtime.forget(id);
      assert.deepEqual(await world.runtime.inspect(), []);
      assert.deepEqual(await world.runtime.stop(id), { ok: true }, "nor is stopping what was forgotten");
      assert.deepEqual(
        readdirSync(world.runs).filter((name) => !name.startsWith(".")),
        [],
      );
    });

    test("H2: workloads do not notice that the agent is killed, and each next agent adopts them", async () => {
      await using world = bench({ isolation });
      const set = world.set({ nav: PATIENT, planner: PATIENT });
      const agent = runAgent({ runs: world.runs, isolation }, set, ["nav", "planner"]);
      await agent.said("all started");
      const before = await world.runtime.inspect();
      assert.deepEqual(before.map(({ workload }) => workload).toSorted(), ["nav", "planner"]);
      await agent.kill();
      assert.deepEqual(await world.another().inspect(), before);
      const last = world.another();
      assert.deepEqual(await last.inspect(), before);
      for (const { instanceId } of before) {
        await untilOutput(last, instanceId, "ready");
        assert.deepEqual(await last.stop(instanceId), { ok: true });
      }
      for (const instance of await last.inspect()) {
        assert.deepEqual(endOf(instance), { requested: true, code: 7, signal: null });
      }
    });

    test("how workloads ended while no agent was there is learnt by the next one", async () => {
      await using world = bench({ isolation });
      const gate = join(world.root, "gate");
      const wait = `#!/bin/sh\nwhile ! [ -e ${gate} ]; do sleep 0.1; done\n`;
      const set = world.set({
        code: `${wait}exit 4\n`,
        kill: `${wait}kill -KILL $$\n`,
        segv: `${wait}kill -SEGV $$\n`,
      });
      const agent = runAgent({ runs: world.runs, isolation }, set, ["code", "kill", "segv"]);
      await agent.said("all started");
      await agent.kill();
      writeFileSync(gate, "");
      const next = world.another();
      const end = async (name: string) => endOf(await until(next, `agent-${name}`, hasEnded));
      assert.deepEqual(await end("code"), { requested: false, code: 4, signal: null });
      assert.deepEqual(await end("kill"), { requested: false, code: null, signal: "SIGKILL" });
      assert.deepEqual(await end("segv"), { requested: false, code: null, signal: "SIGSEGV" });
    });

    test("a watcher is told when a workload ends by itself", async () => {
      await using world = bench({ isolation });
      const id = await world.start(world.set({ nav: PATIENT }), "nav");
      const [instance] = await world.runtime.inspect();
      const told = Promise.withResolvers<void>();
      await using _watch = world.runtime.watch(told.resolve);
      process.kill(pidOf(instance), "SIGKILL");
      await told.promise;
      const ended = await until(world.runtime, id, hasEnded);
      assert.deepEqual(endOf(ended), { requested: false, code: null, signal: "SIGKILL" });
    });

    const escalation = [
      { name: "to the declared signal", traps: "trap 'exit 7' INT", end: { code: 7, signal: null } },
      { name: "to SIGTERM after it", traps: "trap '' INT; trap 'exit 8' TERM", end: { code: 8, signal: null } },
      { name: "to nothing", traps: "trap '' INT TERM", end: { code: null, signal: "SIGKILL" } },
    ];
    for (const { name, traps, end } of escalation) {
      test(`stopping a workload that listens ${name}`, async () => {
        await using world = bench({ isolation, terminateLimitMs: 200 });
        const id = await world.start(world.set({ nav: `#!/bin/sh\n${traps}\n${LOOP}` }, { stop: QUICK_STOP }), "nav");
        await untilOutput(world.runtime, id, "ready");
        assert.deepEqual(await world.runtime.stop(id), { ok: true });
        assert.deepEqual(endOf((await world.runtime.inspect())[0]), { requested: true, ...end });
      });
    }

    test("a workload without handlers dies of the declared signal", async () => {
      await using world = bench({ isolation });
      const set = world.set({ nav: "" }, { argv: ["/bin/sleep", "1000"], stop: QUICK_STOP });
      const id = await world.start(set, "nav");
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      const [instance] = await world.runtime.inspect();
      assert.deepEqual(endOf(instance), { requested: true, code: null, signal: "SIGINT" });
    });

    test("a workload that was suspended is stopped all the same", async () => {
      await using world = bench({ isolation });
      const id = await world.start(world.set({ nav: PATIENT }), "nav");
      await untilOutput(world.runtime, id, "ready");
      process.kill(pidOf((await world.runtime.inspect())[0]), "SIGSTOP");
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      assert.deepEqual(endOf((await world.runtime.inspect())[0]), { requested: true, code: 7, signal: null });
    });

    test("a stop is carried to its end when the agent dies in the middle of it", async () => {
      await using world = bench({ isolation });
      const set = world.set({ nav: `#!/bin/sh\ntrap '' INT TERM\n${LOOP}` }, { stop: QUICK_STOP });
      const agent = runAgent({ runs: world.runs, isolation, terminateLimitMs: 200 }, set, ["nav"]);
      await agent.said("all started");
      await untilOutput(world.runtime, "agent-nav", "ready");
      agent.stopAll();
      await agent.said("stopping");
      const next = world.another();
      await until(next, "agent-nav", () => readdirSync(join(world.runs, "agent-nav")).includes("stop-requested"));
      await agent.kill();
      const ended = await until(next, "agent-nav", hasEnded);
      assert.deepEqual(endOf(ended), { requested: true, code: null, signal: "SIGKILL" });
    });

    const daemon = `( setsid sh -c 'trap "" INT TERM HUP; (sleep 1000 &); echo daemon; exec sleep 1000' & )\n`;
    test("a stop leaves nothing behind: not what forked twice, not what opened a session of its own", async () => {
      await using world = bench({ isolation });
      const id = await world.start(world.set({ nav: `#!/bin/sh\ntrap 'exit 7' INT\n${daemon}${LOOP}` }), "nav");
      await untilOutput(world.runtime, id, "daemon");
      await untilOutput(world.runtime, id, "ready");
      assert.ok(processesWith("MUTO_INSTANCE", id).length >= 3);
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      assert.deepEqual(processesWith("MUTO_INSTANCE", id), []);
    });

    test("what a workload leaves behind when it crashes is gone before it counts as ended", async () => {
      await using world = bench({ isolation });
      const id = await world.start(world.set({ nav: `#!/bin/sh\n${daemon}sleep 0.1\nexit 3\n` }), "nav");
      const ended = await until(world.runtime, id, hasEnded);
      assert.deepEqual(endOf(ended), { requested: false, code: 3, signal: null });
      assert.deepEqual(processesWith("MUTO_INSTANCE", id), []);
    });

    const refused = [
      { name: "a program that is missing", program: "#!/bin/sh\n", argv: ["nothing"], code: "ENOENT" },
      { name: "a program outside the archive", program: "", argv: ["../nav"], code: "PROGRAM_OUTSIDE_ARCHIVE" },
      { name: "the archive itself", program: "", argv: ["."], code: "PROGRAM_OUTSIDE_ARCHIVE" },
      { name: "a folder", program: "", argv: ["/tmp"], code: "EACCES" },
      { name: "a file that is no program", program: "", argv: ["/etc/passwd"], code: "EACCES" },
      { name: "a program of no known format", program: "\u0001\u0002", argv: ["nav"], code: "ENOEXEC" },
      { name: "a program of another machine", program: alienProgram(), argv: ["nav"], code: "ENOEXEC" },
      { name: "a script whose interpreter is missing", program: "#!/nothing\n", argv: ["nav"], code: "ENOENT" },
    ];
    for (const { name, program, argv, code } of refused) {
      test(`refuses to start ${name}, and leaves nothing`, async () => {
        await using world = bench({ isolation });
        const set = world.set({ nav: program }, { argv });
        const [workload] = set.manifest.workloads;
        assert.ok(workload);
        const started = await world.runtime.start(set, workload, "one");
        assert.deepEqual(started, { ok: false, problem: "start-refused", code });
        assert.deepEqual(await world.runtime.inspect(), []);
        assert.deepEqual(processesWith("MUTO_RUN", join(world.runs, "one")), []);
      });
    }

    test("an id that was used is refused, and what runs under it is left alone", async () => {
      await using world = bench({ isolation });
      const set = world.set({ nav: PATIENT });
      const id = await world.start(set, "nav");
      const before = await world.runtime.inspect();
      const [workload] = set.manifest.workloads;
      assert.ok(workload);
      const again = await world.runtime.start(set, workload, id);
      assert.deepEqual(again, { ok: false, problem: "start-refused", code: "EEXIST" });
      assert.deepEqual(await world.runtime.inspect(), before);
    });

    test("a oneshot that is over at once has been started, and has ended with 0", async () => {
      await using world = bench({ isolation });
      const id = await world.start(world.set({ calibrate: "#!/bin/sh\nexit 0\n" }, { oneshot: true }), "calibrate");
      const ended = await until(world.runtime, id, hasEnded);
      assert.deepEqual(endOf(ended), { requested: false, code: 0, signal: null });
    });

    test("a workload sees what its manifest says, and nothing of the agent", async () => {
      await using world = bench({ isolation });
      const show = "#!/bin/sh\npwd\nenv\nls -l /proc/self/fd\necho done\n";
      const set = world.set({ show }, { env: { GREETING: "hello there", ROS_DOMAIN_ID: "42" } });
      const agent = runAgent({ runs: world.runs, isolation }, set, ["show"]);
      const output = await untilOutput(world.runtime, "agent-show", "done");
      await agent.kill();
      const lines = new Set(output.split("\n"));
      assert.ok(lines.has(join(set.folder, "a".repeat(64))));
      assert.ok(lines.has("GREETING=hello there"));
      assert.ok(lines.has("ROS_DISTRO=humble"));
      assert.ok(lines.has("ROS_DOMAIN_ID=42"));
      assert.ok(lines.has("MUTO_INSTANCE=agent-show"));
      assert.ok(!output.includes("secret-of-the-agent"));
      const names = output.match(/^[A-Z_]+(?==)/gm) ?? [];
      assert.deepEqual(
        names.filter((name) => !EXPECTED_VARIABLES.has(name)),
        [],
      );
      assert.ok(!output.includes("socket:"), "no connection of the agent or the supervisor is inherited");
    });
  });
}

const QUICK_STOP = { signal: "SIGINT", limitSec: 0.2 } as const;
const EXPECTED_VARIABLES = new Set(
  "PATH HOME LANG TZ PWD OLDPWD SHLVL _ PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED ROS_DISTRO ROS_DOMAIN_ID GREETING MUTO_INSTANCE MUTO_RUN MUTO_PROBE_ADDRESS MUTO_CONFIG_HASH MUTO_SET MUTO_WORKLOAD".split(
    " ",
  ),
);

/** The first bytes of a program for a machine that nobody drives with. */
function alienProgram(): string {
  return `\u007fELF${"\u0001".repeat(14)}\u0002\u0000rest`;
}

if (isolationOf("auto") === "full") {
  test("with namespaces, not even a process with a new session and an empty environment outlives the stop", async () => {
    await using world = bench({ isolation: "auto" });
    const marker = `1000.${process.pid}`;
    const escape = `#!/bin/sh\ntrap 'exit 7' INT\n( setsid env -i sh -c 'echo escaped; exec sleep ${marker}' & )\n${LOOP}`;
    const id = await world.start(world.set({ nav: escape }), "nav");
    await untilOutput(world.runtime, id, "escaped");
    assert.deepEqual(await world.runtime.stop(id), { ok: true });
    assert.deepEqual(processesRunning(marker), []);
  });

  test("with namespaces, every workload sees its archive at the fixed prefix, and nobody else does", async () => {
    const prefix = mkdtempSync(join(tmpdir(), "muto-prefix-"));
    await using world = bench({ isolation: "auto", prefix });
    const show = `#!/bin/sh\npwd\necho "$0"\ncat ${prefix}/name\ntouch ${prefix}/x || echo refused\n`;
    for (const name of ["nav", "planner"]) {
      const set = world.set({ [name]: show, name: `${name}\n` });
      const id = await world.start(set, name);
      await until(world.runtime, id, hasEnded);
      const lines = (await untilOutput(world.runtime, id, "refused")).split("\n");
      assert.deepEqual(lines.slice(0, 3), [prefix, join(prefix, name), name]);
    }
    assert.deepEqual(readdirSync(prefix), []);
    rmdirSync(prefix);
  });

  test("with namespaces, the archive cannot be changed by what runs from it", async () => {
    await using world = bench({ isolation: "auto" });
    const id = await world.start(
      world.set({ nav: "#!/bin/sh\ntouch new || echo refused\necho x > nav || echo refused\n" }),
      "nav",
    );
    await until(world.runtime, id, hasEnded);
    assert.equal((await untilOutput(world.runtime, id, "refused")).match(/^refused$/gm)?.length, 2);
  });
}
