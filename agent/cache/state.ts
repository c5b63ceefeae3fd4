import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { JournalError, openJournal } from "@muto/kit/journal";
import type { Journal, JournalFound, JournalUse } from "@muto/kit/journal";
import { encodeRecord, parseRecord, RECORD_BYTES_MAX, snapshotRecord } from "../reconcile/record-codec.ts";
import { applyRecord } from "../reconcile/records.ts";
import type { JournalRecord } from "../reconcile/records.ts";
import { EMPTY_STATE } from "../reconcile/state.ts";
import type { AgentState } from "../reconcile/state.ts";

/** The agent's durable state: the fold of its journal, `FOLDER/state`. */
export interface StateStore extends AsyncDisposable {
  /** What is durable; every value is a new object. */
  readonly state: AgentState;
  /**
   * Durable when it resolves, and only then part of `state`; rejects with a JournalError. The records that carry a change
   * to its end find room even on a full disk (H8). A record that does not fit the state is not written.
   */
  record(record: JournalRecord): Promise<void>;
  /** Set once the disk failed; no record is taken any more by this process. */
  readonly fault: JournalError | undefined;
}

export interface OpenedState {
  readonly store: StateStore;
  readonly found: JournalFound;
  /** Records that could not be read: of a newer agent, or damaged. They were passed over. */
  readonly unreadableRecords: number;
}

export interface StateLimits {
  /** Of the journal file; its spare takes the same again. */
  readonly capacityBytes: number;
  /** The largest records of a rollback, cause and evidence included, fit into this three times over. */
  readonly reserveBytes: number;
}

const LIMITS: StateLimits = { capacityBytes: 512 * 1024, reserveBytes: 128 * 1024 };

/** Opens or creates the state in a folder that exists. Rejects with a DiskError when the disk refuses. */
export async function openState(options: {
  readonly disk: Disk;
  readonly folder: string;
  readonly limits?: Partial<StateLimits>;
  /** After a failed sync nobody knows what is on the medium: what is read is written anew, elsewhere, before it counts. */
  readonly rewrite?: boolean;
}): Promise<OpenedState> {
  const { disk, folder } = options;
  const limits = { ...LIMITS, ...options.limits, recordBytesMax: RECORD_BYTES_MAX };
  const { journal, found, records } = await openJournal({ disk, path: join(folder, "state"), limits });
  const all = [...records, ...(found.kind === "damaged" ? found.salvaged : [])].map(parseRecord);
  const state = all.reduce((before, parsed) => (parsed.ok ? applyRecord(before, parsed.record) : before), EMPTY_STATE);
  const store = new JournalState(journal, state);
  if (found.kind === "damaged" || options.rewrite === true) await store.compact();
  return { store, found, unreadableRecords: all.filter(({ ok }) => !ok).length };
}

class JournalState implements StateStore {
  readonly #journal: Journal;
  #state: AgentState;
  #lastTurn: Promise<unknown> = Promise.resolve();

  constructor(journal: Journal, state: AgentState) {
    this.#journal = journal;
    this.#state = state;
  }

  get state(): AgentState {
    return this.#state;
  }

  get fault(): JournalError | undefined {
    return this.#journal.fault;
  }

  record(record: JournalRecord): Promise<void> {
    return this.#inTurn(async () => {
      const next = applyRecord(this.#state, record);
      if (next === this.#state) return;
      const bytes = readable(encodeRecord(record));
      if (this.#journal.hasRoom(bytes.byteLength)) await this.#journal.append(bytes);
      else await this.#compactOrUseReserve(next, bytes, useOf(record));
      this.#state = next;
    });
  }

  compact(): Promise<void> {
    return this.#inTurn(() => this.#journal.compact(snapshotsOf(this.#state, this.#journal.capacityBytes)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inTurn(() => this.#journal.close());
  }

  /** The snapshot already holds what the record says, so one compaction does for both. */
  async #compactOrUseReserve(next: AgentState, bytes: Uint8Array, use: JournalUse): Promise<void> {
    try {
      await this.#journal.compact(snapshotsOf(next, this.#journal.capacityBytes));
    } catch (error) {
      if (!(error instanceof JournalError) || error.code !== "noSpace") throw error;
      await this.#journal.append(bytes, use);
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(work);
    this.#lastTurn = turn.catch(() => {});
    return turn;
  }
}

/** What parsing would refuse after the next start would be forgotten then, silently; so it is refused now, as the bug it is. */
function readable(bytes: Uint8Array): Uint8Array {
  const parsed = parseRecord(bytes);
  if (!parsed.ok) throw new Error(`a record of the state cannot be read back: ${parsed.at}`);
  return bytes;
}

/** Twice, while that is cheap: a damaged snapshot would take everything with it, and the second one makes it good. */
function snapshotsOf(state: AgentState, capacityBytes: number): readonly Uint8Array[] {
  const snapshot = readable(encodeRecord(snapshotRecord(state)));
  return snapshot.byteLength * 4 <= capacityBytes ? [snapshot, snapshot] : [snapshot];
}

/** Once something of the old stack may have been stopped, a change is carried to its end whatever else fills the disk. */
function useOf(record: JournalRecord): JournalUse {
  switch (record.kind) {
    case "trial-phase":
    case "trial-abandoned":
    case "trial-rebooted":
    case "committed":
    case "rollback-begun":
    case "rollback-phase":
    case "rollback-ended":
    case "recovered":
    case "stranded":
      return "reserve";
    case "snapshot":
    case "time-learned":
    case "accepted":
    case "refused":
    case "refusal-cleared":
    case "sequence-reset":
    case "staged":
    case "unstaged":
    case "target-verified":
    case "target-damaged":
    case "trial-begun":
    case "trial-powered":
    case "exited":
    case "reported":
    case "spent":
      return "ordinary";
  }
}
