import { backoffMs } from "@muto/kit/backoff";
import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Engine } from "./engine.ts";
import type { ContainerSeen } from "./engine-answers.ts";

export interface EngineWatchOptions {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly logger: Logger;
  /** `name=value`, which every container of ours bears. */
  readonly label: string;
}

const RECONNECT = { baseMs: 250, maxMs: 30_000, fraction: 1 } as const;
const SETTLE_MS = 300;
const SLACK_MS = 2_000;
/** SIGINT, SIGKILL and SIGTERM, by number: with these one stops a container. */
const STOP_SIGNALS: ReadonlySet<string> = new Set(["2", "9", "15"]);

/**
 * Listens to the engine's news. They only wake the agent, which then looks; names of events differ between engines, and news
 * are lost when the engine restarts. Also knows when the engine itself took containers along.
 */
export class EngineWatch implements AsyncDisposable {
  readonly #options: EngineWatchOptions;
  readonly #listeners = new Set<() => void>();
  readonly #closing = new AbortController();
  #listening: Promise<void> | undefined;
  #keepsDeaths: boolean | undefined;

  constructor(options: EngineWatchOptions) {
    this.#options = options;
  }

  subscribe(onChange: () => void): AsyncDisposable {
    this.#listeners.add(onChange);
    this.#listening ??= this.#listen();
    return { [Symbol.asyncDispose]: async () => void this.#listeners.delete(onChange) };
  }

  tell(): void {
    for (const listener of this.#listeners) listener();
  }

  /**
   * Docker that is stopped without `--live-restore` first stops every container as somebody at its command line would, with the
   * container's own signal, so that it looks as if it had ended by itself; and what it did not get to stop it ends at its next
   * start, when it remembers nothing. Neither is a crash. Podman has no daemon that could take anything along.
   */
  async wasTakenAlong(
    { id, finishedAtMs }: Pick<ContainerSeen, "id" | "finishedAtMs">,
    stopLimitMs: number,
  ): Promise<boolean> {
    const { engine, clock } = this.#options;
    if (finishedAtMs === null || !(await this.#isDocker())) return false;
    for (const isLast of [false, true]) {
      const news = await engine.newsOf(id, finishedAtMs - stopLimitMs - SLACK_MS, clock.wallMs());
      if (!news.ok) return false;
      if (news.value.some((one) => one.kind === "signalled" && STOP_SIGNALS.has(one.signal))) return true;
      if (news.value.some((one) => one.kind === "died")) return false;
      // The state of a container changes a moment before its death is in the news.
      if (!isLast) await clock.sleep(SETTLE_MS, this.#closing.signal);
    }
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#listening;
  }

  async #isDocker(): Promise<boolean> {
    if (this.#keepsDeaths !== undefined) return this.#keepsDeaths;
    const version = await this.#options.engine.version();
    if (version.ok) this.#keepsDeaths = version.value.kind === "docker";
    return this.#keepsDeaths ?? false;
  }

  async #listen(): Promise<void> {
    const { engine, clock, label } = this.#options;
    const { signal } = this.#closing;
    for (let attempt = 0; !signal.aborted; attempt++) {
      const events = await engine.events(label, signal);
      if (events.ok) {
        attempt = 0;
        // What happened while nobody listened is seen by looking.
        this.tell();
        for await (const _news of events.value) this.tell();
        this.tell();
      }
      await clock.sleep(backoffMs({ ...RECONNECT, attempt }), signal);
    }
  }
}
