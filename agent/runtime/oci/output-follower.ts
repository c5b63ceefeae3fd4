import type { Engine } from "./engine.ts";

/** How `ros2 launch` says that one of its nodes ended; it hides respawn storms from everybody who only looks at itself. */
const DEATH = "process has died [";

/** For reading all that the engine kept of one container. */
const SCAN_LIMIT_MS = 10_000;

/** Text that is kept between two pieces of a stream, so that nothing is missed where they meet. */
const OVERLAP_LENGTH = 1_024;

/**
 * Reads the output of one container from its beginning and on as it comes: counts deaths of nodes, and remembers which of the
 * texts that somebody asked about were in it. Keeps no output.
 */
export class OutputFollower implements AsyncDisposable {
  readonly #engine: Engine;
  readonly #container: string;
  readonly #onDeath: () => void;
  readonly #found = new Set<string>();
  readonly #asked = new Set<string>();
  #stop = new AbortController();
  #reading: Promise<void> | undefined;
  #deaths = 0;
  #isOver = false;

  constructor(engine: Engine, container: string, onDeath: () => void) {
    this.#engine = engine;
    this.#container = container;
    this.#onDeath = onDeath;
  }

  get deaths(): number {
    return this.#deaths;
  }

  /** Reads on where nobody does; a broken connection is read again from the beginning at the next call. */
  keep(): void {
    if (this.#isOver || this.#reading !== undefined) return;
    this.#reading = this.#read(this.#stop.signal).finally(() => (this.#reading = undefined));
  }

  /** All of it has been written: it is read once more to its end, and then never again. */
  async finish(): Promise<void> {
    if (this.#isOver) return;
    // Not every engine ends what it was asked to follow: the whole is read anew rather than waited for.
    await this.#restart();
    this.#isOver = await this.#scan({ follow: false, signal: this.#limited() });
  }

  /** Whether the text was ever in the output; null when the engine cannot be asked. */
  async saw(text: string, hasEnded: boolean): Promise<boolean | null> {
    if (this.#found.has(text)) return true;
    if (this.#asked.has(text) && (this.#reading !== undefined || this.#isOver)) return false;
    this.#asked.add(text);
    this.#isOver = false;
    await this.#restart();
    if (!hasEnded) this.keep();
    const whole = await this.#scan({ follow: false, signal: this.#limited() });
    if (!whole) return null;
    this.#isOver = hasEnded;
    return this.#found.has(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#reading;
  }

  #limited(): AbortSignal {
    return AbortSignal.any([this.#stop.signal, AbortSignal.timeout(SCAN_LIMIT_MS)]);
  }

  async #restart(): Promise<void> {
    this.#stop.abort();
    await this.#reading;
    this.#stop = new AbortController();
  }

  async #read(signal: AbortSignal): Promise<void> {
    await this.#scan({ follow: true, signal });
  }

  /** True when the engine gave all that there is. */
  async #scan({ follow, signal }: { readonly follow: boolean; readonly signal: AbortSignal }): Promise<boolean> {
    const logs = await this.#engine.logs(this.#container, { follow, signal });
    if (!logs.ok) return false;
    const ends = { stdout: "", stderr: "" };
    let deaths = 0;
    for await (const { stream, bytes } of logs.value) {
      const before = ends[stream];
      const text = before + Buffer.from(bytes).toString("utf8");
      for (const asked of this.#asked) if (text.includes(asked)) this.#found.add(asked);
      deaths += occurrences(text, DEATH) - occurrences(before, DEATH);
      ends[stream] = text.slice(-OVERLAP_LENGTH);
      if (deaths <= this.#deaths) continue;
      this.#deaths = deaths;
      if (follow) this.#onDeath();
    }
    return !signal.aborted;
  }
}

function occurrences(text: string, part: string): number {
  return text.split(part).length - 1;
}
