import { basename, dirname, resolve } from "node:path";
import { LineCounter, isNode, parseDocument } from "yaml";
import type { Document } from "yaml";
import type { Disk } from "@muto/kit/disk";
import { CommandFailed } from "./command.ts";

/** A stack's file as its author writes it: a stack manifest in which archives, images and parameter files lie beside it. */
export interface StackFile {
  /** With parameter files inlined; archives and images are still what the author wrote. */
  readonly manifest: Readonly<Record<string, unknown>>;
  /** Absolute path of each native workload's folder or archive, by the workload's name. */
  readonly folders: ReadonlyMap<string, string>;
  /** What each container's `image` says, by the workload's name. */
  readonly images: ReadonlyMap<string, string>;
  /** The folder that relative paths start from. */
  readonly folder: string;
  /** `FILE:LINE` of a JSON pointer into the manifest. */
  place(pointer: string): string;
}

const FILE_BYTES_MAX = 4 * 1024 * 1024;
const PARAMS_BYTES_MAX = 256 * 1024;

/** Reads YAML or JSON. Throws {@link CommandFailed} with file and line. */
export async function readStackFile(disk: Disk, file: string): Promise<StackFile> {
  const path = resolve(file);
  const text = await readText(disk, path, FILE_BYTES_MAX, file);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [wrong] = document.errors;
  if (wrong !== undefined) {
    throw new CommandFailed(`${file}: neither YAML nor JSON: ${wrong.message.split("\n")[0] ?? ""}`);
  }
  const manifest = recordOf(plain(document, file));
  if (manifest === undefined) throw new CommandFailed(`${file} holds no stack manifest`);
  const folder = dirname(path);
  const place = (pointer: string) => `${file}${lineOf(document, lines, pointer)}`;
  const written: unknown = manifest["workloads"];
  const workloads: readonly unknown[] = Array.isArray(written) ? written : [];
  const filled: unknown[] = [];
  for (const [index, workload] of workloads.entries()) {
    filled.push(await withParams(disk, workload, folder, place(`/workloads/${index}/params`)));
  }
  return {
    manifest: Array.isArray(written) ? { ...manifest, workloads: filled } : manifest,
    folders: new Map(texts(workloads, "archive").map(([name, archive]) => [name, resolve(folder, archive)])),
    images: new Map(texts(workloads, "image")),
    folder,
    place,
  };
}

/** `file: ./planner.yaml` in place of `text`; the file's name is the parameter file's unless it has one. */
async function withParams(disk: Disk, workload: unknown, folder: string, place: string): Promise<unknown> {
  const fields = recordOf(workload);
  const params: unknown = fields?.["params"];
  if (fields === undefined || !Array.isArray(params)) return workload;
  const inlined: unknown[] = [];
  for (const written of params) {
    const entry = recordOf(written);
    const file = entry?.["file"];
    if (entry === undefined || typeof file !== "string") {
      inlined.push(written);
      continue;
    }
    const { file: _, ...rest } = entry;
    if ("text" in rest) throw new CommandFailed(`${place}: a parameter file has either file or text`);
    const text = await readText(disk, resolve(folder, file), PARAMS_BYTES_MAX, `${place}: ${file}`);
    inlined.push({ name: basename(file), ...rest, text });
  }
  return { ...fields, params: inlined };
}

async function readText(disk: Disk, path: string, bytesMax: number, about: string): Promise<string> {
  const found = await disk.stat(path);
  if (found === undefined) throw new CommandFailed(`${about} does not exist`);
  if (found.kind === "folder") throw new CommandFailed(`${about} is a folder`, { hint: `${about}/stack.yaml` });
  if (found.sizeBytes > bytesMax) throw new CommandFailed(`${about} is larger than ${bytesMax} bytes`);
  const bytes = (await disk.read(path)) ?? new Uint8Array();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CommandFailed(`${about} is not text in UTF-8`, { cause });
  }
}

function plain(document: Document.Parsed, file: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    // Aliases that multiply without end are refused by the reader.
    const why = cause instanceof Error ? cause.message : "it cannot be read";
    throw new CommandFailed(`${file}: ${why}`, { cause });
  }
}

/** The line of the value, or of the nearest one around it that stands in the file. */
function lineOf(document: Document.Parsed, lines: LineCounter, pointer: string): string {
  const keys = pointer.split("/").slice(1);
  for (let length = keys.length; length > 0; length--) {
    const path = keys.slice(0, length).map((key) => (/^[0-9]+$/.test(key) ? Number(key) : key));
    const node: unknown = document.getIn(path, true);
    const offset = isNode(node) ? node.range?.[0] : undefined;
    if (offset !== undefined) return `:${lines.linePos(offset).line}`;
  }
  return "";
}

function texts(workloads: readonly unknown[], field: string): (readonly [name: string, text: string])[] {
  return workloads.flatMap((workload) => {
    const fields = recordOf(workload);
    const [name, text] = [fields?.["name"], fields?.[field]];
    return typeof name === "string" && typeof text === "string" ? [[name, text] as const] : [];
  });
}

export function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return Object.fromEntries(Object.entries(value));
}
