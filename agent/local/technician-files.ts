import { join } from "node:path";
import { DiskError, type Disk } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import {
  parseJson,
  parseLocalHold,
  parseStandingConfirmation,
  type LocalHold,
  type Parsed,
  type StandingConfirmation,
} from "@muto/spec";
import type { Instant, TechnicianHold, TechnicianSays } from "../safety/signals.ts";
import { judgeStanding, type BootTime } from "../safety/technician.ts";

/*
 * What a technician on the vehicle says, in two small files below the agent's state folder that belong to the agent's user
 * alone. `muto agent hold`, `release` and `confirm-standing` write them whether or not the agent runs; the agent reads
 * them at every look and never writes them. There is no other way to say these things, and none over the network.
 */

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const WRITABLE_BY_OTHERS = 0o022;
const BOUNDS = { bytesMax: 4_096, depthMax: 2 };

/** Everything below is about one agent, named by the `stateDir` of its configuration. */
export interface TechnicianFolder {
  readonly disk: Disk;
  readonly stateDir: string;
}

/** Fails closed both ways: a hold that cannot be read holds, a confirmation that cannot be read confirms nothing. */
export async function readTechnician(folder: TechnicianFolder, now: Instant & BootTime): Promise<TechnicianSays> {
  const [hold, standing] = await Promise.all([readHold(folder), readStanding(folder)]);
  return {
    hold: holdOf(hold),
    standing: standing.kind === "document" ? judgeStanding(standing.value, now) : null,
  };
}

/** The record on disk, for people to look at; says nothing of whether it still counts. */
export function readHold(folder: TechnicianFolder): Promise<Found<LocalHold>> {
  return readDocument(folder.disk, holdPath(folder), parseLocalHold);
}

export function readStanding(folder: TechnicianFolder): Promise<Found<StandingConfirmation>> {
  return readDocument(folder.disk, standingPath(folder), parseStandingConfirmation);
}

/** Rejects with a DiskError when the disk refuses; then nothing is held or confirmed. */
export function writeHold(folder: TechnicianFolder, hold: LocalHold): Promise<void> {
  return writeDocument(folder, holdPath(folder), hold);
}

export function writeStanding(folder: TechnicianFolder, standing: StandingConfirmation): Promise<void> {
  return writeDocument(folder, standingPath(folder), standing);
}

/** Removes the hold, readable or not, and what was confirmed; false when there was neither. */
export async function release(folder: TechnicianFolder): Promise<boolean> {
  const { disk } = folder;
  const paths = [holdPath(folder), standingPath(folder)];
  const found = await Promise.all(paths.map((path) => disk.stat(path)));
  if (found.every((entry) => entry === undefined)) return false;
  for (const path of paths) await disk.remove(path);
  await disk.syncFolder(localFolder(folder));
  return true;
}

export type Found<Document> =
  | { readonly kind: "absent" }
  | { readonly kind: "document"; readonly value: Document }
  /** Not a document, too large, writable by others, or not readable by us. */
  | { readonly kind: "unreadable" };

async function readDocument<Document>(
  disk: Disk,
  path: string,
  parse: (value: unknown) => Parsed<Document>,
): Promise<Found<Document>> {
  try {
    const found = await disk.stat(path);
    if (found === undefined) return { kind: "absent" };
    const isOurs = found.kind === "file" && (found.mode & WRITABLE_BY_OTHERS) === 0;
    if (!isOurs || found.sizeBytes > BOUNDS.bytesMax) return { kind: "unreadable" };
    const bytes = await disk.read(path);
    if (bytes === undefined) return { kind: "absent" };
    const json = parseJson(bytes, BOUNDS);
    const document = json.ok ? parse(json.value) : json;
    return document.ok ? { kind: "document", value: document.value } : { kind: "unreadable" };
  } catch (error) {
    if (error instanceof DiskError) return { kind: "unreadable" };
    throw error;
  }
}

async function writeDocument(folder: TechnicianFolder, path: string, document: object): Promise<void> {
  const { disk } = folder;
  await disk.makeFolder(localFolder(folder));
  await disk.setPermissions(localFolder(folder), FOLDER_MODE);
  const bytes = new TextEncoder().encode(`${JSON.stringify(document)}\n`);
  await writeDurably(disk, path, bytes, { permissions: FILE_MODE });
}

function holdOf(hold: Found<LocalHold>): TechnicianHold {
  switch (hold.kind) {
    case "absent":
      return { kind: "none" };
    case "document":
      return { kind: "held", who: hold.value.who, why: hold.value.why };
    case "unreadable":
      return { kind: "unreadable" };
  }
}

function localFolder({ stateDir }: TechnicianFolder): string {
  return join(stateDir, "local");
}

function holdPath(folder: TechnicianFolder): string {
  return join(localFolder(folder), "hold.json");
}

function standingPath(folder: TechnicianFolder): string {
  return join(localFolder(folder), "standing.json");
}
