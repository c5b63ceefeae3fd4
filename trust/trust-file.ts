import { parseJson, parseTrustFile } from "@muto/spec";
import type { Problem } from "@muto/spec";
import { buildRoots } from "./roots.ts";
import type { RootsProblem, TrustRoots } from "./roots.ts";

export type LoadedTrust =
  | { readonly ok: true; readonly roots: TrustRoots }
  | { readonly ok: false; readonly problem: "malformed"; readonly problems: readonly Problem[] }
  | { readonly ok: false; readonly problem: RootsProblem; readonly path: string };

/**
 * Reads the vehicle's trust file: whose signatures it believes. It is local configuration; nothing from the cloud or a
 * registry ever changes it. The bytes come from whoever reads files; size and shape are checked here.
 */
export function loadTrustFile(bytes: Uint8Array): LoadedTrust {
  const json = parseJson(bytes, { bytesMax: 65_536, depthMax: 8 });
  const parsed = json.ok ? parseTrustFile(json.value) : json;
  if (!parsed.ok) return { ok: false, problem: "malformed", problems: parsed.problems };
  return buildRoots(parsed.value.tenant, parsed.value.roles);
}
