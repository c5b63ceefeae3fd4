import type { StackRef } from "@muto/spec";

/** Three columns that are null together. */
export function stackRef(name: string | null, version: string | null, manifestDigest: string | null): StackRef | null {
  return name === null || version === null || manifestDigest === null ? null : { name, version, manifestDigest };
}
