import { createHash, getHashes } from "node:crypto";
import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { unpack } from "@muto/oci/unpack";
import { CommandFailed } from "../command.ts";
import { recordOf } from "../stack-file.ts";
import { recordsIn, textIn, unread } from "./findings.ts";
import type { Findings } from "./findings.ts";

/** What became of a stack/archive: a folder with its files, and how it is launched. */
export interface ImportedArchive {
  /** Folder of the workspace, relative to the folder of the unpacked archive; empty for that folder itself. */
  readonly root: string;
  readonly argv: readonly string[];
  readonly launchArguments: Readonly<Record<string, string>>;
  /** Setup files inside the archive, or where they will be once the sources are built. */
  readonly setup: readonly string[];
}

export interface ArchiveInput {
  readonly disk: Disk;
  /** Bytes of a file that was given beside the definition. */
  readonly given: Uint8Array | undefined;
  /** Where the archive is unpacked; must not exist. */
  readonly folder: string;
}

const UNPACKED_BYTES_MAX = 4 * 1024 * 1024 * 1024;

/** Checks and unpacks the archive as carefully as a vehicle would, and reads how it was launched. */
export async function importArchive(
  launch: Readonly<Record<string, unknown>>,
  input: ArchiveInput,
  findings: Findings,
): Promise<ImportedArchive> {
  const properties = recordOf(launch["properties"]) ?? {};
  const bytes = input.given ?? inlineBytes(launch);
  verifyChecksum(bytes, { ...launch, ...properties }, findings);
  const unpacked = await unpackInto(bytes, input);
  const root = await rootOf(input.disk, { folder: input.folder, properties, findings });
  const at = (path: string) => join(input.folder, root, path);
  const exists = async (path: string) => (await input.disk.stat(at(path))) !== undefined;
  unread(launch, ["data", "url", "properties", "checksum", "algorithm", "headers", "timeout"], "/launch", findings);
  unread(properties, KNOWN_PROPERTIES, "/launch/properties", findings);
  const setup = await setupOf(exists, unpacked, findings);
  return {
    root,
    argv: await argvOf(properties, exists, findings),
    launchArguments: launchArgumentsOf(properties, findings),
    setup,
  };
}

const KNOWN_PROPERTIES = [
  "launch_file",
  "launch_args",
  "ros_args",
  "command",
  "algorithm",
  "checksum",
  "flatten",
  "subdir",
  "filename",
];

function inlineBytes(launch: Readonly<Record<string, unknown>>): Uint8Array {
  const { data, url } = launch;
  const place =
    typeof url === "string" ? url : typeof data === "string" && /^[a-z]+:\/\//.test(data) ? data : undefined;
  if (place !== undefined) {
    throw new CommandFailed(`the archive lies at ${place}, and nothing is fetched while importing`, {
      hint: "download it, then: muto import FILE --archive DOWNLOADED",
    });
  }
  if (typeof data !== "string" || !/^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(data)) {
    throw new CommandFailed("launch.data is no archive in base64", { hint: "muto import FILE --archive ARCHIVE" });
  }
  return new Uint8Array(Buffer.from(data, "base64"));
}

function verifyChecksum(bytes: Uint8Array, from: Readonly<Record<string, unknown>>, findings: Findings): void {
  const { checksum, algorithm = "sha256" } = from;
  if (typeof checksum !== "string" || checksum === "") {
    findings.add("/launch/properties/checksum", "is not there, so the archive could not be checked against anything");
    return;
  }
  const name = String(algorithm).toLowerCase();
  if (!getHashes().includes(name)) throw new CommandFailed(`the checksum's algorithm ${name} is not known`);
  const actual = createHash(name).update(bytes).digest("hex");
  if (actual !== checksum.toLowerCase()) {
    throw new CommandFailed(`the archive is not what its checksum says: ${name} ${actual}, not ${checksum}`);
  }
}

/** True when the archive holds packages that were never built. */
async function unpackInto(
  bytes: Uint8Array,
  { disk, folder }: ArchiveInput,
): Promise<{ readonly hasSources: boolean }> {
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const isTar = Buffer.from(bytes.subarray(257, 262)).toString("latin1") === "ustar";
  if (!isGzip && !isTar) {
    throw new CommandFailed("the archive is neither tar nor tar.gz", {
      hint: "unpack it and pack it again with tar -czf, then: muto import FILE --archive ARCHIVE",
    });
  }
  const limits = { unpackedBytesMax: UNPACKED_BYTES_MAX };
  const plain = isGzip ? {} : { decompress: (source: AsyncIterable<Uint8Array>) => source };
  const unpacked = await unpack(disk, pieces(bytes), { folder, limits, ...plain });
  if (!unpacked.ok) {
    const path = unpacked.path === undefined ? "" : ` (${unpacked.path})`;
    throw new CommandFailed(`the archive is refused: ${unpacked.problem}${path}`);
  }
  const files = unpacked.listing.map(({ path }) => path);
  return { hasSources: files.some((path) => /(^|\/)src\/(.+\/)?package\.xml$/.test(path)) };
}

/** A sole folder at the top was taken off, or a named one was taken, before the launch file was looked for. */
async function rootOf(
  disk: Disk,
  from: {
    readonly folder: string;
    readonly properties: Readonly<Record<string, unknown>>;
    readonly findings: Findings;
  },
): Promise<string> {
  const { folder, properties, findings } = from;
  const subdir = textIn(properties, "subdir", "/launch/properties", findings);
  if (subdir !== undefined && /^[^/].*$/.test(subdir) && !subdir.split("/").includes("..")) {
    if ((await disk.stat(join(folder, subdir)))?.kind === "folder") return subdir;
    findings.add("/launch/properties/subdir", "is not in the archive and was left out");
  }
  if (properties["flatten"] === false) return "";
  const [only, ...others] = await disk.list(folder);
  return only?.kind === "folder" && others.length === 0 ? only.name : "";
}

async function argvOf(
  properties: Readonly<Record<string, unknown>>,
  exists: (path: string) => Promise<boolean>,
  findings: Findings,
): Promise<readonly string[]> {
  const place = "/launch/properties";
  const file = textIn(properties, "launch_file", place, findings);
  if (file === undefined || file.startsWith("/") || file.split("/").includes("..")) {
    throw new CommandFailed("launch.properties.launch_file names no file of the archive");
  }
  if (!(await exists(file))) findings.add(`${place}/launch_file`, `${file} is not in the archive`);
  const command = textIn(properties, "command", place, findings) ?? "launch";
  if (command !== "launch") findings.add(`${place}/command`, `${command} is not known; the file is launched`);
  const rosArgs: unknown = properties["ros_args"];
  const isGiven = rosArgs !== undefined && rosArgs !== null && rosArgs !== "" && !isEmptyList(rosArgs);
  if (isGiven) findings.add(`${place}/ros_args`, "belong to nodes, not to a launch file, and were left out");
  return file.endsWith(".sh") ? ["/bin/sh", file] : ["ros2", "launch", file];
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function launchArgumentsOf(
  properties: Readonly<Record<string, unknown>>,
  findings: Findings,
): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [at, fields] of recordsIn(properties, "launch_args", "/launch/properties", findings)) {
    const name = textIn(fields, "name", at, findings);
    const value = textIn(fields, "value", at, findings) ?? textIn(fields, "default", at, findings);
    unread(fields, ["name", "value", "default"], at, findings);
    const isUsable = name !== undefined && value !== undefined && /^[A-Za-z_][A-Za-z0-9_.]{0,127}$/.test(name);
    if (isUsable) found[name] = value;
    else findings.add(at, "has no usable name or no value and was left out");
  }
  return found;
}

/** On the vehicle nothing is built, so the setup file of an install tree is named even where that tree has yet to be made. */
async function setupOf(
  exists: (path: string) => Promise<boolean>,
  { hasSources }: { readonly hasSources: boolean },
  findings: Findings,
): Promise<readonly string[]> {
  for (const file of ["install/local_setup.bash", "local_setup.bash"]) if (await exists(file)) return [file];
  if (!hasSources) return [];
  findings.add(
    "/launch",
    "the archive holds sources; build them for the vehicle's platform before you push: colcon build --merge-install",
  );
  return ["install/local_setup.bash"];
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
