import { writeSync } from "node:fs";
import { join } from "node:path";
import { systemDisk } from "@muto/kit/disk";
import type { Disk, DiskFile } from "@muto/kit/disk";
import { openJournal } from "@muto/kit/journal";

/*
 * A process of its own that writes a journal on the real disk and says on its standard output what it has been told is
 * durable; it kills itself before the call to the disk whose number it is given. Arguments: FOLDER CALL.
 */

const [folder = "", call = ""] = process.argv.slice(2);
const dieAt = Number(call);
let calls = 0;

function orDie<T>(work: () => Promise<T>): Promise<T> {
  if (calls === dieAt) process.kill(process.pid, "SIGKILL");
  calls += 1;
  return work();
}

function mortalFile(file: DiskFile): DiskFile {
  return {
    ...file,
    write: (offset, bytes) => orDie(() => file.write(offset, bytes)),
    truncate: (length) => orDie(() => file.truncate(length)),
    sync: () => orDie(() => file.sync()),
  };
}

const real = systemDisk();
const disk: Disk = {
  ...real,
  open: (path, mode, permissions) => orDie(async () => mortalFile(await real.open(path, mode, permissions))),
  link: (existing, path) => orDie(() => real.link(existing, path)),
  rename: (from, to) => orDie(() => real.rename(from, to)),
  remove: (path) => orDie(() => real.remove(path)),
  syncFolder: (path) => orDie(() => real.syncFolder(path)),
};

function told(records: readonly string[]): void {
  writeSync(1, `${records.join("|")}\n`);
}

const limits = { capacityBytes: 4096, reserveBytes: 256, recordBytesMax: 2048 };
const { journal } = await openJournal({ disk, path: join(folder, "journal"), limits });
let records: string[] = [];
told(records);
for (let round = 0; round < 2; round++) {
  for (const name of ["one", "two"]) {
    await journal.append(Buffer.from(`${round} ${name}`.padEnd(900, ".")));
    records = [...records, `${round} ${name}`];
    told(records);
  }
  records = [`${round} snapshot`];
  await journal.compact(records.map((record) => Buffer.from(record)));
  told(records);
}
await journal.close();
