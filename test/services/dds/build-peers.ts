import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { programOf } from "../install.ts";

const execute = promisify(execFile);
const BUILD_TIMEOUT_MS = 300_000;

export type Vendor = "cyclone" | "fast";

interface Recipe {
  readonly sources: readonly string[];
  readonly packages: readonly { readonly packageName: string; readonly paths: readonly string[] }[];
  readonly steps: readonly (readonly [program: string, ...args: string[]])[];
}

const RECIPES: Readonly<Record<Vendor, Recipe>> = {
  cyclone: {
    sources: ["messages.idl", "cyclone-peer.c"],
    packages: [
      { packageName: "gcc", paths: ["/usr/bin/gcc"] },
      { packageName: "cyclonedds-tools", paths: ["/usr/bin/idlc"] },
      { packageName: "cyclonedds-dev", paths: ["/usr/include/dds/dds.h"] },
    ],
    steps: [
      ["idlc", "-x", "final", "messages.idl"],
      ["gcc", "-D_GNU_SOURCE", "-O1", "-Wall", "-I.", "-o", "peer", "cyclone-peer.c", "messages.c", "-lddsc"],
    ],
  },
  fast: {
    sources: ["messages.idl", "fast-peer.cpp"],
    packages: [
      { packageName: "g++", paths: ["/usr/bin/g++"] },
      { packageName: "fastddsgen", paths: ["/usr/bin/fastddsgen"] },
      { packageName: "libfastrtps-dev", paths: ["/usr/include/fastdds/dds/domain/DomainParticipant.hpp"] },
    ],
    steps: [
      ["fastddsgen", "-replace", "-cs", "-d", ".", "messages.idl"],
      [
        "g++",
        "-std=c++17",
        "-w",
        "-I.",
        "-o",
        "peer",
        "fast-peer.cpp",
        "messages.cxx",
        "messagesPubSubTypes.cxx",
        "-lfastrtps",
        "-lfastcdr",
      ],
    ],
  },
};

const sourceFolder = join(import.meta.dirname, "peers");
const cacheFolder = join(import.meta.dirname, "..", "..", "..", "node_modules", ".cache", "dds-peers");

/**
 * The path of a program that speaks as a ROS 2 stack does, built from the sources in `peers/` on first use and kept for as long as
 * they and the recipe stay the same. Installs what is missing.
 */
export async function buildPeer(vendor: Vendor): Promise<string> {
  const recipe = RECIPES[vendor];
  for (const wanted of recipe.packages) await programOf(wanted);
  const hash = createHash("sha256").update(JSON.stringify(recipe));
  for (const source of recipe.sources) hash.update(await readFile(join(sourceFolder, source)));
  const built = join(cacheFolder, `${vendor}-${hash.digest("hex").slice(0, 16)}`);
  const peer = join(built, "peer");
  if (existsSync(peer)) return peer;
  await mkdir(cacheFolder, { recursive: true });
  const folder = await mkdtemp(join(cacheFolder, "building-"));
  try {
    for (const source of recipe.sources) await cp(join(sourceFolder, source), join(folder, source));
    for (const [program, ...args] of recipe.steps)
      await execute(program, args, { cwd: folder, timeout: BUILD_TIMEOUT_MS });
    await rename(folder, built).catch((error: unknown) => {
      // Somebody else built the same meanwhile.
      if (!existsSync(peer)) throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return peer;
}
