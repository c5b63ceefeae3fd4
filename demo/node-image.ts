import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { makeImage, type ImageFile, type MadeImage } from "./image.ts";

/** Where the programs of the stack lie in the image. */
export const IMAGE_PROGRAMS = "/opt/stack";
export const IMAGE_NODE = "/usr/bin/node";

/**
 * The demonstration's image: this computer's own Node.js with the libraries that it is linked to, and the stack's programs in a
 * layer of their own. Nothing is fetched from anywhere.
 */
export function nodeImage(programs: string): MadeImage {
  const runtime: ImageFile[] = [
    { path: IMAGE_NODE.slice(1), bytes: readFileSync(realpathSync(process.execPath)) },
    ...librariesOf(process.execPath).map((path) => ({ path: path.slice(1), bytes: readFileSync(realpathSync(path)) })),
  ];
  const own: ImageFile[] = readdirSync(programs).map((name) => ({
    path: join(IMAGE_PROGRAMS, name).slice(1),
    bytes: readFileSync(join(programs, name)),
  }));
  return makeImage([runtime, own], { Env: ["PATH=/usr/bin"], WorkingDir: IMAGE_PROGRAMS });
}

/** Absolute paths of the shared libraries, and of the loader that finds them there. */
function librariesOf(program: string): readonly string[] {
  const listed = execFileSync("ldd", [program], { encoding: "utf8" });
  const paths = [...listed.matchAll(/(?:=> )?(\/[^\s]+) \(0x/g)].map((match) => match[1] ?? "");
  return [...new Set(paths.filter((path) => path !== ""))];
}
