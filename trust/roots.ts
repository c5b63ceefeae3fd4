import { createHash } from "node:crypto";
import type { TrustRole as TrustRoleDocument } from "@muto/spec";
import { parsePublicKey } from "./keys.ts";
import type { PublicKey } from "./keys.ts";

export type RoleName = "release" | "assignment";

/** Who may sign for one purpose, and how many of them must. */
export interface TrustRole {
  readonly keys: readonly PublicKey[];
  readonly threshold: number;
}

/**
 * The roots of one vehicle, whatever they came from: a trust file today, a verified chain of root documents where those are
 * used. Everything that verifies asks here for a role and knows nothing of files or chains.
 */
export interface TrustRoots {
  readonly tenant: string;
  role(name: RoleName): TrustRole;
  /** SHA-256 in hex over thresholds and keys of every role: a refusal made under other roots is void. */
  readonly hash: string;
}

export type RootsProblem =
  | "key-malformed"
  /** The file names a key by an id that is not the key's own. */
  | "keyid-mismatch"
  | "algorithm-mismatch"
  | "duplicate-key"
  /** More signatures are demanded than there are keys. */
  | "threshold-unreachable"
  /** One key in both roles would make one theft enough (arbitrary software with one stolen key). */
  | "key-in-both-roles";

export type ParsedRole =
  | { readonly ok: true; readonly role: TrustRole }
  | { readonly ok: false; readonly problem: RootsProblem; readonly path: string };

/** Reads one role of a document that is already valid by its schema. */
export function parseRole(document: TrustRoleDocument): ParsedRole {
  const keys: PublicKey[] = [];
  for (const [index, { keyid, algorithm, publicKey }] of document.keys.entries()) {
    const path = `/keys/${index}`;
    const parsed = parsePublicKey(publicKey);
    if (!parsed.ok) return { ok: false, problem: "key-malformed", path };
    if (parsed.key.keyid !== keyid) return { ok: false, problem: "keyid-mismatch", path };
    if (parsed.key.algorithm !== algorithm) return { ok: false, problem: "algorithm-mismatch", path };
    if (keys.some((known) => known.keyid === keyid)) return { ok: false, problem: "duplicate-key", path };
    keys.push(parsed.key);
  }
  if (document.threshold > keys.length) return { ok: false, problem: "threshold-unreachable", path: "/threshold" };
  return { ok: true, role: { keys, threshold: document.threshold } };
}

export type BuiltRoots =
  | { readonly ok: true; readonly roots: TrustRoots }
  | { readonly ok: false; readonly problem: RootsProblem; readonly path: string };

/** Roots from the two roles of a document; `release` and `assignment` must not share a key. */
export function buildRoots(
  tenant: string,
  documents: { readonly release: TrustRoleDocument; readonly assignment: TrustRoleDocument },
): BuiltRoots {
  const release = parseRole(documents.release);
  if (!release.ok) return { ...release, path: `/roles/release${release.path}` };
  const assignment = parseRole(documents.assignment);
  if (!assignment.ok) return { ...assignment, path: `/roles/assignment${assignment.path}` };
  const shared = assignment.role.keys.findIndex(({ keyid }) => release.role.keys.some((key) => key.keyid === keyid));
  if (shared >= 0) return { ok: false, problem: "key-in-both-roles", path: `/roles/assignment/keys/${shared}` };
  const roles = { release: release.role, assignment: assignment.role };
  return { ok: true, roots: { tenant, role: (name) => roles[name], hash: hashOf(tenant, roles) } };
}

function hashOf(tenant: string, roles: Readonly<Record<RoleName, TrustRole>>): string {
  const summary = (["release", "assignment"] as const).map((name) => [
    name,
    roles[name].threshold,
    roles[name].keys.map(({ keyid }) => keyid).toSorted(),
  ]);
  return createHash("sha256")
    .update(JSON.stringify([tenant, summary]))
    .digest("hex");
}
