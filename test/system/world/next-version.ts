import { copyFileSync, cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..", "..");
/** What the program of a vehicle is made of. */
const parts = ["agent", "cli", "cloud", "dds", "kit", "oci", "sim", "spec", "trust"];

/** Installs another version of the program in a folder of its own, as an upgrade would; the path of its main file. */
export function installNextVersion(folder: string, version: string): string {
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "@muto"), { recursive: true });
  for (const part of parts) {
    cpSync(join(root, part), join(folder, part), {
      recursive: true,
      filter: (path) => !path.endsWith(".test.ts") && !path.includes("/vectors"),
    });
    symlinkSync(join(folder, part), join(modules, "@muto", part));
  }
  for (const name of readdirSync(join(root, "node_modules"))) {
    if (name !== "@muto" && name !== ".bin") symlinkSync(join(root, "node_modules", name), join(modules, name));
  }
  copyFileSync(join(root, "package.json"), join(folder, "package.json"));
  writeFileSync(join(folder, "agent", "version.ts"), `export const AGENT_VERSION = ${JSON.stringify(version)};\n`);
  return join(folder, "cli", "main.ts");
}
