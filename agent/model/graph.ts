import type { DiagnosticSeen, GraphReader, TopicSeen, TopicWatch } from "../ports.ts";

/** As often as any release asks for, so that whatever is not faulted is well. */
const WELL_HZ = 100_000;
const WELL_PUBLISHERS = 1_000;
const ACTIVE = 3;

/** A ROS graph in which everything that is asked for is there and well, unless a fault was set. */
export class ModelGraph implements GraphReader {
  /** False: nothing can be seen, as when the provider's connection is gone. */
  isConnected = true;
  /** True: connected, and nobody is there. */
  isEmpty = false;
  /** Nodes that left. */
  readonly absent = new Set<string>();
  /** What is different about a topic. */
  readonly topics = new Map<string, Partial<TopicSeen>>();
  readonly states = new Map<string, number>();
  /** Services that answer that they did not succeed. */
  readonly refusing = new Set<string>();
  statuses: readonly DiagnosticSeen[] = [{ name: "/", level: 0, ageMs: 0 }];
  readonly #watchers = new Set<() => void>();

  async node(name: string): Promise<boolean | null> {
    return this.isConnected ? !this.isEmpty && !this.absent.has(name) : null;
  }

  async topic({ topic }: TopicWatch): Promise<TopicSeen | null> {
    if (this.isConnected && this.isEmpty) return { hz: 0, ageMs: null, publishers: 0, isWindowFull: true };
    const well = { hz: WELL_HZ, ageMs: 0, publishers: WELL_PUBLISHERS, isWindowFull: true };
    return this.isConnected ? { ...well, ...this.topics.get(topic) } : null;
  }

  async lifecycle(node: string): Promise<number | null> {
    return this.isConnected && !this.isEmpty ? (this.states.get(node) ?? ACTIVE) : null;
  }

  async trigger(service: string): Promise<boolean | null> {
    return this.isConnected && !this.isEmpty ? !this.refusing.has(service) : null;
  }

  async diagnostics(): Promise<readonly DiagnosticSeen[] | null> {
    if (this.isConnected && this.isEmpty) return [];
    return this.isConnected ? this.statuses : null;
  }

  watch(onChange: () => void): AsyncDisposable {
    this.#watchers.add(onChange);
    return { [Symbol.asyncDispose]: async () => void this.#watchers.delete(onChange) };
  }

  /** A node left; whoever watches is told. */
  leave(node: string): void {
    this.absent.add(node);
    this.#ring();
  }

  /** A node that had left is there again. */
  rejoin(node: string): void {
    this.absent.delete(node);
    this.#ring();
  }

  #ring(): void {
    for (const watcher of this.#watchers) watcher();
  }
}
