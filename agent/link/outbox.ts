import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { openJournal } from "@muto/kit/journal";
import type { Journal, JournalError, JournalFound } from "@muto/kit/journal";
import {
  admit,
  applyOutboxRecord,
  EMPTY_OUTBOX,
  encodeOutboxRecord,
  numberable,
  HEAD_BYTES_MAX,
  parseOutboxRecord,
  recordsOf,
} from "./outbox-records.ts";
import type { OutboxLimits, OutboxRecord, OutboxState } from "./outbox-records.ts";

/**
 * Reconcile reports on their way to the cloud: durable, in order, at least once, bounded. The fast path may send them by
 * MQTT; only {@link Outbox.acknowledge} takes one out. Nothing is written while nothing happens.
 */
export interface Outbox extends AsyncDisposable {
  /** With `seq` the identity of a report. A new one begins whenever numbers may have been lost (H19). */
  readonly installId: string;
  /**
   * Durable when it resolves. `merged`: the newest one, which nobody has seen, says the same; one of them is left, of two
   * equal outcomes the first.
   * `full`: there is no room although everything that may be dropped was; do not begin what cannot be reported. Rejects
   * with a JournalError when the disk refuses.
   */
  append(report: UnsentReport): Promise<"queued" | "merged" | "full">;
  /** The oldest reports, signed and numbered, in order, up to so many bytes (at least one if there is any). */
  pending(bytesMax: number): Promise<readonly SealedReport[]>;
  /** The cloud has everything up to `seq` of that installation. */
  acknowledge(installId: string, seq: number): Promise<void>;
  readonly waiting: number;
  /** Reports dropped for want of room since the outbox was made; none of them was an outcome. */
  readonly dropped: number;
  readonly fault: JournalError | undefined;
}

export interface UnsentReport {
  readonly reportId: string;
  /** An outcome (converged, failed, rolled back): never dropped as long as no later report says the same. */
  readonly terminal: boolean;
  /** Equal for reports that say the same; null when it must stay by itself. */
  readonly mergeKey: string | null;
  /** The report without its number, as the sealer understands it. */
  readonly body: Uint8Array;
}

export interface SealedReport {
  readonly seq: number;
  readonly reportId: string;
  readonly envelope: Uint8Array;
}

/** Puts number and installation into a report and signs it. Called again for every resending, with the same number. */
export type ReportSealer = (report: {
  readonly installId: string;
  readonly seq: number;
  readonly body: Uint8Array;
}) => Promise<Uint8Array>;

export interface OutboxOptions {
  readonly disk: Disk;
  /** Folder of the agent's state; it exists. */
  readonly folder: string;
  readonly seal: ReportSealer;
  /** A ULID. */
  readonly newInstallId: () => string;
  /** After a failed sync numbers may have been lost: everything is written anew, under a new name. */
  readonly rewrite?: boolean;
  readonly limits?: Partial<OutboxLimits> & { readonly journalBytes?: number };
}

const LIMITS: OutboxLimits = { entriesMax: 512, bytesMax: 512 * 1024, inFlightMax: 32 };
const BODY_BYTES_MAX = 128 * 1024;

export async function openOutbox(
  options: OutboxOptions,
): Promise<{ readonly outbox: Outbox; readonly found: JournalFound }> {
  const { disk, folder, newInstallId } = options;
  const limits = { ...LIMITS, ...options.limits };
  const { journal, found, records } = await openJournal({
    disk,
    path: join(folder, "outbox"),
    limits: {
      capacityBytes: options.limits?.journalBytes ?? 2 * limits.bytesMax,
      reserveBytes: 0,
      recordBytesMax: BODY_BYTES_MAX + HEAD_BYTES_MAX,
    },
  });
  const readable = [...records, ...(found.kind === "damaged" ? found.salvaged : [])].map(parseOutboxRecord);
  const known = readable.filter((record) => record !== undefined);
  const state = known.reduce(applyOutboxRecord, EMPTY_OUTBOX);
  const outbox = new JournalOutbox(journal, state, limits, options);
  // A lost record may have been the one that gave a number away, and a number never means two reports.
  const lost = found.kind === "damaged" || known.length < readable.length || state.installId === "";
  if (lost || options.rewrite === true) await outbox.rename(newInstallId());
  return { outbox, found };
}

class JournalOutbox implements Outbox {
  readonly #journal: Journal;
  readonly #limits: OutboxLimits;
  readonly #seal: ReportSealer;
  readonly #newInstallId: () => string;
  #state: OutboxState;
  #lastTurn: Promise<unknown> = Promise.resolve();

  constructor(journal: Journal, state: OutboxState, limits: OutboxLimits, { seal, newInstallId }: OutboxOptions) {
    this.#journal = journal;
    this.#state = state;
    this.#limits = limits;
    this.#seal = seal;
    this.#newInstallId = newInstallId;
  }

  get installId(): string {
    return this.#state.installId;
  }

  get waiting(): number {
    return this.#state.entries.length;
  }

  get dropped(): number {
    return this.#state.dropped;
  }

  get fault(): JournalError | undefined {
    return this.#journal.fault;
  }

  append(report: UnsentReport): Promise<"queued" | "merged" | "full"> {
    return this.#inTurn(async () => {
      if (report.body.byteLength > BODY_BYTES_MAX)
        throw new RangeError(`a report has more than ${BODY_BYTES_MAX} bytes`);
      const admission = admit(this.#state, { ...report, seq: null }, this.#limits);
      switch (admission.kind) {
        case "full":
          return "full";
        case "said":
          return "merged";
        case "queued":
        case "merged":
          await this.#record(admission.record);
          return admission.kind;
      }
    });
  }

  pending(bytesMax: number): Promise<readonly SealedReport[]> {
    return this.#inTurn(async () => {
      const count = numberable(this.#state, this.#limits);
      if (count > 0) await this.#record({ kind: "numbered", count });
      const sealed: SealedReport[] = [];
      let bytes = 0;
      for (const { seq, reportId, body } of this.#state.entries) {
        if (seq === null) break;
        const envelope = await this.#seal({ installId: this.installId, seq, body });
        bytes += envelope.byteLength;
        if (sealed.length > 0 && bytes > bytesMax) break;
        sealed.push({ seq, reportId, envelope });
      }
      return sealed;
    });
  }

  acknowledge(installId: string, seq: number): Promise<void> {
    return this.#inTurn(async () => {
      if (installId !== this.installId) return;
      // The cloud knows numbers that we never gave: our memory is an older copy (H19). Under the old name, new reports
      // would look like repetitions.
      if (seq > this.#state.lastSeq) await this.#record({ kind: "renamed", installId: this.#newInstallId() });
      else if (this.#state.entries.some((entry) => entry.seq !== null && entry.seq <= seq)) {
        await this.#record({ kind: "acknowledged", seq });
      }
    });
  }

  /** Begins a new sequence; also the way out of a damaged journal. */
  rename(installId: string): Promise<void> {
    return this.#inTurn(async () => {
      const next = applyOutboxRecord(this.#state, { kind: "renamed", installId });
      await this.#compact(next);
      this.#state = next;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inTurn(() => this.#journal.close());
  }

  async #record(record: OutboxRecord): Promise<void> {
    const next = applyOutboxRecord(this.#state, record);
    const bytes = encodeOutboxRecord(record);
    if (this.#journal.hasRoom(bytes.byteLength)) await this.#journal.append(bytes);
    else await this.#compact(next);
    this.#state = next;
  }

  async #compact(state: OutboxState): Promise<void> {
    await this.#journal.compact(recordsOf(state).map(encodeOutboxRecord));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(work);
    this.#lastTurn = turn.catch(() => {});
    return turn;
  }
}
