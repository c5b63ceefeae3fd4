import type { TopicReceived } from "../model.ts";

/** Remembers when samples came: the last ones exactly, all of them as a number. */
export class RateMeter {
  readonly #times = new Float64Array(REMEMBERED_MAX);
  readonly #sinceMs: number;
  #samples = 0;

  constructor(sinceMs: number) {
    this.#sinceMs = sinceMs;
  }

  record(nowMs: number): void {
    this.#times[this.#samples % REMEMBERED_MAX] = nowMs;
    this.#samples++;
  }

  read(nowMs: number, windowMs: number): Omit<TopicReceived, "liveWriters"> {
    const remembered = Math.min(this.#samples, REMEMBERED_MAX);
    // When every remembered time lies within the window, earlier ones may have been forgotten: only what is known is counted.
    const full = this.#samples > REMEMBERED_MAX;
    const knownMs = nowMs - (full ? this.#nth(REMEMBERED_MAX - 1) : this.#sinceMs);
    const observedMs = Math.min(windowMs, knownMs);
    let within = 0;
    while (within < remembered && nowMs - this.#nth(within) < observedMs) within++;
    const newestAgeMs = this.#samples === 0 ? undefined : nowMs - this.#nth(0);
    const rateHz = observedMs > 0 ? (within * 1000) / observedMs : 0;
    return { samples: this.#samples, rateHz, observedMs, newestAgeMs };
  }

  /** The n-th newest time, from 0. */
  #nth(n: number): number {
    return this.#times[(this.#samples - 1 - n) % REMEMBERED_MAX] ?? 0;
  }
}

/** Seconds of the window at 200 Hz; faster topics are measured over less time. */
const REMEMBERED_MAX = 1_024;
