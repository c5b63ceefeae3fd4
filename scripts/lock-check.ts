import { readFileSync } from "node:fs";

/**
 * Problems of a package-lock.json that `npm ci` would refuse on some machine, or that name a registry's address: every
 * optional dependency of every entry must itself be in the lock, and no entry may record where it was downloaded from.
 */
export function incompleteLockEntries(file: string): readonly string[] {
  const lock: unknown = JSON.parse(readFileSync(file, "utf8"));
  const packages = Object.entries(objectAt(lock, "packages"));
  if (packages.length === 0) return ["the lock file lists no package"];
  const names = new Set(packages.map(([path]) => path.split("node_modules/").at(-1) ?? ""));
  const problems: string[] = [];
  for (const [path, entry] of packages) {
    for (const name of Object.keys(objectAt(entry, "optionalDependencies"))) {
      if (!names.has(name)) problems.push(`${path}: optional dependency ${name} is missing from the lock file`);
    }
    const resolved = valueAt(entry, "resolved");
    if (typeof resolved === "string" && /^https?:/.test(resolved)) problems.push(`${path}: records a download address`);
    if (valueAt(entry, "hasInstallScript") === true) problems.push(`${path}: has an install script`);
  }
  return problems;
}

function valueAt(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null
    ? Object.entries(value).find(([name]) => name === key)?.[1]
    : undefined;
}

function objectAt(value: unknown, key: string): object {
  const found = valueAt(value, key);
  return typeof found === "object" && found !== null ? found : {};
}
