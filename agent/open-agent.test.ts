import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "@muto/kit/logger";
import { seededRandom } from "@muto/kit/random";
import { SimulatedDisk, type DiskOperation } from "@muto/sim/disk";
import { generateKey } from "@muto/trust/keys";
import { buildRoots } from "@muto/trust/roots";
import { ModelClock } from "./model/clock.ts";
import { ModelRuntime } from "./model/runtime.ts";
import { openAgent, type RunEnd } from "./open-agent.ts";
import type { AgentPorts } from "./ports.ts";
import { exampleConfig } from "./safety/example-vehicle.ts";
import { noSamples } from "./safety/signals.ts";

async function settingsOf() {
  const [online, release, vehicle] = await Promise.all(
    [1, 2, 3].map(async () => (await generateKey("ed25519")).signer),
  );
  if (online === undefined || release === undefined || vehicle === undefined) throw new Error("three keys were made");
  const role = ({ publicKey: { keyid, algorithm, pem } }: typeof online) => ({
    threshold: 1,
    keys: [{ keyid, algorithm, publicKey: pem }],
  });
  const built = buildRoots("default", { release: role(release), assignment: role(online) });
  if (!built.ok) throw new Error(built.problem);
  return { config: exampleConfig(), roots: built.roots, signer: vehicle };
}

function portsOn(disk: SimulatedDisk, clock: ModelClock): AgentPorts {
  const runtime = new ModelRuntime({ clock, bootId: () => "boot", call: () => {} });
  const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} };
  return {
    clock,
    random: seededRandom(3),
    disk,
    http: () => Promise.reject(new Error("there is no network")),
    mqtt: undefined,
    runtime,
    prober: runtime,
    graph: undefined,
    signals: { read: async () => noSamples, watch: () => nothing },
    changeFlag: { assert: async () => {}, tell: () => {} },
    boot: { id: async () => "00000000-0000-4000-8000-000000000001" },
    logger: silentLogger,
  };
}

/** Lets everything that is not waiting for time happen, and time pass, until the promise settles. */
async function whilePassing<T>(clock: ModelClock, promise: Promise<T>, secondsMax: number): Promise<T> {
  let settled = false;
  const watched = promise.finally(() => (settled = true));
  for (let second = 0; second < secondsMax && !settled; second++) {
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1_000);
  }
  if (!settled) throw new Error("it did not end in time");
  return watched;
}

test("an agent without any network starts, ends when it is told to, and leaves a state that opens again", async () => {
  const disk = new SimulatedDisk();
  const clock = new ModelClock(Date.parse("2026-06-01T01:00:00.000Z"));
  const settings = await settingsOf();
  for (let lives = 0; lives < 2; lives++) {
    await using opened = await openAgent(portsOn(disk, clock), settings);
    const stop = new AbortController();
    const running = opened.run(stop.signal);
    for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve));
    stop.abort();
    assert.equal(await running, "stopped");
  }
});

test("a disk that failed once is noticed, and trusted again only after everything was written anew", async () => {
  const clock = new ModelClock(Date.parse("2026-06-01T01:00:00.000Z"));
  let failing = false;
  const fault = ({ kind, path }: DiskOperation) =>
    failing && kind === "fileSync" && path.startsWith("/var/lib/muto") ? ({ kind: "loseSync" } as const) : undefined;
  const disk = new SimulatedDisk({ fault });
  const settings = await settingsOf();
  const ends: RunEnd[] = [];
  {
    await using opened = await openAgent(portsOn(disk, clock), settings);
    const running = opened.run(new AbortController().signal);
    failing = true;
    // A refusal has to be durable, so a forged offer is enough to find the fault.
    opened.agent.offer({ offer: forged(), serverDateMs: clock.wallMs() });
    await whilePassing(clock, volatile(opened.agent), 30);
    clock.advance(120_000);
    failing = false;
    ends.push(await whilePassing(clock, running, 600));
  }
  assert.deepEqual(ends, ["storage-recovered"]);
  await using again = await openAgent(portsOn(disk, clock), { ...settings, afterFault: true });
  again.agent.offer({ offer: forged(), serverDateMs: clock.wallMs() });
  await again.agent.pass(new AbortController().signal);
  assert.equal((await again.agent.health()).volatile, false);
});

/** Resolves once the agent says that it cannot write durably. */
async function volatile(agent: { health(): Promise<{ readonly volatile?: boolean }> }): Promise<void> {
  while ((await agent.health()).volatile !== true) await new Promise((resolve) => setImmediate(resolve));
}

function forged() {
  const signature = { keyid: "0".repeat(64), sig: "AA==" };
  const payloadType = "application/vnd.muto.assignment.v1+json";
  return { envelope: { payloadType, payload: "e30=", signatures: [signature] }, releaseSignatures: [] };
}
