// Runs a TypeScript entry point with the pinned Node.js, installing what the lock file says first when it is missing or stale.
// Plain JavaScript without dependencies: it must start on any Node.js from 20.11 on, before anything is installed.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

const root = join(import.meta.dirname, "..");
const modules = join(root, "node_modules");
const stampFile = join(modules, ".muto-installed");
const nodeBinary = join(modules, `node-${process.platform}-${process.arch}`, "bin", "node");

function lockHash() {
  return createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
}

function installed() {
  return existsSync(nodeBinary) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === lockHash();
}

function install() {
  if (process.platform !== "linux" || !["x64", "arm64"].includes(process.arch)) {
    fail(`Muto runs on Linux (x64, arm64); this is ${process.platform} ${process.arch}.`);
  }
  console.error("muto: installing dependencies as the lock file says (once, about half a minute) …");
  rmSync(stampFile, { force: true });
  // npm must not run on the pinned Node.js that it is about to replace, so node_modules/.bin leaves the path.
  const path = (process.env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => !folder.includes("node_modules"))
    .join(delimiter);
  const npm = spawnSync(
    "npm",
    ["ci", "--ignore-scripts", "--include=optional", "--include=dev", "--no-fund", "--no-audit", "--loglevel=error"],
    {
      cwd: root,
      env: { ...process.env, PATH: path },
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  if (npm.error || npm.status !== 0)
    fail("`npm ci` failed. Check the network and the npm registry, then run the same command again.");
  if (!existsSync(nodeBinary))
    fail(
      `the pinned Node.js is missing at ${nodeBinary} although npm ci succeeded; is "optional" omitted in your npm configuration?`,
    );
  writeFileSync(stampFile, lockHash());
}

function fail(message) {
  console.error(`muto: ${message}`);
  process.exit(1);
}

if (!installed()) install();
const [entry, ...args] = process.argv.slice(2);
if (entry === undefined) fail("usage: node scripts/run.mjs ENTRY.ts [ARGUMENTS]");
// Stripped and compiled code is kept, because a demonstration or a test starts dozens of processes from the same files.
const environment = { NODE_COMPILE_CACHE: join(modules, ".cache", "compile"), ...process.env };
const child = spawn(nodeBinary, ["--disable-warning=ExperimentalWarning", join(root, entry), ...args], {
  stdio: "inherit",
  env: environment,
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => {
  process.exitCode = code ?? (signal === "SIGINT" ? 130 : 143);
});
