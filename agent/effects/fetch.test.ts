import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import { digestOf } from "@muto/oci/digest";
import type { BlobPull } from "@muto/oci/client";
import { openContentStore } from "../cache/content-store.ts";
import { createMemory } from "../memory.ts";
import { EMPTY_STATE } from "../reconcile/state.ts";
import { exampleConfig } from "../safety/example-vehicle.ts";
import { download } from "./fetch.ts";
import { createReleases } from "./releases.ts";

const bytes = new Uint8Array(Buffer.from("what was signed"));
const blob = { digest: digestOf(bytes), sizeBytes: bytes.byteLength };
const wrong = new Uint8Array(Buffer.from("what was forged"));
const step = { kind: "download", repository: "stack", digest: `sha256:${"a".repeat(64)}`, blob } as const;
const signal = new AbortController().signal;

test("wrong bytes from a registry are not what the next try goes on from", async () => {
  const folder = await mkdtemp(join(tmpdir(), "muto-fetch-"));
  try {
    const content = await openContentStore(systemDisk(), folder);
    const starts: number[] = [];
    const serve = (served: Uint8Array, receivedBytes: number) => ({
      pullManifest: () => Promise.reject(new Error("no manifest is asked for")),
      pullBlob: async (_repository: string, { write, resume }: BlobPull) => {
        const startBytes = resume?.sizeBytes() ?? 0;
        starts.push(startBytes);
        await write(served.subarray(startBytes, receivedBytes));
        if (served === bytes && receivedBytes === bytes.byteLength) return { ok: true } as const;
        const problem = served === wrong ? "digest-mismatch" : "truncated";
        return { ok: false, problem, receivedBytes: receivedBytes - startBytes } as const;
      },
    });
    const memory = createMemory();
    const store = { state: EMPTY_STATE, record: async () => {}, fault: undefined };
    const ports = { clock: systemClock(), random: systemRandom(), logger: silentLogger };
    const services = { ...ports, content, memory, store, config: exampleConfig() };
    const releases = createReleases(content);
    const attempt = (registry: ReturnType<typeof serve>) => download({ ...services, releases, registry }, step, signal);
    const problemSeen = () => {
      const [evidence] = memory.seen.download?.evidence ?? [];
      return evidence?.kind === "download" ? evidence.problem : undefined;
    };

    await attempt(serve(bytes, 5));
    assert.equal(problemSeen(), "truncated");
    await attempt(serve(wrong, wrong.byteLength));
    assert.equal(problemSeen(), "digest-mismatch");
    assert.deepEqual(await content.list(), []);
    await attempt(serve(bytes, bytes.byteLength));
    assert.equal(memory.seen.download, null);
    assert.equal(await content.verify(blob.digest), "intact");
    assert.deepEqual(starts, [0, 5, 0], "a short one is resumed, a wrong one is not");
  } finally {
    await rm(folder, { recursive: true });
  }
});
