import type pg from "pg";
import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";

/**
 * One connection of its own for LISTEN, opened at the first listener and opened again when it is lost. Every reconnection
 * wakes everybody, because what was said meanwhile was not heard.
 */
export interface PostgresListener extends AsyncDisposable {
  listen(channel: string, onWake: () => void): Promise<AsyncDisposable>;
}

const RECONNECT_MS = 1_000;

export function openPostgresListener(connect: () => pg.Client, clock: Clock, logger: Logger): PostgresListener {
  const wakers = new Map<string, Set<() => void>>();
  const stop = new AbortController();
  let client: pg.Client | undefined;
  let running: Promise<void> | undefined;

  /** Resolves when the connection is lost or the listener is closed; `onReady` when it listens. */
  const serve = async (onReady: () => void): Promise<void> => {
    const own = connect();
    const lost = new Promise<void>((resolve) => {
      own.on("error", (error) => {
        logger.warn("database listener lost", { error: error.message });
        resolve();
      });
      own.on("end", () => resolve());
      stop.signal.addEventListener("abort", () => resolve(), { once: true });
    });
    own.on("notification", ({ channel }) => wakers.get(channel)?.forEach((wake) => wake()));
    try {
      await own.connect();
      for (const channel of wakers.keys()) await own.query(`listen ${own.escapeIdentifier(channel)}`);
      client = own;
      for (const each of wakers.values()) for (const wake of each) wake();
      onReady();
      await lost;
    } finally {
      client = undefined;
      await own.end().catch(() => {});
    }
  };

  const run = async (onReady: () => void): Promise<void> => {
    while (!stop.signal.aborted) {
      try {
        await serve(onReady);
      } catch (error) {
        logger.warn("database listener cannot connect", {
          error: error instanceof Error ? error.message : String(error),
        });
      }
      await clock.sleep(RECONNECT_MS, stop.signal);
    }
  };

  return {
    listen: async (channel, onWake) => {
      const known = wakers.get(channel) ?? new Set();
      wakers.set(channel, known);
      known.add(onWake);
      if (running === undefined) {
        await new Promise<void>((resolve) => {
          running = run(resolve);
        });
      } else if (known.size === 1) {
        await client?.query(`listen ${client.escapeIdentifier(channel)}`);
      }
      return {
        [Symbol.asyncDispose]: async () => {
          known.delete(onWake);
        },
      };
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}
