import { join } from "node:path";
import { DiskError, type Disk } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import { Malformed, fieldsOf } from "../../reconcile/fields.ts";
import type { RunIdentity } from "../run-records.ts";
import { parseExit, type UnitExit } from "./unit.ts";

/** What is known of a unit beside what systemd knows: whose it is, and how long a stop may take. */
export interface UnitRecord extends RunIdentity {
  readonly stopLimitMs: number;
}

/**
 * One folder: `ID.json` durable before the unit is started, `ID.stop` when a stop of ours has begun, `ID.exit` written by the
 * unit itself when it has ended, whether an agent is there or not.
 */
export class UnitRecords {
  readonly folder: string;
  readonly #disk: Disk;

  constructor(disk: Disk, folder: string) {
    this.#disk = disk;
    this.folder = folder;
  }

  exitFile(instanceId: string): string {
    return join(this.folder, `${instanceId}.exit`);
  }

  async all(): Promise<readonly UnitRecord[]> {
    const names = (await this.#disk.list(this.folder)).flatMap(
      ({ name }) => /^([0-9A-Za-z_-]{1,64})\.json$/.exec(name)?.[1] ?? [],
    );
    const records = await Promise.all(names.map(async (name) => await this.get(name)));
    return records.filter((record) => record !== undefined);
  }

  /** Undefined when there is none, or it is illegible. */
  async get(instanceId: string): Promise<UnitRecord | undefined> {
    const bytes = await this.#disk.read(join(this.folder, `${instanceId}.json`));
    return bytes === undefined ? undefined : parseRecord(Buffer.from(bytes).toString("utf8"));
  }

  async has(instanceId: string): Promise<boolean> {
    return (await this.#disk.stat(join(this.folder, `${instanceId}.json`))) !== undefined;
  }

  /** Rejects with a DiskError; `EEXIST` when the id was used before. */
  async add(record: UnitRecord): Promise<void> {
    await this.#disk.makeFolder(this.folder);
    if (await this.has(record.instanceId)) throw new DiskError("EEXIST", "open", this.folder);
    await writeDurably(this.#disk, join(this.folder, `${record.instanceId}.json`), Buffer.from(JSON.stringify(record)));
  }

  async exit(instanceId: string): Promise<UnitExit | undefined> {
    const bytes = await this.#disk.read(this.exitFile(instanceId));
    return bytes === undefined ? undefined : parseExit(Buffer.from(bytes).toString("latin1"));
  }

  async markStop(instanceId: string): Promise<void> {
    const path = join(this.folder, `${instanceId}.stop`);
    if ((await this.#disk.stat(path)) === undefined) await writeDurably(this.#disk, path, new Uint8Array());
  }

  async isStopMarked(instanceId: string): Promise<boolean> {
    return (await this.#disk.stat(join(this.folder, `${instanceId}.stop`))) !== undefined;
  }

  /** The record itself last: without it nothing says that the others mean anything. */
  async remove(instanceId: string): Promise<void> {
    for (const kind of ["exit", "stop", "json"]) await this.#disk.remove(join(this.folder, `${instanceId}.${kind}`));
  }
}

function parseRecord(text: string): UnitRecord | undefined {
  try {
    const fields = fieldsOf(JSON.parse(text), "");
    return {
      instanceId: fields.text("instanceId"),
      set: fields.text("set"),
      workload: fields.text("workload"),
      configHash: fields.text("configHash"),
      bootId: fields.text("bootId"),
      startedAtMs: fields.number("startedAtMs"),
      stopLimitMs: fields.number("stopLimitMs"),
    };
  } catch (error) {
    if (error instanceof Malformed || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
