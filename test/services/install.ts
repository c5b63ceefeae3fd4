import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

const execute = promisify(execFile);
const INSTALL_TIMEOUT_MS = 300_000;

/**
 * The path of a program that a Debian package brings, installing the package when it is missing. Fails, never skips:
 * a check that cannot run is a failed check.
 */
export async function programOf(options: {
  readonly packageName: string;
  readonly paths: readonly string[];
}): Promise<string> {
  const found = () => options.paths.find((path) => existsSync(path));
  const present = found();
  if (present !== undefined) return present;
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = async (...args: string[]) =>
    await execute("apt-get", args, { env: environment, timeout: INSTALL_TIMEOUT_MS });
  try {
    await apt("update", "-q");
    await apt("install", "-y", "-q", "--no-install-recommends", options.packageName);
  } catch (cause) {
    throw new Error(
      `${options.packageName} is not installed and apt-get could not install it (root and a Debian mirror are needed)`,
      { cause },
    );
  }
  const installed = found();
  if (installed === undefined)
    throw new Error(`${options.packageName} is installed but none of ${options.paths.join(", ")} exists`);
  return installed;
}
