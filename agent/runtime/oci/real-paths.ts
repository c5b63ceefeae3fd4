import { realpath } from "node:fs/promises";
import type { AllowConfig, OciWorkload } from "@muto/spec";
import { isAllowedFolder } from "../../reconcile/allowance.ts";

export type RealPaths =
  | { readonly ok: true; readonly paths: ReadonlyMap<string, string> }
  | { readonly ok: false; readonly code: "MOUNT_MISSING" | "MOUNT_ESCAPES" | "DEVICE_MISSING" };

/**
 * What the workload's paths really are on this computer. A name below an allowed folder may be a link that leads out of it:
 * what is mounted is the real path, and that must be allowed too. A device's usual name is such a link
 * (`/dev/serial/by-id/…`), so it only has to lead to a device file below /dev.
 */
export async function realPathsOf(workload: OciWorkload, allow: AllowConfig): Promise<RealPaths> {
  const paths = new Map<string, string>();
  for (const { source, readOnly } of workload.mounts) {
    const real = await resolved(source);
    if (real === undefined) return { ok: false, code: "MOUNT_MISSING" };
    const allowed = await Promise.all([...(readOnly ? allow.mounts : []), ...allow.writable].map(resolvedOrSame));
    if (!isAllowedFolder(real, allowed)) return { ok: false, code: "MOUNT_ESCAPES" };
    paths.set(source, real);
  }
  for (const { path } of workload.devices) {
    const real = await resolved(path);
    if (real?.startsWith("/dev/") !== true) return { ok: false, code: "DEVICE_MISSING" };
    paths.set(path, real);
  }
  return { ok: true, paths };
}

async function resolved(path: string): Promise<string | undefined> {
  try {
    return await realpath(path);
  } catch {
    return undefined;
  }
}

/** The vehicle's own folder may be a link itself: that was its owner's wish. */
async function resolvedOrSame(path: string): Promise<string> {
  return (await resolved(path)) ?? path;
}
