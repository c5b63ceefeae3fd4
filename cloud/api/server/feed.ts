import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Database } from "../../store/database.ts";
import { eventsAfter, feedBounds, placeEvents } from "../../store/events.ts";
import type { PlacedEvent } from "../../store/events.ts";

/** The live feed of this replica: every follower reads from the database at its own pace, woken by the same bell. */
export interface EventFeed extends AsyncDisposable {
  /** False when as many follow as may. */
  readonly hasRoom: boolean;
  /**
   * Everything after `from`, or from now on. `reset` says that events were missed and everything must be read anew; `idle`
   * comes when nothing happened for a while. Ends when the signal aborts.
   */
  follow(from: number | undefined, signal: AbortSignal): AsyncGenerator<FeedItem>;
}

export type FeedItem =
  | { readonly kind: "event"; readonly placed: PlacedEvent }
  | { readonly kind: "reset"; readonly position: number }
  | { readonly kind: "idle" };

const FOLLOWERS_MAX = 200;
const SLICE_EVENTS = 200;
const IDLE_MS = 15_000;
/** Wakes that come together are answered together. */
const PACE_MS = 100;
/** Without a notification for this long the database is asked anyway: a notification may be lost with its connection. */
const POLL_MS = 2_000;

export async function startFeed(database: Database, clock: Clock, logger: Logger): Promise<EventFeed> {
  const stop = new AbortController();
  const bells = new Set<() => void>();
  const listener = await database.listen("muto_feed", () => {
    for (const ring of bells) ring();
  });
  const place = together(() => placeEvents(database.db));

  async function* follow(from: number | undefined, signal: AbortSignal): AsyncGenerator<FeedItem> {
    const ended = AbortSignal.any([signal, stop.signal]);
    let rung = true;
    let waiter: AbortController | undefined;
    const ring = () => {
      rung = true;
      waiter?.abort();
    };
    bells.add(ring);
    try {
      await place();
      const { oldest, newest } = await feedBounds(database.db);
      let position = from ?? newest;
      if (position > newest || position < oldest - 1) {
        position = newest;
        yield { kind: "reset", position };
      }
      let quietMs = 0;
      while (!ended.aborted) {
        rung = false;
        await place();
        const events = await eventsAfter(database.db, position, SLICE_EVENTS);
        for (const placed of events) {
          if (placed.position !== position + 1) yield { kind: "reset", position: placed.position - 1 };
          position = placed.position;
          yield { kind: "event", placed };
        }
        if (events.length === SLICE_EVENTS) continue;
        quietMs = events.length > 0 ? 0 : quietMs;
        const startedMs = clock.monotonicMs();
        await clock.sleep(PACE_MS, ended);
        if (!rung) {
          waiter = new AbortController();
          await clock.sleep(POLL_MS, AbortSignal.any([ended, waiter.signal]));
          waiter = undefined;
        }
        quietMs += clock.monotonicMs() - startedMs;
        if (quietMs >= IDLE_MS && !ended.aborted) {
          quietMs = 0;
          yield { kind: "idle" };
        }
      }
    } catch (error) {
      logger.warn("live feed interrupted", { error });
    } finally {
      bells.delete(ring);
    }
  }

  return {
    get hasRoom() {
      return bells.size < FOLLOWERS_MAX && !stop.signal.aborted;
    },
    follow,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await listener[Symbol.asyncDispose]();
    },
  };
}

/**
 * Runs the work for all who ask at the same time once. Who asks while it runs waits for the next run, because the present one
 * may have begun before what he asks for was there.
 */
function together(work: () => Promise<unknown>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const run = async () => {
    next = undefined;
    await work();
  };
  return () => {
    next ??= (running ?? Promise.resolve()).catch(() => {}).then(run);
    running = next;
    return next;
  };
}
