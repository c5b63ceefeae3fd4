import type { Wake } from "@muto/kit/wake";
import type { Logger } from "@muto/kit/logger";
import { TOPICS } from "@muto/spec";
import type { DesiredNotify } from "@muto/spec";

/** The newest assignment of a vehicle whose notify has not been handed to the broker yet. */
export interface PendingNotify {
  readonly vehicleId: string;
  readonly sequence: number;
  readonly desiredStateRevision: string;
}

/** What the notifier needs of the database: it resumes after a crash from what is recorded as sent. */
export interface NotifyQueue {
  pending(limit: number): Promise<readonly PendingNotify[]>;
  markSent(sent: readonly PendingNotify[]): Promise<void>;
  /** Forgets what was sent, because the broker may have lost its retained messages. */
  forgetSent(): Promise<void>;
}

export interface NotifierOptions {
  readonly queue: NotifyQueue;
  readonly publish: (topic: string, payload: Uint8Array) => Promise<boolean>;
  readonly tenant: string;
  /** Origin that vehicles fetch from; they compare it with their own configuration and never follow another. */
  readonly publicUrl: string;
  readonly wake: Wake;
  readonly logger: Logger;
}

const BATCH_MAX = 500;
/** How many publishes wait for the broker's acknowledgement at once. */
const IN_FLIGHT_MAX = 64;
const POLL_MS = 5_000;

/** Publishes retained notifies until the signal aborts. A notify carries no authority: a lost one costs one poll interval. */
export async function runNotifier(options: NotifierOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const batch = await options.queue.pending(BATCH_MAX);
    const sent = await publishAll(batch, options);
    if (sent.length > 0) await options.queue.markSent(sent);
    const stuck = sent.length < batch.length;
    if (batch.length < BATCH_MAX || stuck) await options.wake.wait(POLL_MS, signal);
  }
}

async function publishAll(
  batch: readonly PendingNotify[],
  options: NotifierOptions,
): Promise<readonly PendingNotify[]> {
  const waiting = [...batch];
  const sent: PendingNotify[] = [];
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const topic = TOPICS.desiredNotify.format({ tenant: options.tenant, vehicleId: next.vehicleId });
      if (await options.publish(topic, Buffer.from(JSON.stringify(notifyOf(next, options.publicUrl))))) sent.push(next);
      else return;
    }
  };
  await Promise.all(Array.from({ length: Math.min(IN_FLIGHT_MAX, batch.length) }, worker));
  return sent;
}

export function notifyOf(pending: PendingNotify, publicUrl: string): DesiredNotify {
  return {
    kind: "muto.desired-notify/v1",
    desiredStateRevision: pending.desiredStateRevision,
    sequence: pending.sequence,
    url: new URL(`/api/v1/desired-states/latest?vehicleId=${pending.vehicleId}`, publicUrl).href,
  };
}
