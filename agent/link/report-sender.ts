import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import { ERRORS, TOPICS, type ReportReceipt, type TopicParams } from "@muto/spec";
import type { MqttSession } from "../ports.ts";
import { REPORTS_PER_POST_MAX, type CloudClient } from "./cloud-client.ts";
import type { Outbox, SealedReport } from "./outbox.ts";

export interface ReportSenderOptions {
  readonly own: TopicParams;
  readonly cloud: Pick<CloudClient, "postReconcile">;
  readonly outbox: Pick<Outbox, "installId" | "waiting" | "pending" | "acknowledge">;
  readonly clock: Clock;
  readonly logger: Logger;
}

const PUBLISH_MS_MAX = 10_000;
const BATCH_BYTES_MAX = 1_048_576;
/** Long enough for a report that came by MQTT to be stored, so that not every report is sent twice. */
const STORING_MS_MAX = 10_000;

/**
 * Reports leave in order and at least once; only the cloud's word takes one out of the outbox. One sending at a time, or a
 * poll and a new report would send the same ones twice.
 */
export class ReportSender {
  readonly #options: ReportSenderOptions;
  /** When each report was published on this connection, by number; at most as many as the outbox hands out. */
  #published = new Map<string, number>();
  #lastTurn: Promise<unknown> = Promise.resolve();

  constructor(options: ReportSenderOptions) {
    this.#options = options;
  }

  /** A new connection: what was published on the last one may be lost. */
  connected(): void {
    this.#published = new Map();
  }

  /** The fast path: publishes what was not published on this connection. Nothing leaves the outbox by it. */
  publish(session: MqttSession): Promise<void> {
    return this.#inTurn(async () => {
      const { own, outbox, clock } = this.#options;
      const { installId } = outbox;
      const reports = await outbox.pending(BATCH_BYTES_MAX);
      const names = new Set(reports.map((report) => nameOf(installId, report)));
      // Kept by hand: the connection may be another one by the time that the broker has taken a report.
      const published = new Map([...this.#published].filter(([name]) => names.has(name)));
      this.#published = published;
      const { qos, retain, payloadBytesMax } = TOPICS.reconcileReports;
      const topic = TOPICS.reconcileReports.format(own);
      for (const report of reports) {
        const name = nameOf(installId, report);
        if (published.has(name) || report.envelope.byteLength > payloadBytesMax) continue;
        const isTaken = await session.publish({ topic, payload: report.envelope, qos, retain }, PUBLISH_MS_MAX);
        if (!isTaken) return;
        published.set(name, clock.monotonicMs());
      }
    });
  }

  /** The sure path, over HTTP; what was only just published by MQTT is left to the next poll's acknowledgement. */
  post(signal: AbortSignal): Promise<void> {
    return this.#inTurn(async () => {
      const { outbox } = this.#options;
      while (outbox.waiting > 0 && !signal.aborted) {
        const { installId, waiting } = outbox;
        const reports = (await outbox.pending(BATCH_BYTES_MAX)).slice(0, REPORTS_PER_POST_MAX);
        const [first] = reports;
        // If the oldest is still being stored, the next poll will say so; posting newer ones would overtake it.
        if (first === undefined || this.#isBeingStored(nameOf(installId, first))) return;
        const last = reports[(await this.#postBatch(reports, signal)) - 1];
        if (last === undefined) return;
        await outbox.acknowledge(installId, last.seq);
        if (outbox.waiting >= waiting) return;
      }
    });
  }

  #isBeingStored(name: string): boolean {
    const publishedMs = this.#published.get(name);
    return publishedMs !== undefined && this.#options.clock.monotonicMs() - publishedMs < STORING_MS_MAX;
  }

  /** How many of the reports, from the first on, the cloud has dealt with for good. */
  async #postBatch(reports: readonly SealedReport[], signal: AbortSignal): Promise<number> {
    const { cloud, logger } = this.#options;
    const envelopes = reports.map(({ envelope }) => envelope);
    const posted = await cloud.postReconcile(envelopes, signal);
    switch (posted.kind) {
      case "answered":
        warnOfRefused(reports, posted.receipts, logger);
        return posted.receipts.length;
      case "unavailable":
        return 0;
      case "refused": {
        const isUnreadable =
          posted.status === ERRORS.BODY_INVALID.status || posted.status === ERRORS.BODY_TOO_LARGE.status;
        const [first] = reports;
        if (first === undefined || !isUnreadable) return 0;
        // One report that the cloud cannot read must not hold up the others for ever.
        if (reports.length > 1) return this.#postBatch([first], signal);
        logger.error("report is refused for good", { reportId: first.reportId, code: posted.code });
        return 1;
      }
    }
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#lastTurn.then(work);
    this.#lastTurn = turn.catch(() => {});
    return turn;
  }
}

function nameOf(installId: string, { seq }: SealedReport): string {
  return `${installId} ${seq}`;
}

/** Said loudly, because nobody will see this report: its signature, its vehicle or its form was not accepted. */
function warnOfRefused(reports: readonly SealedReport[], receipts: readonly ReportReceipt[], logger: Logger): void {
  for (const { index, result, error } of receipts) {
    if (result !== "refused") continue;
    logger.error("report is refused for good", { reportId: reports[index]?.reportId, code: error });
  }
}
