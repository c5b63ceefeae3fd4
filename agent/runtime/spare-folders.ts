import { createHash } from "node:crypto";
import { join } from "node:path";
import { DiskError, type Disk } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import { MAKER, type RunFolder } from "./run-folder.ts";

const SPARE = ".spare-";
const SUPERVISOR = ".supervisor-";
const PROGRAM = "supervisor.mjs";

export interface SpareFoldersOptions {
  readonly disk: Disk;
  readonly runs: string;
  /** The bytes of the supervisor's program. */
  readonly supervisor: () => Promise<Uint8Array>;
  /** This process, as an owner is written. */
  readonly maker: string;
}

/**
 * Folders for instances to come, each with the supervisor's program in it. On a full disk a new folder cannot be made, but
 * a spare one can be renamed: so that old software can be started again when recordings have filled the disk (H8).
 */
export class SpareFolders {
  readonly #disk: Disk;
  readonly #runs: string;
  readonly #supervisor: () => Promise<Uint8Array>;
  readonly #maker: string;
  #made = 0;
  #wanted = 0;

  constructor(options: SpareFoldersOptions) {
    this.#disk = options.disk;
    this.#runs = options.runs;
    this.#supervisor = options.supervisor;
    this.#maker = options.maker;
  }

  /**
   * Gives the instance its folder: a spare one, or a new one. It says from its first moment on who is making it, or anybody
   * else who looks before its supervisor has claimed it would take it for one that a dead agent left, and throw it away. Rejects with a DiskError; `EEXIST` when the instance has
   * been here before, whose folder is then not touched.
   */
  async take(folder: RunFolder): Promise<void> {
    if (await folder.exists()) throw new DiskError("EEXIST", "makeFolder", folder.path);
    const version = await this.#version();
    const spare = join(this.#runs, (await this.#spares(version))[0] ?? (await this.#make(version)));
    await this.#disk.remove(join(spare, MAKER));
    await this.#disk.symlink(this.#maker, join(spare, MAKER));
    await this.#disk.rename(spare, folder.path);
  }

  /** A folder that nobody needs any more becomes a spare one, so that restarts on a full disk can go on for ever. */
  async giveBack(folder: RunFolder): Promise<void> {
    const version = await this.#version();
    if ((await this.#spares(version)).length >= this.#wanted || !(await this.#hasProgram(folder))) {
      return await folder.remove();
    }
    const name = await this.#unusedName(version);
    const partial = join(this.#runs, `${name}~`);
    await this.#disk.rename(folder.path, partial);
    for (const entry of await this.#disk.list(partial)) {
      if (entry.name !== PROGRAM) await this.#disk.remove(join(partial, entry.name));
    }
    await this.#disk.rename(partial, join(this.#runs, name));
  }

  /** Makes spare folders until there are so many, and removes what an agent of another version left. */
  async keep(count: number): Promise<void> {
    this.#wanted = count;
    const version = await this.#version();
    for (const { name } of await this.#disk.list(this.#runs)) {
      if (!name.startsWith(".") || name.startsWith(`${SPARE}${version}-`) || name === programOf(version)) continue;
      await this.#disk.remove(join(this.#runs, name));
    }
    for (let missing = count - (await this.#spares(version)).length; missing > 0; missing--) await this.#make(version);
  }

  async #spares(version: string): Promise<readonly string[]> {
    const entries = await this.#disk.list(this.#runs);
    return entries
      .map(({ name }) => name)
      .filter((name) => name.startsWith(`${SPARE}${version}-`) && !name.endsWith("~"));
  }

  /** One copy of the program for all, linked into each: an agent's upgrade removes its own name of it alone. */
  async #make(version: string): Promise<string> {
    const name = await this.#unusedName(version);
    const partial = join(this.#runs, `${name}~`);
    await this.#disk.remove(partial);
    await this.#disk.makeFolder(partial);
    await this.#disk.setPermissions(partial, 0o700);
    const program = join(this.#runs, programOf(version));
    if ((await this.#disk.stat(program)) === undefined) {
      await writeDurably(this.#disk, program, await this.#supervisor());
    }
    await this.#disk.link(program, join(partial, PROGRAM));
    await this.#disk.rename(partial, join(this.#runs, name));
    return name;
  }

  async #hasProgram({ path }: RunFolder): Promise<boolean> {
    const bytes = await this.#disk.read(join(path, PROGRAM));
    return bytes !== undefined && Buffer.compare(bytes, await this.#supervisor()) === 0;
  }

  async #unusedName(version: string): Promise<string> {
    const used = new Set((await this.#disk.list(this.#runs)).map(({ name }) => name));
    let name;
    do name = `${SPARE}${version}-${++this.#made}`;
    while (used.has(name));
    return name;
  }

  async #version(): Promise<string> {
    return createHash("sha256")
      .update(await this.#supervisor())
      .digest("hex")
      .slice(0, 12);
  }
}

function programOf(version: string): string {
  return `${SUPERVISOR}${version}.mjs`;
}
