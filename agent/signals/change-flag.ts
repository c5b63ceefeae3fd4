import type { Clock } from "@muto/kit/clock";
import { writeDurably } from "@muto/kit/durable-file";
import type { Disk } from "@muto/kit/disk";
import type { ChangeInProgress } from "@muto/spec";
import type { ChangeFlag, SignalReader } from "../ports.ts";
import { isAcknowledged } from "../safety/acknowledgement.ts";

/** Everyone on the vehicle may read it; only the agent writes it. */
const FILE_MODE = 0o644;

/**
 * Tells the vehicle's own software that its stack is being changed (H5): durably in a file, if one is configured, so that it is
 * still told after a power cut, and to every client of the signal sockets. Rejects with a DiskError when the file cannot be written;
 * then nobody has been told and no change may begin.
 */
export function createChangeFlag(options: {
  readonly disk: Disk;
  readonly file: string | undefined;
  readonly tell: (change: ChangeInProgress) => void;
}): ChangeFlag {
  const { disk, file, tell } = options;
  return {
    assert: async (change) => {
      const bytes = new TextEncoder().encode(`${JSON.stringify(change)}\n`);
      if (file !== undefined) await writeDurably(disk, file, bytes, { permissions: FILE_MODE });
      tell(change);
    },
    tell,
  };
}

/**
 * Waits until the vehicle's software answers with the change's id in a line of signals. False when it did not within
 * `timeoutMs`, or the signal aborted; then the change must not begin.
 */
export async function waitForAcknowledgement(options: {
  readonly signals: SignalReader;
  readonly clock: Clock;
  readonly changeId: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}): Promise<boolean> {
  const { signals, clock, changeId, timeoutMs, signal } = options;
  const changed = { controller: new AbortController() };
  await using watch = signals.watch(() => changed.controller.abort());
  void watch;
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  for (;;) {
    changed.controller = new AbortController();
    if (isAcknowledged(await signals.read(), changeId)) return true;
    const leftMs = deadlineMs - clock.monotonicMs();
    if (leftMs <= 0 || signal.aborted) return false;
    await clock.sleep(leftMs, AbortSignal.any([changed.controller.signal, signal]));
  }
}
