import { DiskError } from "@muto/kit/disk";
import { JournalError } from "@muto/kit/journal";
import { silentLogger } from "@muto/kit/logger";
import { seededRandom } from "@muto/kit/random";
import { createDigester, digestOf } from "@muto/oci/digest";
import type { BlobPull } from "@muto/oci/client";
import type { AgentConfig, AssignmentOffer, ReconcileReport, SignalLine } from "@muto/spec";
import type { ContentStore } from "../cache/content-store.ts";
import type { TailKeeper } from "../effects/tails.ts";
import { createAgent, type Agent } from "../loop.ts";
import { applyRecord, type JournalRecord } from "../reconcile/records.ts";
import { encodeRecord, parseRecord } from "../reconcile/record-codec.ts";
import { EMPTY_STATE, type AgentState } from "../reconcile/state.ts";
import type { Step } from "../reconcile/step.ts";
import { calmLine, exampleConfig, type ConfigChanges } from "../safety/example-vehicle.ts";
import { hear, standingLimits } from "../safety/hear.ts";
import { noSamples, silentProvider, type ProviderSamples, type SignalSamples } from "../safety/signals.ts";
import type { AgentServices } from "../services.ts";
import { ModelClock } from "./clock.ts";
import type { ModelRelease } from "./release.ts";
import { ModelRuntime } from "./runtime.ts";
import { modelVerifier } from "./verifier.ts";

/** Thrown by a port at the moment at which the agent's process is killed; nothing of the agent runs after it. */
export class Killed extends Error {
  override readonly name = "Killed";
}

/**
 * A vehicle's computer in memory, for tests of the agent: workloads, disk, network and signals outlive the agent, which may
 * be killed before or after every call that it makes.
 */
export class ModelVehicle {
  readonly clock = new ModelClock(Date.parse("2026-06-01T01:00:00.000Z"));
  readonly config: AgentConfig;
  readonly runtime: ModelRuntime;
  readonly reports: ReconcileReport[] = [];
  readonly blobs = new Map<string, Uint8Array>();
  readonly registry = new Map<string, Uint8Array>();
  readonly journal: JournalRecord[] = [];
  readonly told: (string | null)[] = [];
  /** Blobs on bad sectors. */
  readonly unreadable = new Set<string>();
  /** Told without the file. */
  readonly heard: (string | null)[] = [];
  /** The file that tells the vehicle of a change cannot be written. */
  flagRefuses = false;
  line: SignalLine | null = calmLine;
  networkUp = true;
  /** Artifacts begin to come and never end, as over a very slow line. */
  networkHangs = false;
  hung = 0;
  freeMb = 100_000;
  diskFaulted = false;
  bootId = bootIdOf(1);
  /** Calls to ports until the agent is killed; undefined for never. */
  killAfterCalls: number | undefined;
  /** Asked before a record becomes durable: what the world looked like when a decision was made. */
  onRecord: (record: JournalRecord) => void = () => {};
  /** Records that do not become durable for want of room. */
  refusesRecord: (record: JournalRecord) => boolean = () => false;
  #boots = 1;
  #state: AgentState = EMPTY_STATE;
  #agent: Agent | undefined;
  #calls = 0;
  #signals: ProviderSamples;
  readonly #random = seededRandom(7);

  constructor(changes: ConfigChanges = {}) {
    this.config = exampleConfig({ signals: { speed: GATEWAY, mode: GATEWAY, battery: GATEWAY }, ...changes });
    this.runtime = new ModelRuntime({ clock: this.clock, bootId: () => this.bootId, call: () => this.call() });
    this.#signals = silentProvider;
    this.hearFor(130);
  }

  get state(): AgentState {
    return this.#state;
  }

  get lastReport(): ReconcileReport | undefined {
    return this.reports.at(-1);
  }

  publish(release: ModelRelease): void {
    for (const [digest, bytes] of release.blobs) this.registry.set(digest, bytes);
    this.runtime.behaviours.set(release.manifestDigest, release.behaviour);
  }

  agent(): Agent {
    this.#agent ??= createAgent(this.#services(), noTails);
    return this.#agent;
  }

  offer(offer: AssignmentOffer, serverDateMs?: number): void {
    this.agent().offer({ offer, serverDateMs });
  }

  /** One pass of the agent; undefined when it was killed on the way. Time passes a little. */
  async pass(): Promise<Step | undefined> {
    try {
      return await this.agent().pass(new AbortController().signal);
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      this.#agent = undefined;
      this.killAfterCalls = undefined;
      return undefined;
    } finally {
      this.advance(5);
    }
  }

  /** Passes until nothing is left to do but wait, skipping the waits; the last step. */
  async settle(options: { readonly passesMax?: number; readonly untilMs?: number } = {}): Promise<Step | undefined> {
    const { passesMax = 400, untilMs = 600_000 } = options;
    const startMs = this.clock.monotonicMs();
    let step: Step | undefined;
    for (let count = 0; count < passesMax; count++) {
      step = await this.pass();
      const waitMs = step?.kind === "hold" || step?.kind === "settled" ? step.wakeWhen.afterMs : 0;
      if (step?.kind === "settled" || this.clock.monotonicMs() - startMs > untilMs) return step;
      if (step?.kind === "hold" && !isPassing(step)) return step;
      this.wait(waitMs);
    }
    throw new Error(`the agent did not come to rest: ${JSON.stringify(step)}`);
  }

  /** The agent's process dies; everything else goes on. */
  kill(): void {
    this.#agent = undefined;
  }

  /** The computer restarts: all processes are gone, the disk is not. */
  reboot(): void {
    this.kill();
    this.#boots += 1;
    this.bootId = bootIdOf(this.#boots);
    this.runtime.powerCut();
    this.#signals = silentProvider;
    this.advance(20_000);
    this.hearFor(130);
  }

  advance(ms: number): void {
    this.clock.advance(ms);
    this.runtime.tick();
  }

  /** Waits as the loop would: until then, or until a workload ends. */
  wait(ms: number): void {
    this.advance(Math.min(ms, this.runtime.untilNextExitMs() + 1));
  }

  /** The gateway has said its line for so long, ending now; silences of up to an hour count as none in the model. */
  hearFor(sec: number): void {
    if (this.line === null) return;
    const limits = standingLimits(this.config, "gateway");
    for (const ageMs of sec > 0 ? [sec * 1000, 0] : [0]) {
      const at = { monotonicMs: this.clock.monotonicMs() - ageMs, wallMs: this.clock.wallMs() - ageMs };
      this.#signals = hear(this.#signals, this.line, at, limits);
    }
  }

  /** Every call of the agent to the world passes here. */
  call(): void {
    this.#calls += 1;
    if (this.killAfterCalls === undefined) return;
    this.killAfterCalls -= 1;
    if (this.killAfterCalls < 0) throw new Killed("the agent was killed");
  }

  get calls(): number {
    return this.#calls;
  }

  samples(): SignalSamples {
    if (this.line === null) return noSamples;
    this.hearFor(0);
    return { ...noSamples, providers: new Map([["gateway", this.#signals]]) };
  }

  #services(): AgentServices {
    return {
      config: this.config,
      bootId: this.bootId,
      clock: this.clock,
      random: this.#random,
      logger: silentLogger,
      runtime: this.runtime,
      prober: this.runtime,
      graph: this.runtime.graph,
      signals: { read: async () => (this.call(), this.samples()), watch: () => nothingToWatch },
      changeFlag: {
        assert: async ({ changeId }) => {
          this.call();
          if (this.flagRefuses) throw new DiskError("ENOSPC", "write", "/flag");
          this.told.push(changeId);
        },
        tell: ({ changeId }) => void this.heard.push(changeId),
      },
      store: this.#keeper(),
      content: this.#content(),
      registry: this.#registryClient(),
      sets: {
        folderOf: (digest) => `/sets/${digest}`,
        freeBytes: async () => (this.call(), this.freeMb * 1_000_000),
        sweep: async (keep, blobsOf) => (this.call(), this.#sweep(keep, blobsOf)),
      },
      reports: {
        append: async ({ body }) => {
          this.call();
          this.reports.push(JSON.parse(new TextDecoder().decode(body)));
          return "queued";
        },
      },
      verifier: modelVerifier(this.config.vehicle.id),
    };
  }

  #keeper(): AgentServices["store"] {
    const state = () => this.#state;
    const faulted = () => this.diskFaulted;
    return {
      get state() {
        return state();
      },
      get fault() {
        return faulted() ? new DiskError("EIO", "sync", "/state") : undefined;
      },
      record: async (record) => {
        this.call();
        if (this.diskFaulted) throw new DiskError("EIO", "sync", "/state");
        if (this.refusesRecord(record)) throw new JournalError("noSpace", "/state");
        this.onRecord(record);
        const parsed = parseRecord(encodeRecord(record));
        if (!parsed.ok) throw new Error(`a record that cannot be read back: ${parsed.at} of ${record.kind}`);
        this.journal.push(parsed.record);
        this.#state = applyRecord(this.#state, parsed.record);
        this.call();
      },
    };
  }

  #content(): ContentStore {
    const { blobs } = this;
    const store: ContentStore = {
      has: async (digest) => (this.call(), blobs.has(digest)),
      sizeBytes: async (digest) => {
        this.call();
        if (this.unreadable.has(digest)) throw new DiskError("EIO", "read", digest);
        return blobs.get(digest)?.byteLength;
      },
      begin: async (content) => {
        this.call();
        const chunks: Uint8Array[] = [];
        return {
          resume: createDigester(),
          offsetBytes: 0,
          write: async (chunk) => void chunks.push(chunk),
          finish: async () => {
            this.call();
            const bytes = new Uint8Array(Buffer.concat(chunks));
            if (digestOf(bytes) !== content.digest) return { ok: false, problem: "digest-mismatch" };
            blobs.set(content.digest, bytes);
            return { ok: true };
          },
          [Symbol.asyncDispose]: async () => {},
        };
      },
      ingest: async (content, source) => {
        await using download = await store.begin(content);
        for await (const chunk of source) await download.write(chunk);
        return download.finish();
      },
      verify: async (digest) => (this.call(), blobs.has(digest) ? "intact" : "missing"),
      openRead: async function* openRead(digest) {
        const bytes = blobs.get(digest);
        if (bytes === undefined) throw new DiskError("ENOENT", "open", digest);
        yield bytes;
      },
      list: async () =>
        [...blobs].map(([digest, { byteLength }]) => ({ digest, sizeBytes: byteLength, complete: true })),
      remove: async (digest) => (this.call(), void blobs.delete(digest)),
    };
    return store;
  }

  #registryClient(): AgentServices["registry"] {
    const find = (digest: string) => (this.networkUp ? this.registry.get(digest) : undefined);
    const problem = () => (this.networkUp ? ("not-found" as const) : ("unreachable" as const));
    return {
      pullManifest: async (_repository, digest) => {
        this.call();
        const bytes = find(digest);
        return bytes === undefined ? { ok: false, problem: problem() } : { ok: true, bytes, digest, mediaType: "" };
      },
      pullBlob: async (_repository: string, { content, write, signal }: BlobPull) => {
        this.call();
        if (this.networkHangs && signal !== undefined) {
          this.hung += 1;
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          return { ok: false, problem: "unreachable", receivedBytes: 0 };
        }
        const bytes = find(content.digest);
        if (bytes === undefined) return { ok: false, problem: problem(), receivedBytes: 0 };
        await write(bytes);
        return { ok: true };
      },
    };
  }

  async #sweep(keep: readonly string[], blobsOf: (digest: string) => Promise<readonly string[] | undefined>) {
    const needed = new Set<string>();
    for (const digest of keep) for (const blob of (await blobsOf(digest)) ?? [digest]) needed.add(blob);
    const gone = [...this.blobs.keys()].filter((digest) => !needed.has(digest));
    for (const digest of gone) this.blobs.delete(digest);
    for (const set of this.runtime.prepared) if (!keep.includes(set)) this.runtime.prepared.delete(set);
    return { setsRemoved: 0, blobsRemoved: gone.length, bytesFreed: 0, unknown: undefined };
  }
}

function isPassing(step: Extract<Step, { kind: "hold" }>): boolean {
  return step.status === "applying" || step.phase === "probation";
}

const GATEWAY = [{ provider: "gateway", freshForSec: 3_600 }];

function bootIdOf(boots: number): string {
  return `00000000-0000-4000-8000-${String(boots).padStart(12, "0")}`;
}

const nothingToWatch: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} };

const noTails: TailKeeper = { keep: async () => [], oldest: async () => undefined, forget: async () => {} };
