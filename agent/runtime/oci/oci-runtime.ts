import type { Clock } from "@muto/kit/clock";
import { DiskError, type Disk } from "@muto/kit/disk";
import type { Logger } from "@muto/kit/logger";
import { digestHex } from "@muto/oci/digest";
import type { OciWorkload, RuntimeConfig, Workload } from "@muto/spec";
import { join } from "node:path";
import {
  RuntimeUnseen,
  type BlobReader,
  type Instance,
  type PrepareResult,
  type Runtime,
  type SetOnDisk,
  type StartResult,
  type StopResult,
} from "../../ports.ts";
import { refusedByVehicle } from "../../reconcile/allowance.ts";
import type { OutputSearch } from "../process-runtime.ts";
import { containerBody, containerConfigHash } from "./container-spec.ts";
import type { Engine } from "./engine.ts";
import { isAliveContainer, type ContainerSeen } from "./engine-answers.ts";
import type { EngineTrouble } from "./engine-client.ts";
import { endOf } from "./ended.ts";
import { EngineWatch } from "./engine-watch.ts";
import { Images } from "./images.ts";
import { containerName, identityIn, impostorSet, LABELS, stoppedName, type ContainerIdentity } from "./labels.ts";
import { OutputFollower } from "./output-follower.ts";
import { realPathsOf } from "./real-paths.ts";
import {
  isSetWhole,
  ociWorkloads,
  paramsFolder,
  readExpectation,
  writeSet,
  type SetExpectation,
} from "./set-record.ts";

export interface OciRuntimeOptions {
  readonly engine: Engine;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly vehicleId: string;
  readonly bootId: string;
  /** Absolute; one folder below it for each set. */
  readonly setsFolder: string;
  readonly config: RuntimeConfig;
  readonly terminateLimitMs?: number;
  readonly killLimitMs?: number;
}

export const OCI_LIMITS = {
  /** Between SIGTERM and SIGKILL. */
  terminateLimitMs: 5_000,
  /** After SIGKILL: what still lives then is stuck in the kernel, or the engine is. */
  killLimitMs: 10_000,
  collectLinesMax: 2_000,
} as const;

/**
 * Containers over a Docker-compatible engine. The engine holds them and their names and labels, which are all that an agent
 * needs to find them again; it restarts nothing, and neither the agent's exit nor its crash signals anything (H2).
 */
export class OciRuntime implements Runtime, OutputSearch {
  readonly #options: OciRuntimeOptions;
  readonly #images: Images;
  readonly #watch: EngineWatch;
  readonly #expectations = new Map<string, SetExpectation>();
  readonly #followers = new Map<string, OutputFollower>();
  /** Engine's id by instance, as of the last look. */
  readonly #containers = new Map<string, string>();
  /** An ended container does not change any more. */
  readonly #ended = new Map<string, Instance>();
  readonly #starting = new Set<string>();
  #isUnseen = false;

  constructor(options: OciRuntimeOptions) {
    this.#options = options;
    this.#images = new Images(options.engine, options.vehicleId, options.logger);
    this.#watch = new EngineWatch({ ...options, label: this.#ownLabel() });
  }

  async prepare(set: SetOnDisk, blobs: BlobReader, signal: AbortSignal): Promise<PrepareResult> {
    const workloads = ociWorkloads(set.manifest);
    if (workloads.length === 0) return { ok: true };
    const imageIds = new Map<string, string>();
    for (const { image } of workloads) {
      if (imageIds.has(image)) continue;
      signal.throwIfAborted();
      const loaded = await this.#images.load(image, blobs, signal);
      if (!loaded.ok) return loaded;
      imageIds.set(image, loaded.imageId);
    }
    try {
      await this.#options.disk.makeFolder(set.folder);
      this.#expectations.set(set.manifestDigest, await writeSet(this.#options.disk, set, imageIds));
      return { ok: true };
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      const isFull = error.code === "ENOSPC" || error.code === "EDQUOT";
      return { ok: false, problem: isFull ? "no-space" : "storage", code: error.code };
    }
  }

  async verify(set: SetOnDisk): Promise<boolean> {
    const workloads = ociWorkloads(set.manifest);
    if (workloads.length === 0) return true;
    const { disk } = this.#options;
    const expected = await readExpectation(disk, set.folder);
    try {
      if (expected === undefined || !(await isSetWhole(disk, set, expected))) return false;
    } catch (error) {
      if (error instanceof DiskError) return false;
      throw error;
    }
    for (const imageId of new Set([...expected.values()].map((one) => one.imageId))) {
      const has = await this.#images.has(imageId);
      // An engine that is away is no proof that the set is damaged.
      if (has === undefined) throw new RuntimeUnseen("engine");
      if (!has) return false;
    }
    this.#expectations.set(set.manifestDigest, expected);
    return true;
  }

  async start(set: SetOnDisk, workload: Workload, instanceId: string): Promise<StartResult> {
    if (workload.type !== "oci") return { ok: false, problem: "start-refused", code: "NOT_A_CONTAINER" };
    this.#starting.add(instanceId);
    try {
      return await this.#start(set, workload, instanceId);
    } finally {
      this.#starting.delete(instanceId);
    }
  }

  async stop(instanceId: string): Promise<StopResult> {
    const { engine, killLimitMs = OCI_LIMITS.killLimitMs } = this.#options;
    const found = await this.#find(instanceId);
    // Not the workload refuses to end: whoever could end it is away.
    if (found === "unseen") throw new RuntimeUnseen("engine");
    if (found === undefined || !isAliveContainer(found.container)) return { ok: true };
    const { container, identity } = found;
    // The name says for ever that this end was wanted. An impostor has no name that we may change.
    if (identity !== undefined) await engine.rename(container.id, stoppedName(identity));
    for (const { signal, limitMs } of [...this.#stopSteps(identity), { signal: "SIGKILL", limitMs: killLimitMs }]) {
      const killed = await engine.kill(container.id, signal);
      if (!killed.ok && killed.problem === "not-found") return { ok: true };
      await engine.ended(container.id, limitMs);
      const seen = await engine.container(container.id);
      if (seen.ok ? !isAliveContainer(seen.value) : seen.problem === "not-found") return { ok: true };
    }
    return { ok: false, problem: "stop-timeout" };
  }

  async inspect(): Promise<readonly Instance[]> {
    const { engine } = this.#options;
    const listed = await engine.containers([this.#ownLabel()]);
    if (!listed.ok) throw this.#unseen(listed);
    const instances: Instance[] = [];
    for (const { id } of listed.value) {
      const known = this.#ended.get(id);
      const seen = known === undefined ? await this.#look(id) : known;
      if (seen !== undefined) instances.push(seen);
    }
    this.#seenAgain();
    const present = new Set(listed.value.map(({ id }) => id));
    for (const id of this.#ended.keys()) if (!present.has(id)) this.#ended.delete(id);
    await this.#follow(instances);
    return instances.map((instance) => this.#withDeaths(instance));
  }

  watch(onChange: () => void): AsyncDisposable {
    return this.#watch.subscribe(onChange);
  }

  async collect(instanceId: string, bytesMax: number): Promise<Uint8Array> {
    const found = await this.#find(instanceId);
    if (found === undefined || found === "unseen") return new Uint8Array();
    const signal = AbortSignal.timeout(COLLECT_LIMIT_MS);
    const options = { follow: false, signal, linesMax: OCI_LIMITS.collectLinesMax };
    const logs = await this.#options.engine.logs(found.container.id, options);
    let tail = Buffer.alloc(0);
    if (!logs.ok) return tail;
    for await (const { bytes } of logs.value) tail = Buffer.from(Buffer.concat([tail, bytes]).subarray(-bytesMax));
    return new Uint8Array(bytesMax === 0 ? [] : tail);
  }

  async forget(instanceId: string): Promise<void> {
    const found = await this.#find(instanceId);
    if (found === undefined || found === "unseen") return;
    if (isAliveContainer(found.container)) throw new Error("a container that runs cannot be forgotten");
    const removed = await this.#options.engine.remove(found.container.id);
    if (!removed.ok) this.#options.logger.warn("container is not removed", { instanceId, problem: removed.problem });
    this.#ended.delete(found.container.id);
    await this.#followers.get(instanceId)?.[Symbol.asyncDispose]();
    this.#followers.delete(instanceId);
  }

  async saw(instanceId: string, text: string): Promise<boolean | null> {
    const found = await this.#find(instanceId);
    if (found === undefined || found === "unseen") return null;
    return await this.#follower(instanceId, found.container.id).saw(text, !isAliveContainer(found.container));
  }

  /** Whether any set with images is prepared on this vehicle, so that an engine that is away hides something. */
  async hasWork(): Promise<boolean> {
    const { disk, setsFolder } = this.#options;
    for (const { name } of await disk.list(setsFolder)) {
      if ((await disk.stat(join(setsFolder, name, "containers.json"))) !== undefined) return true;
    }
    return false;
  }

  /** Images of sets that are gone are removed; only such as this vehicle loaded. */
  async sweep(keep: readonly string[]): Promise<void> {
    const needed = new Set<string>();
    for (const digest of keep) {
      for (const { image } of (await this.#expectation(digest))?.values() ?? []) needed.add(image);
    }
    for (const digest of this.#expectations.keys()) if (!keep.includes(digest)) this.#expectations.delete(digest);
    await this.#images.sweep(needed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const follower of this.#followers.values()) await follower[Symbol.asyncDispose]();
    await this.#watch[Symbol.asyncDispose]();
    this.#options.engine[Symbol.dispose]();
  }

  async #start(set: SetOnDisk, workload: OciWorkload, instanceId: string): Promise<StartResult> {
    const { engine, clock, vehicleId, bootId, config } = this.#options;
    const [refused] = refusedByVehicle({ workloads: [workload] }, config);
    if (refused !== undefined) {
      const code = `NOT_ALLOWED_${refused.asked.toUpperCase().replaceAll(" ", "_")}`;
      return { ok: false, problem: "start-refused", code };
    }
    const expected = (await this.#expectation(set.manifestDigest))?.get(workload.name);
    if (expected === undefined) return { ok: false, problem: "tampered", code: "NOT_PREPARED" };
    const real = await realPathsOf(workload, config.allow);
    if (!real.ok) return { ok: false, problem: "start-refused", code: real.code };
    const identity: ContainerIdentity = {
      vehicleId,
      instanceId,
      set: set.manifestDigest,
      workload: workload.name,
      configHash: containerConfigHash(set.manifest, workload),
      bootId,
      startedAtMs: clock.wallMs(),
      stop: { signal: workload.stop.signal, limitMs: workload.stop.limitSec * 1000 },
    };
    const body = containerBody({
      manifest: set.manifest,
      workload,
      identity,
      imageId: expected.imageId,
      probeAddress: config.probeAddress,
      paramsFolder: workload.params.length === 0 ? undefined : paramsFolder(set, workload),
      realPaths: real.paths,
    });
    const created = await engine.create(containerName(identity), body);
    if (!created.ok) {
      // Gone is the image, not the container that is only about to be: the set has to be made anew.
      if (created.problem === "not-found") return { ok: false, problem: "tampered", code: "IMAGE_MISSING" };
      return this.#refused(instanceId, created);
    }
    const started = await engine.start(created.value);
    if (started.ok) return { ok: true };
    await engine.remove(created.value);
    return this.#refused(instanceId, started);
  }

  #refused(instanceId: string, { problem, said }: EngineTrouble): StartResult {
    this.#options.logger.warn("engine refuses to start", { instanceId, problem, said });
    // Whether it was started is not known; it is looked for when the engine is back.
    if (problem === "unreachable") throw this.#unseen({ ok: false, problem, said });
    if (problem === "timeout") return { ok: false, problem: "start-timeout", code: "START_TIMEOUT" };
    return { ok: false, problem: "start-refused", code: `ENGINE_${problem.toUpperCase().replaceAll("-", "_")}` };
  }

  /** Undefined for what is not ours, is gone, or was only half made. */
  async #look(id: string): Promise<Instance | undefined> {
    const { engine, vehicleId } = this.#options;
    const seen = await engine.container(id);
    if (!seen.ok) {
      if (seen.problem === "not-found") return undefined;
      throw this.#unseen(seen);
    }
    const container = seen.value;
    const identity = identityIn(container.labels);
    if (identity?.vehicleId === vehicleId && this.#starting.has(identity.instanceId)) return undefined;
    if (container.status === "created" || container.status === "removing") {
      // The agent died between making and starting it: nothing ran, and nothing will.
      if (container.status === "created") await engine.remove(id);
      return undefined;
    }
    const isOurs = identity !== undefined && (await this.#isGenuine(container, identity));
    if (!isOurs) return this.#impostor(container);
    this.#containers.set(identity.instanceId, id);
    const common = { ...instanceOf(identity), isolation: "full" } as const;
    if (isAliveContainer(container))
      return { ...common, state: { kind: "running", pid: container.pid, supervised: true } };
    const requested = container.name === stoppedName(identity);
    const byOutage = !requested && (await this.#watch.wasTakenAlong(container, identity.stop.limitMs));
    const instance: Instance = { ...common, state: endOf(container, { requested, byOutage }) };
    this.#ended.set(id, instance);
    return instance;
  }

  /** A container under our name with a foreign image or another configuration is drift, and is never taken for ours. */
  async #isGenuine(container: ContainerSeen, identity: ContainerIdentity): Promise<boolean> {
    if (container.name !== containerName(identity) && container.name !== stoppedName(identity)) return false;
    const expected = (await this.#expectation(identity.set))?.get(identity.workload);
    // Of a set that is gone from the disk nothing is known any more; its containers are extras by their digest.
    if (expected === undefined) return true;
    return container.imageId === expected.imageId && identity.configHash === expected.configHash;
  }

  #impostor(container: ContainerSeen): Instance {
    const instanceId = container.id.slice(0, 64);
    this.#containers.set(instanceId, container.id);
    const state = isAliveContainer(container)
      ? ({ kind: "running", pid: container.pid, supervised: true } as const)
      : endOf(container, { requested: true, byOutage: false });
    const { bootId } = this.#options;
    const set = impostorSet(container);
    const workload = identityIn(container.labels)?.workload ?? "unknown";
    return { instanceId, set, workload, configHash: set, bootId, startedAtMs: 0, isolation: "full", state };
  }

  async #expectation(set: string): Promise<SetExpectation | undefined> {
    const known = this.#expectations.get(set);
    if (known !== undefined) return known;
    const { disk, setsFolder } = this.#options;
    const read = await readExpectation(disk, join(setsFolder, digestHex(set)));
    if (read !== undefined) this.#expectations.set(set, read);
    return read;
  }

  async #find(
    instanceId: string,
  ): Promise<{ container: ContainerSeen; identity: ContainerIdentity | undefined } | undefined | "unseen"> {
    const { engine } = this.#options;
    let id = this.#containers.get(instanceId);
    if (id === undefined) {
      const listed = await engine.containers([this.#ownLabel(), `${LABELS.instance}=${instanceId}`]);
      if (!listed.ok) return "unseen";
      id = listed.value[0]?.id;
      if (id === undefined) return undefined;
    }
    const seen = await engine.container(id);
    if (!seen.ok) return seen.problem === "not-found" ? undefined : "unseen";
    const identity = identityIn(seen.value.labels);
    return { container: seen.value, identity: identity?.instanceId === instanceId ? identity : undefined };
  }

  #stopSteps(identity: ContainerIdentity | undefined): readonly ContainerIdentity["stop"][] {
    const { terminateLimitMs = OCI_LIMITS.terminateLimitMs } = this.#options;
    const terminate = { signal: "SIGTERM", limitMs: terminateLimitMs };
    return identity?.stop.signal === "SIGINT" ? [identity.stop, terminate] : [identity?.stop ?? terminate];
  }

  async #follow(instances: readonly Instance[]): Promise<void> {
    for (const { instanceId, state } of instances) {
      const id = this.#containers.get(instanceId);
      if (id === undefined) continue;
      const follower = this.#follower(instanceId, id);
      if (state.kind === "running") follower.keep();
      else await follower.finish();
    }
    const present = new Set(instances.map(({ instanceId }) => instanceId));
    for (const [instanceId, follower] of this.#followers) {
      if (present.has(instanceId)) continue;
      this.#followers.delete(instanceId);
      this.#containers.delete(instanceId);
      await follower[Symbol.asyncDispose]();
    }
  }

  #follower(instanceId: string, container: string): OutputFollower {
    const known = this.#followers.get(instanceId);
    if (known !== undefined) return known;
    const follower = new OutputFollower(this.#options.engine, container, () => this.#watch.tell());
    this.#followers.set(instanceId, follower);
    return follower;
  }

  #withDeaths(instance: Instance): Instance {
    const deaths = this.#followers.get(instance.instanceId)?.deaths ?? 0;
    return deaths === 0 ? instance : { ...instance, deaths };
  }

  #ownLabel(): string {
    return `${LABELS.vehicle}=${this.#options.vehicleId}`;
  }

  #unseen({ problem, said }: EngineTrouble): RuntimeUnseen {
    if (!this.#isUnseen) this.#options.logger.error("container engine cannot be asked", { problem, said });
    this.#isUnseen = true;
    return new RuntimeUnseen("engine");
  }

  #seenAgain(): void {
    if (this.#isUnseen) this.#options.logger.info("container engine answers again");
    this.#isUnseen = false;
  }
}

const COLLECT_LIMIT_MS = 10_000;

function instanceOf({ instanceId, set, workload, configHash, bootId, startedAtMs }: ContainerIdentity) {
  return { instanceId, set, workload, configHash, bootId, startedAtMs };
}
