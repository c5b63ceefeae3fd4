import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import type { Instance } from "../ports.ts";
import { supervisorSpawner } from "./supervisor-process.ts";
import { runAgent } from "./test-agent.ts";
import { bench, hasEnded, isolationOf, processesWith, until, untilOutput, type Bench } from "./test-bench.ts";

/** Waits without polling, and is woken by its traps. */
const LOOP = "echo ready\nwhile :; do sleep 1000 & wait; done\n";
/** Ends with 7 when asked by SIGINT. */
const PATIENT = `#!/bin/sh\ntrap 'echo asked; exit 7' INT\n${LOOP}`;
/** Writes all the time. */
const TALKATIVE = "#!/bin/sh\necho ready\nwhile :; do echo alive; sleep 0.02; done\n";
const QUICK_STOP = { signal: "SIGINT", limitSec: 0.2 } as const;
const PROGRAM = readFileSync(join(import.meta.dirname, "supervisor.mjs"), "utf8");

const pidOf = (instance: Instance | undefined) => (instance?.state.kind === "running" ? instance.state.pid : 0);
const isUnsupervised = ({ state }: Instance) => state.kind === "running" && !state.supervised;
const endOf = (instance: Instance | undefined) => {
  if (instance?.state.kind !== "ended") return instance;
  const { requested, code, signal } = instance.state;
  return { requested, code, signal };
};
const lost = (requested: boolean) => ({ requested, code: null, signal: null });

async function started(world: Bench, program = PATIENT): Promise<{ id: string; before: Instance; folder: string }> {
  const id = await world.start(world.set({ nav: program }, { stop: QUICK_STOP }), "nav");
  await untilOutput(world.runtime, id, "ready");
  const before = (await world.runtime.inspect()).find(({ instanceId }) => instanceId === id);
  assert.ok(before);
  return { id, before, folder: join(world.runs, id) };
}

for (const isolation of ["auto", "degraded"] as const) {
  describe(`supervisors, isolation ${isolation}`, { concurrency: 4 }, () => {
    test("a workload survives the death of its supervisor, is marked, and its end is noticed, if not how", async () => {
      await using world = bench({ isolation });
      const { id, before } = await started(world, TALKATIVE);
      process.kill(world.supervisorOf(id), "SIGKILL");
      await untilOutput(world.runtime, id, `${await untilOutput(world.runtime, id, "ready")}alive\n`);
      const after = await until(world.runtime, id, isUnsupervised);
      assert.deepEqual(after, { ...before, state: { kind: "running", pid: pidOf(before), supervised: false } });
      assert.deepEqual(await world.another().inspect(), [after], "and the next agent sees the same");
      process.kill(pidOf(after), "SIGKILL");
      assert.deepEqual(endOf(await until(world.runtime, id, hasEnded)), lost(false));
      assert.deepEqual(processesWith("MUTO_RUN", join(world.runs, id)), []);
    });

    test("a workload without its first supervisor is stopped as it was declared", async () => {
      await using world = bench({ isolation });
      const { id } = await started(world);
      process.kill(world.supervisorOf(id), "SIGKILL");
      assert.deepEqual(await world.another().stop(id), { ok: true });
      await untilOutput(world.runtime, id, "asked");
      assert.deepEqual(endOf((await world.runtime.inspect())[0]), lost(true));
      assert.deepEqual(processesWith("MUTO_RUN", join(world.runs, id)), []);
    });

    test("a stop is carried to its end when the supervisor dies in the middle of it", async () => {
      await using world = bench({ isolation, terminateLimitMs: 100 });
      const { id, folder } = await started(world, `#!/bin/sh\ntrap 'echo asked' INT\ntrap '' TERM\n${LOOP}`);
      const stopping = world.runtime.stop(id);
      await untilOutput(world.runtime, id, "asked");
      assert.ok(existsSync(join(folder, "stop-requested")));
      process.kill(world.supervisorOf(id), "SIGKILL");
      assert.deepEqual(await stopping, { ok: true });
      assert.deepEqual(endOf((await world.runtime.inspect())[0]), lost(true));
      assert.deepEqual(processesWith("MUTO_RUN", folder), []);
    });

    test("a supervisor that hangs is replaced when its workload has to be stopped", async () => {
      await using world = bench({ isolation, answerLimitMs: 100 });
      const { id, before } = await started(world);
      process.kill(world.supervisorOf(id), "SIGSTOP");
      assert.deepEqual(await world.runtime.inspect(), [before]);
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      assert.deepEqual(endOf((await world.runtime.inspect())[0]), lost(true));
    });

    test("a supervisor leaves with the computer, but not before its workload", async () => {
      await using world = bench({ isolation });
      const { id } = await started(world);
      const supervisor = world.supervisorOf(id);
      for (const signal of ["SIGINT", "SIGHUP", "SIGTERM"]) process.kill(supervisor, signal);
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      assert.deepEqual(endOf((await world.runtime.inspect())[0]), { requested: true, code: 7, signal: null });
      while (existsSync(`/proc/${supervisor}`)) await systemClock().sleep(5);
    });

    test("an exit that cannot be written is remembered, told, and written later", async () => {
      await using world = bench({ isolation });
      const { id, before, folder } = await started(world);
      mkdirSync(join(folder, "exit.json~"));
      process.kill(pidOf(before), "SIGKILL");
      const ended = await until(world.runtime, id, hasEnded);
      assert.deepEqual(endOf(ended), { requested: false, code: null, signal: "SIGKILL" });
      assert.deepEqual(await world.another().inspect(), [ended]);
      rmdirSync(join(folder, "exit.json~"));
      while (!existsSync(join(folder, "exit.json"))) await systemClock().sleep(20);
      process.kill(world.supervisorOf(id), "SIGKILL");
      assert.deepEqual(await world.another().inspect(), [ended]);
    });

    test("an agent that is killed while it starts a workload leaves a truth that the next one finds", async () => {
      await using world = bench({ isolation });
      const witness = join(world.root, "starts");
      const set = world.set({ nav: `#!/bin/sh\necho "$MUTO_INSTANCE" >> ${witness}\n${LOOP}` }, { stop: QUICK_STOP });
      for (const delayMs of [0, 25, 50, 75, 110]) {
        writeFileSync(witness, "");
        const agent = runAgent({ runs: world.runs, isolation }, set, ["nav"]);
        await agent.said("begin");
        await systemClock().sleep(delayMs);
        await agent.kill();
        const next = world.another();
        const found = await next.inspect();
        for (const { instanceId } of found) {
          assert.equal(instanceId, "agent-nav");
          await untilOutput(next, instanceId, "ready");
          assert.deepEqual(await next.stop(instanceId), { ok: true });
          await next.forget(instanceId);
        }
        // What was not found must not appear afterwards either: the folder is gone, and so is who might have started it.
        assert.deepEqual(processesWith("MUTO_RUN", join(world.runs, "agent-nav")), []);
        assert.equal(existsSync(join(world.runs, "agent-nav")), false);
        assert.equal(readFileSync(witness, "utf8"), "agent-nav\n".repeat(found.length));
      }
    });
  });

  describe(`run folders, isolation ${isolation}`, { concurrency: 4 }, () => {
    test("damaged records do not matter while the supervisor lives", async () => {
      await using world = bench({ isolation });
      const { id, before, folder } = await started(world);
      for (const name of ["state.json", "spec.json", "seen.json", "supervisor.mjs"]) {
        writeFileSync(join(folder, name), "\u0000{torn");
      }
      const next = world.another();
      assert.deepEqual(await next.inspect(), [before]);
      assert.deepEqual(await next.stop(id), { ok: true });
      assert.deepEqual(endOf((await next.inspect())[0]), { requested: true, code: 7, signal: null });
    });

    for (const names of [["state.json"], ["spec.json"], ["state.json", "spec.json", "supervisor.mjs"]]) {
      test(`a workload whose supervisor died is found with a damaged ${names.join(" and ")}`, async () => {
        await using world = bench({ isolation });
        const { id, before, folder } = await started(world);
        process.kill(world.supervisorOf(id), "SIGKILL");
        for (const name of names) writeFileSync(join(folder, name), "\u0000{torn");
        const next = world.another({ terminateLimitMs: 100 });
        const [found] = await next.inspect();
        assert.ok(found);
        assert.equal(found.instanceId, id);
        assert.equal(found.set, before.set);
        assert.equal(found.workload, before.workload);
        assert.equal(found.configHash, before.configHash);
        assert.deepEqual(found.state, { kind: "running", pid: pidOf(before), supervised: false });
        assert.deepEqual(await next.stop(id), { ok: true });
        await untilOutput(next, id, "asked");
        assert.deepEqual(processesWith("MUTO_RUN", folder), []);
      });
    }

    test("a damaged record of the end is an end that was lost", async () => {
      await using world = bench({ isolation });
      const { id, folder } = await started(world);
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      await world.runtime[Symbol.asyncDispose]();
      process.kill(world.supervisorOf(id), "SIGKILL");
      while (existsSync(`/proc/${world.supervisorOf(id)}`)) await systemClock().sleep(5);
      writeFileSync(join(folder, "exit.json"), "{");
      const next = world.another();
      const [found] = await next.inspect();
      assert.deepEqual(endOf(found), lost(true));
      assert.deepEqual(await world.another().inspect(), [found], "and is told in the same way again");
      await next.forget(id);
      assert.equal(existsSync(folder), false);
    });

    test("a folder of an earlier boot tells of an end that was lost, whatever has its numbers now", async () => {
      await using world = bench({ isolation });
      const { id, folder, before } = await started(world);
      process.kill(world.supervisorOf(id), "SIGKILL");
      const old = "00000000-0000-4000-8000-000000000000";
      const owner = readlinkSync(join(folder, "owner.1"));
      const later = join(world.runs, "earlier-boot");
      mkdirSync(later);
      symlinkSync(owner.replace(before.bootId, old), join(later, "owner.1"));
      const state = readFileSync(join(folder, "state.json"), "utf8")
        .replace(before.bootId, old)
        .replaceAll(id, "earlier-boot");
      writeFileSync(join(later, "state.json"), state);
      const found = (await world.another().inspect()).find(({ instanceId }) => instanceId === "earlier-boot");
      assert.deepEqual(endOf(found), lost(false));
      assert.equal(found?.bootId, old);
      await world.another().stop("earlier-boot");
      await world.another().forget("earlier-boot");
      await until(world.runtime, id, isUnsupervised);
    });
  });
}

for (const isolation of ["auto", "degraded"] as const) {
  test(`state behind a symbolic link is no other state, isolation ${isolation}`, async () => {
    await using world = bench({ isolation });
    mkdirSync(world.runs);
    const alias = join(world.root, "alias");
    symlinkSync(world.runs, alias);
    const daemon = `( setsid sh -c 'trap "" INT; echo daemon; sleep 1000' & )\n`;
    const set = world.set({ nav: `#!/bin/sh\ntrap 'exit 7' INT\n${daemon}${LOOP}` }, { stop: QUICK_STOP });
    const [workload] = set.manifest.workloads;
    assert.ok(workload);
    const other = world.another({ runs: alias });
    for (const id of ["one", "two"]) {
      assert.deepEqual(await other.start(set, workload, id), { ok: true });
      await untilOutput(other, id, "daemon");
      await untilOutput(other, id, "ready");
    }
    assert.deepEqual(await world.runtime.inspect(), await other.inspect());
    process.kill(world.supervisorOf("two"), "SIGKILL");
    await until(other, "two", isUnsupervised);
    for (const id of ["one", "two"]) {
      assert.deepEqual(await other.stop(id), { ok: true });
      assert.deepEqual(processesWith("MUTO_RUN", join(world.runs, id)), []);
    }
  });
}

test("a stack whose state was removed under it is found, so that no second one is started beside it", async () => {
  await using world = bench();
  const { id, before } = await started(world);
  const first = world.supervisorOf(id);
  rmSync(world.runs, { recursive: true });
  const next = world.another();
  const [found] = await next.inspect();
  assert.deepEqual(found, {
    ...before,
    startedAtMs: found?.startedAtMs,
    isolation: found?.isolation,
    state: { kind: "running", pid: pidOf(before), supervised: false },
  });
  assert.deepEqual(await next.stop(id), { ok: true });
  assert.deepEqual(endOf((await next.inspect())[0]), lost(true));
  while (existsSync(`/proc/${first}`)) await systemClock().sleep(20);
});

describe("half-made run folders", () => {
  test("are cleaned, and nothing starts in them any more", async () => {
    await using world = bench();
    const set = world.set({ nav: PATIENT });
    const id = await world.start(set, "nav");
    for (const name of ["empty", "with-program"]) mkdirSync(join(world.runs, name));
    writeFileSync(join(world.runs, "with-program", "supervisor.mjs"), PROGRAM);
    writeFileSync(join(world.runs, "stray-file"), "");
    assert.deepEqual(
      (await world.runtime.inspect()).map(({ instanceId }) => instanceId),
      [id],
    );
    const left = readdirSync(world.runs).filter((name) => !name.startsWith("."));
    assert.deepEqual(left.toSorted(), [id, "stray-file"].toSorted());
  });

  test("a supervisor that comes too late finds its folder taken, and starts nothing", async () => {
    await using world = bench();
    const folder = join(world.runs, "late");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "supervisor.mjs"), PROGRAM);
    symlinkSync("abandoned", join(folder, "owner.1"));
    const witness = join(world.root, "witness");
    const order = {
      instanceId: "late",
      set: "sha256:s",
      workload: "nav",
      configHash: "",
      bootId: "",
      startedAtMs: 0,
      program: "/usr/bin/touch",
      args: [witness],
      env: {},
      cwd: "/",
      isolation: "degraded",
      stop: { signal: "SIGINT", limitMs: 1, terminateLimitMs: 1 },
      output: { segmentBytesMax: 1_000, texts: [] },
    } as const;
    const spawner = supervisorSpawner(process.execPath, systemClock());
    assert.deepEqual(await spawner.start(folder, order, 10_000), { kind: "refused", code: "OWNED" });
    assert.equal(existsSync(witness), false);
    unlinkSync(join(folder, "owner.1"));
    assert.deepEqual(await spawner.start(folder, order, 10_000), { kind: "running" });
    await until(world.runtime, "late", hasEnded);
    assert.equal(existsSync(witness), true);
  });
});

describe("supervisors of other versions", () => {
  const versions = [
    { name: "newer, that still knows our protocol", min: 1, max: 7, end: { requested: true, code: 7, signal: null } },
    { name: "newer, that does not know it any more", min: 6, max: 7, end: lost(true) },
    { name: "older, that we do not know any more", min: 0, max: 0, end: lost(true) },
  ];
  for (const { name, min, max, end } of versions) {
    test(`${name}: its workload is adopted and can be stopped`, async () => {
      await using world = bench();
      const supervisorFile = join(world.root, "other-supervisor.mjs");
      const program = PROGRAM.replace("PROTOCOL_MIN = 1", `PROTOCOL_MIN = ${min}`)
        .replace("PROTOCOL_MAX = 1", `PROTOCOL_MAX = ${max}`)
        .replace('muto: "supervisor",', 'muto: "supervisor", added: { later: [1, 2, 3] },');
      assert.ok(program.includes(`PROTOCOL_MIN = ${min};`) && program.includes("later"));
      writeFileSync(supervisorFile, program);
      const set = world.set({ nav: PATIENT }, { stop: QUICK_STOP });
      const [workload] = set.manifest.workloads;
      assert.ok(workload);
      assert.deepEqual(await world.another({ supervisorFile }).start(set, workload, "one"), { ok: true });
      await untilOutput(world.runtime, "one", "ready");
      const [instance] = await world.runtime.inspect();
      assert.equal(instance?.state.kind === "running" && instance.state.supervised, true);
      assert.deepEqual(await world.runtime.stop("one"), { ok: true });
      await untilOutput(world.runtime, "one", "asked");
      assert.deepEqual(endOf((await world.runtime.inspect())[0]), end);
    });
  }
});

test("a kernel that lists no children is searched for them", async () => {
  await using world = bench();
  const supervisorFile = join(world.root, "other-supervisor.mjs");
  writeFileSync(supervisorFile, PROGRAM.replace("/task/${pid}/children", "/task/${pid}/nothing"));
  const runtime = world.another({ supervisorFile });
  const set = world.set({ nav: PATIENT }, { stop: QUICK_STOP });
  const [workload] = set.manifest.workloads;
  assert.ok(workload);
  assert.deepEqual(await runtime.start(set, workload, "one"), { ok: true });
  assert.equal((await runtime.inspect())[0]?.isolation, isolationOf("auto"));
  await untilOutput(runtime, "one", "ready");
  assert.deepEqual(await runtime.stop("one"), { ok: true });
  assert.deepEqual(endOf((await runtime.inspect())[0]), { requested: true, code: 7, signal: null });
});

if (isolationOf("auto") === "full") {
  test("with namespaces: who kills the process that waits for the workload loses its exit status, nothing else", async () => {
    await using world = bench({ isolation: "auto" });
    const { id, before, folder } = await started(world);
    const pids = processesWith("MUTO_RUN", folder);
    const entrance = pids.find((pid) => readFileSync(`/proc/${pid}/comm`, "utf8") === "nsenter\n");
    assert.ok(entrance);
    process.kill(entrance, "SIGKILL");
    const after = await until(world.runtime, id, isUnsupervised);
    assert.equal(pidOf(after), pidOf(before));
    assert.deepEqual(await world.runtime.stop(id), { ok: true });
    assert.deepEqual(endOf((await world.runtime.inspect())[0]), lost(true));
  });

  test("with namespaces: who kills the namespace kills the workload, which is told", async () => {
    await using world = bench({ isolation: "auto" });
    const { id, folder } = await started(world);
    const pids = processesWith("MUTO_RUN", folder);
    const holder = pids.find((pid) => readFileSync(`/proc/${pid}/comm`, "utf8") === "unshare\n");
    assert.ok(holder);
    process.kill(holder, "SIGKILL");
    const ended = await until(world.runtime, id, hasEnded);
    assert.deepEqual(endOf(ended), { requested: false, code: null, signal: "SIGKILL" });
  });
}
