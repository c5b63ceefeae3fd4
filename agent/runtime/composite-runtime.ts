import type { Workload } from "@muto/spec";
import {
  RuntimeUnseen,
  type BlobReader,
  type Instance,
  type PrepareResult,
  type Runtime,
  type SetOnDisk,
  type StartResult,
  type StopResult,
} from "../ports.ts";
import type { NativeRuntime } from "./native-runtime.ts";
import type { OciRuntime } from "./oci/oci-runtime.ts";
import type { OutputSearch } from "./process-runtime.ts";

/** The adapters that the vehicle's configuration names; what is left out refuses its workloads. */
export interface Adapters {
  readonly native: NativeRuntime | undefined;
  readonly oci: OciRuntime | undefined;
}

type Adapter = NativeRuntime | OciRuntime;

/** One runtime for sets of native workloads, of containers, or of both: each workload goes to the adapter of its type. */
export class CompositeRuntime implements Runtime, OutputSearch, AsyncDisposable {
  readonly #adapters: Adapters;
  readonly #owners = new Map<string, Adapter>();

  constructor(adapters: Adapters) {
    this.#adapters = adapters;
  }

  async prepare(set: SetOnDisk, blobs: BlobReader, signal: AbortSignal): Promise<PrepareResult> {
    for (const adapter of this.#all()) {
      const prepared = await adapter.prepare(set, blobs, signal);
      if (!prepared.ok) return prepared;
    }
    return { ok: true };
  }

  async verify(set: SetOnDisk): Promise<boolean> {
    for (const adapter of this.#all()) if (!(await adapter.verify(set))) return false;
    return true;
  }

  async start(set: SetOnDisk, workload: Workload, instanceId: string): Promise<StartResult> {
    const { native, oci } = this.#adapters;
    const adapter = workload.type === "oci" ? oci : native;
    if (adapter === undefined) {
      const code = workload.type === "oci" ? "NO_CONTAINER_ENGINE" : "NO_NATIVE_RUNTIME";
      return { ok: false, problem: "start-refused", code };
    }
    this.#owners.set(instanceId, adapter);
    return await adapter.start(set, workload, instanceId);
  }

  async stop(instanceId: string): Promise<StopResult> {
    return (await (await this.#ownerOf(instanceId))?.stop(instanceId)) ?? { ok: true };
  }

  /**
   * All or nothing: while the engine is away and a set of this vehicle has containers, nothing is known of that set as a whole.
   * A vehicle on which no set has any does not notice.
   */
  async inspect(): Promise<readonly Instance[]> {
    const instances: Instance[] = [];
    const owners: [string, Adapter][] = [];
    for (const adapter of this.#all()) {
      for (const instance of await this.#inspected(adapter)) {
        instances.push(instance);
        owners.push([instance.instanceId, adapter]);
      }
    }
    this.#owners.clear();
    for (const [instanceId, adapter] of owners) this.#owners.set(instanceId, adapter);
    return instances;
  }

  watch(onChange: () => void): AsyncDisposable {
    const watches = new AsyncDisposableStack();
    for (const adapter of this.#all()) watches.use(adapter.watch(onChange));
    return watches;
  }

  async collect(instanceId: string, bytesMax: number): Promise<Uint8Array> {
    return (await (await this.#ownerOf(instanceId))?.collect(instanceId, bytesMax)) ?? new Uint8Array();
  }

  async forget(instanceId: string): Promise<void> {
    await (await this.#ownerOf(instanceId))?.forget(instanceId);
    this.#owners.delete(instanceId);
  }

  async sweep(keep: readonly string[]): Promise<void> {
    for (const adapter of this.#all()) await adapter.sweep?.(keep);
  }

  async saw(instanceId: string, text: string): Promise<boolean | null> {
    return (await (await this.#ownerOf(instanceId))?.saw(instanceId, text)) ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const adapter of this.#all().toReversed()) await adapter[Symbol.asyncDispose]();
  }

  #all(): readonly (Adapter & Runtime)[] {
    const { native, oci } = this.#adapters;
    return [native, oci].filter((adapter) => adapter !== undefined);
  }

  async #inspected(adapter: Adapter): Promise<readonly Instance[]> {
    try {
      return await adapter.inspect();
    } catch (error) {
      const { oci } = this.#adapters;
      if (!(error instanceof RuntimeUnseen) || adapter !== oci || (await oci.hasWork())) throw error;
      return [];
    }
  }

  /** An instance that this process has not seen yet is looked for. */
  async #ownerOf(instanceId: string): Promise<Adapter | undefined> {
    if (!this.#owners.has(instanceId)) await this.inspect();
    return this.#owners.get(instanceId);
  }
}
