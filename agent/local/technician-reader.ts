import type { Clock } from "@muto/kit/clock";
import type { Boot } from "../ports.ts";
import type { TechnicianReader } from "../signals/signal-reader.ts";
import type { Uptime } from "./uptime.ts";
import { readHold, readStanding, readTechnician, type TechnicianFolder } from "./technician-files.ts";

export interface TechnicianReaderOptions extends TechnicianFolder {
  readonly clock: Clock;
  readonly boot: Boot;
  readonly uptime: Uptime;
}

/** A person notices a delay of a second and no more; two calls to the file system a second cost nothing. */
const POLL_MS = 1_000;

/**
 * Reads the technician's files anew each time, and looks at them once a second on behalf of whoever watches. A confirmation that is
 * older than the reader counts for nothing: whatever contradicted it before was said to a process that is gone, and a
 * vehicle that drove after it was confirmed standing must not be taken for a standing one by the next process (H6).
 */
export function createTechnicianReader(options: TechnicianReaderOptions): TechnicianReader {
  const { clock, boot, uptime } = options;
  const hearsSinceMs = clock.monotonicMs();
  return {
    read: async () => {
      const now = { bootId: await boot.id(), uptimeMs: uptime() };
      const says = await readTechnician(options, { ...now, monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() });
      const isOlder = says.standing !== null && says.standing.madeMs < hearsSinceMs;
      return isOlder ? { ...says, standing: null } : says;
    },
    watch: (onChange) => {
      const stop = new AbortController();
      const watching = pollFiles(options, onChange, stop.signal);
      return {
        [Symbol.asyncDispose]: async () => {
          stop.abort();
          await watching;
        },
      };
    },
  };
}

async function pollFiles(options: TechnicianReaderOptions, onChange: () => void, stop: AbortSignal): Promise<void> {
  const look = async () => JSON.stringify(await Promise.all([readHold(options), readStanding(options)]));
  let before = await look();
  while (!stop.aborted) {
    await options.clock.sleep(POLL_MS, stop);
    const now = await look();
    if (now !== before) onChange();
    before = now;
  }
}
