import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Probe } from "@muto/spec";
import { bench, hasEnded, until, untilOutput, type Bench } from "./test-bench.ts";

const log = (text: string): Probe => ({ kind: "log", name: "log", workload: "nav", text, seen: true, liveness: false });
const NOISE =
  'i=0; while [ $i -lt 400 ]; do echo "$i ...................................................."; i=$((i+1)); done';
const SEGMENT = 4_000;

/** Waits until the supervisor has looked at the output and cut it. */
async function untilCut(world: Bench, id: string): Promise<void> {
  while (statSync(join(world.runs, id, "output")).size > SEGMENT) await world.runtime.saw(id, "first");
}

describe("the output of a workload", { concurrency: 4 }, () => {
  test("is kept from both streams, bounded, the newest last", async () => {
    await using world = bench({ outputSegmentBytesMax: SEGMENT });
    const program = `#!/bin/sh\necho first; echo error >&2\n${NOISE}\necho last\nsleep 1000\n`;
    const id = await world.start(world.set({ nav: program }, {}, [log("first")]), "nav");
    await untilOutput(world.runtime, id, "last");
    await untilCut(world, id);
    const tail = Buffer.from(await world.runtime.collect(id, 100)).toString();
    assert.equal(tail.length, 100);
    assert.ok(tail.endsWith("\nlast\n"));
    const all = Buffer.from(await world.runtime.collect(id, 1_000_000)).toString();
    assert.ok(all.length <= 2 * SEGMENT, `${all.length} bytes`);
    assert.ok(all.includes("399 ...") && !all.includes("first"));
    const streams = await world.start(world.set({ nav: "#!/bin/sh\necho out; echo err >&2\n" }), "nav");
    await until(world.runtime, streams, hasEnded);
    assert.equal(Buffer.from(await world.runtime.collect(streams, 1_000)).toString(), "out\nerr\n");
  });

  test("answers log probes for all that was ever written, whatever has been cut off since", async () => {
    await using world = bench({ outputSegmentBytesMax: SEGMENT });
    const program = `#!/bin/sh\necho first\n${NOISE}\nprintf 'in two '; sleep 0.05; printf 'parts'\n${NOISE}\necho last\nsleep 1000\n`;
    const texts = ["first", "in two parts", "last", "never"];
    const id = await world.start(world.set({ nav: program }, {}, texts.map(log)), "nav");
    const sawAll = async () => await Promise.all([...texts, "399"].map((text) => world.runtime.saw(id, text)));
    await untilOutput(world.runtime, id, "last");
    await untilCut(world, id);
    // The last one was not asked for at the start: of a part of the output nothing can be said.
    const expected = [true, true, true, false, null];
    assert.deepEqual(await sawAll(), expected);

    assert.deepEqual(await Promise.all(texts.map((text) => world.another().saw(id, text))), [true, true, true, false]);
    process.kill(world.supervisorOf(id), "SIGKILL");
    const next = world.another();
    await until(next, id, ({ state }) => state.kind === "running" && !state.supervised);
    assert.deepEqual(await Promise.all(texts.map((text) => next.saw(id, text))), [true, true, true, false]);
    assert.deepEqual(await world.runtime.stop(id), { ok: true });
    assert.deepEqual(await Promise.all(texts.map((text) => world.another().saw(id, text))), [true, true, true, false]);
  });

  test("of an unknown instance is empty, and nothing is known about it", async () => {
    await using world = bench();
    assert.equal((await world.runtime.collect("nobody", 100)).byteLength, 0);
    assert.equal(await world.runtime.saw("nobody", "first"), null);
    await assert.rejects(world.runtime.collect("../../etc", 100), /no instance id/);
  });
});
