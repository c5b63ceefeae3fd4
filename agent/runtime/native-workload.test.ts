import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import type { NativeWorkload } from "@muto/spec";
import type { SetOnDisk, StartResult } from "../ports.ts";
import { areParamsWhole, writeParams } from "./parameter-files.ts";
import { bench, hasEnded, isolationOf, until, untilOutput, type Bench } from "./test-bench.ts";

const LOOP = "#!/bin/sh\ntrap 'exit 7' INT\necho ready\nwhile :; do sleep 1000 & wait; done\n";
const ROS2 = readFileSync(join(import.meta.dirname, "..", "..", "test", "stand-ins", "ros2"), "utf8");

/** Each line of what the first workload of a set said until it ended. */
async function linesOf(world: Bench, set: SetOnDisk): Promise<readonly string[]> {
  const [workload] = set.manifest.workloads;
  assert.ok(workload);
  const id = await world.start(set, workload.name);
  await until(world.runtime, id, hasEnded);
  return Buffer.from(await world.runtime.collect(id, 1_000_000))
    .toString()
    .trimEnd()
    .split("\n");
}

async function answer(world: Bench, set: SetOnDisk): Promise<StartResult> {
  const [workload] = set.manifest.workloads;
  assert.ok(workload);
  return await world.runtime.start(set, workload, "one");
}

const SHOW = '#!/bin/sh\nfor one in "$@"; do echo "[$one]"; done\n';

for (const isolation of ["auto", "degraded"] as const) {
  describe(`what a native workload is given, isolation ${isolation}`, { concurrency: 4 }, () => {
    const files = (setup: string) => ({
      show: SHOW,
      [setup]: 'PATH="$PWD/found:$PATH"\nexport COLOUR=green "COUNT=$#"\n',
    });

    for (const setup of ["setup.sh", "setup.bash"]) {
      test(`${setup} is sourced, and a bare name is looked up in the PATH that it makes`, async () => {
        await using world = bench({ isolation });
        const details: Partial<NativeWorkload> = {
          setup: [setup, "/dev/null"],
          argv: ["tool", "a b", "$(touch x)", ""],
        };
        const set = world.set(files(setup), details);
        const archive = join(set.folder, "a".repeat(64));
        const found = join(archive, "found");
        await systemDisk().makeFolder(found);
        writeFileSync(join(found, "tool"), `${SHOW}echo "$COLOUR $COUNT $0 $PWD"\nenv | grep muto_\n`, { mode: 0o755 });
        const lines = await linesOf(world, set);
        assert.deepEqual(lines, ["[a b]", "[$(touch x)]", "[]", `green 0 ${found}/tool ${archive}`]);
      });
    }

    test("setup files do not change what a path means", async () => {
      await using world = bench({ isolation });
      const set = world.set(files("setup.sh"), { setup: ["./setup.sh"], argv: ["./show", "x"] });
      assert.deepEqual(await linesOf(world, set), ["[x]"]);
    });

    test("a setup file that is missing ends the workload before it begins, and is named", async () => {
      await using world = bench({ isolation });
      const set = world.set({ show: SHOW }, { setup: ["no.sh"], argv: ["./show", "x"] });
      assert.deepEqual(await linesOf(world, set), ["./no.sh: cannot be read"]);
    });

    const refused: readonly (readonly [string, Partial<NativeWorkload>, string])[] = [
      ["a setup file outside the archive", { setup: ["../setup.sh"] }, "SETUP_OUTSIDE_ARCHIVE"],
      [
        "a program outside the archive, with setup files",
        { setup: ["setup.sh"], argv: ["../x"] },
        "PROGRAM_OUTSIDE_ARCHIVE",
      ],
      ["a zero byte in an argument", { argv: ["show", "a\0b"] }, "EINVAL"],
      ["GPUs that the vehicle does not give", { gpus: "all" }, "GPUS_NOT_ALLOWED"],
    ];
    for (const [name, details, code] of refused) {
      test(`refuses ${name}`, async () => {
        await using world = bench({ isolation });
        const refusal = { ok: false, problem: "start-refused", code };
        assert.deepEqual(await answer(world, world.set({ show: SHOW }, { argv: ["show"], ...details })), refusal);
        assert.deepEqual(await world.runtime.inspect(), []);
      });
    }

    test("launch arguments come last, in the order of their names, and parameter files are found", async () => {
      await using world = bench({ isolation });
      const details: Partial<NativeWorkload> = {
        argv: ["show", "--params", "$(params nav.yaml)", "$(param nav.yaml)"],
        launchArguments: { zoom: "1", map: "$(params nav.yaml)" },
        params: [{ name: "nav.yaml", text: "speed: 4.2\n" }],
      };
      const set = world.set(
        { show: `${SHOW}cat "$MUTO_PARAMS/nav.yaml"\necho x > "$MUTO_PARAMS/new" || echo refused\n` },
        details,
      );
      await writeParams(systemDisk(), set);
      const lines = await linesOf(world, set);
      const file = join(set.folder, "native", "show", "params", "nav.yaml");
      assert.deepEqual(lines.slice(0, 6), [
        "[--params]",
        `[${file}]`,
        "[$(param nav.yaml)]",
        `[map:=${file}]`,
        "[zoom:=1]",
        "speed: 4.2",
      ]);
      if (isolationOf(isolation) === "full") {
        assert.equal(lines.at(-1), "refused");
        assert.deepEqual(readdirSync(dirname(file)), ["nav.yaml"]);
      }
    });

    test("ros2 launch of a sourced install tree gets its launch arguments", async () => {
      await using world = bench({ isolation, host: { PATH: `${dirname(process.execPath)}:/usr/bin:/bin` } });
      const set = world.set(
        { ros2: ROS2, "setup.bash": 'PATH="$(dirname "${BASH_SOURCE[0]}"):$PATH"\n' },
        {
          setup: ["setup.bash"],
          argv: ["ros2", "launch", "stand_in", "talker.launch.py"],
          launchArguments: { map: "depot 7" },
        },
      );
      const id = await world.start(set, "ros2");
      await untilOutput(world.runtime, id, "launch argument map=depot 7");
      await untilOutput(world.runtime, id, "talking");
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      const [instance] = await world.runtime.inspect();
      assert.equal(instance?.state.kind === "ended" && instance.state.code, 0);
    });
  });
}

test("parameter files belong to the set: a byte, a name or a file more, and it is not whole", async () => {
  await using world = bench();
  const set = world.set(
    { show: SHOW },
    {
      params: [
        { name: "a.yaml", text: "a" },
        { name: "b.yaml", text: "b" },
      ],
    },
  );
  const disk = systemDisk();
  const folder = join(set.folder, "native", "show", "params");
  assert.equal(await areParamsWhole(disk, set), false);
  const damages: readonly (() => void)[] = [
    () => (chmodSync(join(folder, "a.yaml"), 0o600), writeFileSync(join(folder, "a.yaml"), "x")),
    () => writeFileSync(join(folder, "c.yaml"), "c"),
  ];
  for (const damage of damages) {
    await writeParams(disk, set);
    assert.equal(await areParamsWhole(disk, set), true);
    damage();
    assert.equal(await areParamsWhole(disk, set), false);
  }
  await writeParams(disk, set);
  assert.deepEqual(readdirSync(folder), ["a.yaml", "b.yaml"]);
});

const hasGroups =
  ["memory", "cpu", "pids"].every((name) => existsSync(`/sys/fs/cgroup/${name}`)) && process.getuid?.() === 0;

for (const isolation of ["auto", "degraded"] as const) {
  test(`limits are held by control groups, or the workload is refused, isolation ${isolation}`, async () => {
    await using world = bench({ isolation });
    const eat = `#!/bin/sh\ncat /proc/self/cgroup\necho ready\nhead -c 400000000 /dev/zero | tail -c 400000000 >/dev/null && echo survived || echo held\n`;
    const set = world.set({ eat }, { argv: ["eat"], resources: { memoryMb: 32, cpus: 0.5, pids: 20 } });
    if (!hasGroups) {
      const started = await answer(world, set);
      assert.ok(started.ok || started.code === "RESOURCES_UNSUPPORTED");
      return;
    }
    const id = await world.start(set, "eat");
    const output = await untilOutput(world.runtime, id, "ready");
    const groups = output.match(new RegExp(`(memory|cpu|pids):.*/muto-${id}$`, "gm")) ?? [];
    assert.equal(groups.length, 3, output);
    const [, path = ""] = /memory:(.*)$/m.exec(output) ?? [];
    await until(world.runtime, id, hasEnded);
    const all = Buffer.from(await world.runtime.collect(id, 1_000_000)).toString();
    assert.match(all, /^held$/m);
    while (existsSync(`/sys/fs/cgroup/memory${path}`)) await systemClock().sleep(5);
  });
}

if (isolationOf("auto") === "full") {
  test("setup files of an install tree are sourced at the fixed prefix", async () => {
    const prefix = mkdtempSync(join(tmpdir(), "muto-prefix-"));
    await using world = bench({ prefix });
    const set = world.set(
      { show: SHOW, "setup.bash": 'HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"\nexport HERE\n' },
      { setup: ["setup.bash"], argv: ["sh", "-c", 'echo "$HERE $PWD"'] },
    );
    assert.deepEqual(await linesOf(world, set), [`${prefix} ${prefix}`]);
    rmdirSync(prefix);
  });

  test("required isolation starts where there is some", async () => {
    await using world = bench({ isolation: "required" });
    const id = await world.start(world.set({ nav: LOOP }), "nav");
    const [instance] = await world.runtime.inspect();
    assert.deepEqual([instance?.instanceId, instance?.isolation], [id, "full"]);
  });
}
