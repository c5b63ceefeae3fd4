import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Instance, SetOnDisk } from "@muto/agent/ports";
import { writeParams } from "@muto/agent/runtime/parameter-files";
import { ProcessRuntime } from "@muto/agent/runtime/process-runtime";
import { systemPrograms } from "@muto/agent/runtime/systemd/run-program";
import { SystemdRuntime } from "@muto/agent/runtime/systemd/systemd-runtime";
import { manifestOf, optionsFor, processesRunning, workloadOf } from "@muto/agent/runtime/test-bench";
import type { NativeWorkload } from "@muto/spec";
import { eventually } from "../../system/world/eventually.ts";
import { bootMachine, type Machine } from "./machine.ts";

const WAITS = "echo ready\nwhile :; do sleep 1000 & wait; done\n";
const PATIENT = `#!/bin/sh\ntrap 'exit 7' INT\n${WAITS}`;
const PREFIX = "/opt/muto-stack";

const endOf = ({ state }: Instance) => {
  if (state.kind !== "ended") return state;
  const { requested, code, signal } = state;
  return { requested, code, signal };
};

describe("native workloads as units of systemd", () => {
  let machine: Machine;
  /** The same folder under the same name for us and for the systemd in the container. */
  let shared: string;
  let instances = 0;
  const runtimes: SystemdRuntime[] = [];

  const open = (options: { readonly prefix?: string; readonly startsUnits?: boolean } = {}) => {
    const common = { ...optionsFor(join(shared, "state", "runs")), ...options };
    const runtime = new SystemdRuntime({
      ...common,
      units: join(shared, "state", "units"),
      probeAddress: "127.0.0.1",
      allowGpus: false,
      startLimitMs: 20_000,
      startsUnits: options.startsUnits ?? true,
      run: systemPrograms(machine.enter),
      process: new ProcessRuntime(common),
    });
    runtimes.push(runtime);
    return runtime;
  };

  const setOf = (program: string, details: Partial<NativeWorkload> = {}): SetOnDisk => {
    const folder = mkdtempSync(join(shared, "set-"));
    const archive = join(folder, "a".repeat(64));
    mkdirSync(archive);
    writeFileSync(join(archive, "nav"), program, { mode: 0o755 });
    const manifest = manifestOf([{ ...workloadOf("nav"), stop: { signal: "SIGINT", limitSec: 2 }, ...details }]);
    return { manifestDigest: `sha256:${"b".repeat(64)}`, folder, manifest };
  };

  const start = async (runtime: SystemdRuntime, set: SetOnDisk) => {
    const [workload] = set.manifest.workloads;
    assert.ok(workload);
    const id = `unit-${++instances}`;
    const answer = await runtime.start(set, workload, id);
    return { id, answer };
  };

  const instance = async (runtime: SystemdRuntime, id: string) => {
    const found = (await runtime.inspect()).find(({ instanceId }) => instanceId === id);
    assert.ok(found, `${id} is known`);
    return found;
  };

  const outputOf = async (runtime: SystemdRuntime, id: string) =>
    Buffer.from(await runtime.collect(id, 100_000)).toString();

  const said = (runtime: SystemdRuntime, id: string, text: string) =>
    eventually(`${id} says ${text}`, async () => ((await outputOf(runtime, id)).includes(text) ? true : undefined));

  const ended = (runtime: SystemdRuntime, id: string) =>
    eventually(`${id} ends`, async () => {
      const found = await instance(runtime, id);
      return found.state.kind === "ended" ? found : undefined;
    });

  before(async () => {
    shared = mkdtempSync("/var/tmp/muto-units-");
    machine = await bootMachine((root) => {
      mkdirSync(join(root, shared), { recursive: true });
      mkdirSync(join(root, PREFIX), { recursive: true });
    });
    execFileSync("mount", ["--bind", join(machine.root, shared), shared]);
  });

  after(async () => {
    for (const runtime of runtimes) await runtime[Symbol.asyncDispose]();
    execFileSync("umount", ["-l", shared]);
    rmdirSync(shared);
    await machine[Symbol.asyncDispose]();
  });

  test("a unit is started, seen by each next agent, stopped as declared, and forgotten", async () => {
    const runtime = open();
    const { id, answer } = await start(runtime, setOf(PATIENT));
    assert.deepEqual(answer, { ok: true });
    await said(runtime, id, "ready");
    const before = await instance(runtime, id);
    assert.equal(before.state.kind === "running" && before.state.supervised, true);
    assert.deepEqual(await instance(open(), id), before, "the next agent adopts it by looking");
    assert.deepEqual(
      await instance(open({ startsUnits: false }), id),
      before,
      "also one that starts no units any more",
    );
    await assert.rejects(runtime.forget(id), /runs cannot be forgotten/);
    assert.deepEqual(await runtime.stop(id), { ok: true });
    assert.deepEqual(endOf(await instance(runtime, id)), { requested: true, code: 7, signal: null });
    assert.equal(await runtime.saw(id, "ready"), true);
    assert.equal(await runtime.saw(id, "never"), false);
    await runtime.forget(id);
    assert.deepEqual(await runtime.inspect(), []);
    assert.deepEqual(readdirSync(join(shared, "state", "units")), []);
  });

  const ends = [
    { name: "with 0", program: "exit 0", end: { code: 0, signal: null } },
    { name: "with a code", program: "exit 4", end: { code: 4, signal: null } },
    { name: "by a signal", program: "kill -SEGV $$", end: { code: null, signal: "SIGSEGV" } },
  ];
  for (const { name, program, end } of ends) {
    test(`an end ${name} while no agent is there is not lost, and whoever watches is told`, async () => {
      const gate = join(shared, `gate-${instances}`);
      const runtime = open();
      const { id, answer } = await start(
        runtime,
        setOf(`#!/bin/sh\nwhile ! [ -e ${gate} ]; do sleep 0.05; done\n${program}\n`),
      );
      assert.deepEqual(answer, { ok: true });
      const told = Promise.withResolvers<void>();
      await using _watch = runtime.watch(told.resolve);
      writeFileSync(gate, "");
      await told.promise;
      assert.deepEqual(endOf(await ended(open(), id)), { requested: false, ...end });
      await runtime.forget(id);
    });
  }

  test("a stop leaves nothing behind, and escalates", async () => {
    const runtime = open();
    const marker = `1000.${process.pid}`;
    const daemon = `( setsid sh -c 'trap "" INT TERM HUP; exec sleep ${marker}' & )\n`;
    const set = setOf(`#!/bin/sh\ntrap '' INT TERM\n${daemon}${WAITS}`, { stop: { signal: "SIGINT", limitSec: 1 } });
    const { id } = await start(runtime, set);
    await said(runtime, id, "ready");
    // The processes of the container are processes of this computer too.
    await eventually("its daemon runs", () => (processesRunning(marker).length > 0 ? true : undefined));
    assert.deepEqual(await runtime.stop(id), { ok: true });
    assert.deepEqual(endOf(await instance(runtime, id)), { requested: true, code: null, signal: "SIGKILL" });
    // In a container with control groups of version 1 systemd kills what is left, but does not wait until it is gone.
    await eventually("nothing of it is left", () => (processesRunning(marker).length === 0 ? true : undefined));
    await runtime.forget(id);
  });

  test("arguments, variables, parameter files and the read-only archive at its prefix arrive as they were written", async () => {
    const runtime = open({ prefix: PREFIX });
    const show =
      '#!/bin/sh\npwd\necho "[$1] [$2] [$3] [$COLOUR]"\ncat "$MUTO_PARAMS/a.yaml"\ntouch new || echo refused\necho done\n';
    const set = setOf(show, {
      argv: ["./nav", "$HOME ${PATH} $$ %n", "a'b\"c d"],
      launchArguments: { map: "depot 7" },
      env: { COLOUR: "$green 'x' %h" },
      params: [{ name: "a.yaml", text: "speed: 4\n" }],
    });
    await writeParams(optionsFor(shared).disk, set);
    const { id, answer } = await start(runtime, set);
    assert.deepEqual(answer, { ok: true });
    await said(runtime, id, "done");
    const lines = (await outputOf(runtime, id)).split("\n").filter((line) => !line.startsWith("touch:"));
    assert.deepEqual(lines.slice(0, 4), [
      PREFIX,
      "[$HOME ${PATH} $$ %n] [a'b\"c d] [map:=depot 7] [$green 'x' %h]",
      "speed: 4",
      "refused",
    ]);
    await ended(runtime, id);
    await runtime.forget(id);
  });

  test("limits are held", async () => {
    const runtime = open();
    const set = setOf(PATIENT, { resources: { memoryMb: 64, cpus: 0.5, pids: 20 } });
    const { id } = await start(runtime, set);
    const shown = await machine.run("systemctl", "show", "-p", "MemoryMax,CPUQuotaPerSecUSec,TasksMax", `muto-${id}`);
    assert.deepEqual(shown.stdout.trim().split("\n").toSorted(), [
      "CPUQuotaPerSecUSec=500ms",
      "MemoryMax=67108864",
      "TasksMax=20",
    ]);
    await runtime.stop(id);
    await runtime.forget(id);
  });

  test("deaths of nodes are counted, each once", async () => {
    const runtime = open();
    const line = "[ERROR] [crasher-2]: process has died [pid 7, exit code 3, cmd 'x'].";
    const { id } = await start(
      runtime,
      setOf(`#!/bin/sh\ntrap 'exit 0' INT\nfor i in 1 2 3; do echo "${line}"; done\n${WAITS}`),
    );
    await said(runtime, id, "ready");
    assert.equal((await instance(runtime, id)).deaths, 3);
    assert.equal((await instance(runtime, id)).deaths, 3);
    await runtime.stop(id);
    await runtime.forget(id);
  });

  test("what cannot be executed is refused, and leaves nothing", async () => {
    const runtime = open();
    const { answer } = await start(runtime, setOf("#!/nothing\n"));
    assert.equal(!answer.ok && answer.problem, "start-refused");
    assert.deepEqual(await runtime.inspect(), []);
    assert.deepEqual(readdirSync(join(shared, "state", "units")), []);
  });
});
