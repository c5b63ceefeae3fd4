import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);
const INSTALL_TIMEOUT_MS = 400_000;

/** ROS 2 Kilted as its wheels are on the Python Package Index, to the version. */
const requirements = join(import.meta.dirname, "peers", "rclpy-requirements.txt");

const cacheFolder = join(import.meta.dirname, "..", "..", "..", "node_modules", ".cache");

/**
 * The path of a Python in which the real `rclpy` can be imported, installing it on first use. The wheels are for Python 3.12; fails,
 * never skips, when there is none.
 */
export async function pythonWithRclpy(): Promise<string> {
  const name = `rclpy-${createHash("sha256").update(readFileSync(requirements)).digest("hex").slice(0, 16)}`;
  const installed = join(cacheFolder, name);
  const python = join(installed, "bin", "python");
  if (existsSync(join(installed, "complete"))) return python;
  const base = python312();
  await rm(installed, { recursive: true, force: true });
  await mkdir(cacheFolder, { recursive: true });
  const run = async (program: string, ...args: string[]) =>
    await execute(program, args, { timeout: INSTALL_TIMEOUT_MS, maxBuffer: 2 ** 26 });
  await run(base, "-m", "venv", installed);
  await run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", requirements);
  // Environments of Python cannot be moved, so that it is whole is said by a file.
  await mkdir(join(installed, "checked"));
  await run(python, "-c", "import rclpy, nav_msgs.msg, diagnostic_msgs.msg, rclpy.lifecycle");
  await rename(join(installed, "checked"), join(installed, "complete"));
  return python;
}

function python312(): string {
  const folders = (process.env["PATH"] ?? "").split(":").map((folder) => join(folder, "python3.12"));
  const pyenv = globSync(
    join(process.env["PYENV_ROOT"] ?? join(homedir(), ".pyenv"), "versions", "3.12.*", "bin", "python"),
  );
  // The shims of pyenv are there for every version, installed or not.
  const found = [...pyenv, ...folders].find((path) => existsSync(path) && !path.includes("shims"));
  if (found === undefined)
    throw new Error("there is no Python 3.12 for the wheels of rclpy: install one, or `pyenv install 3.12`");
  return found;
}
