import type { Selectable } from "kysely";
import type { ArtifactRef, Release, ReleaseSignature, StackManifest } from "@muto/spec";
import { readActor } from "./actor.ts";
import type { Db } from "./database.ts";
import type { ActorText, ReleasesTable } from "./tables.ts";

export type ReleaseRow = Selectable<ReleasesTable>;

export async function findRelease(db: Db, name: string, version: string): Promise<ReleaseRow | undefined> {
  return await db
    .selectFrom("releases")
    .selectAll()
    .where("name", "=", name)
    .where("version", "=", version)
    .executeTakeFirst();
}

/** What was found of signatures when the release was looked up. */
export interface FoundSignatures {
  readonly signatures: readonly ReleaseSignature[];
  readonly signatureRef: string | null;
  readonly keyids: readonly string[];
  readonly verified: boolean;
}

export interface NewRelease extends FoundSignatures {
  readonly manifestDigest: string;
  readonly repository: string;
  readonly artifacts: readonly ArtifactRef[];
  readonly manifest: StackManifest;
  readonly at: string;
  readonly by: ActorText;
}

/** False when another request was first with this name and version, or with this digest. */
export async function insertRelease(db: Db, release: NewRelease): Promise<boolean> {
  const { manifest } = release;
  const { readinessTimeoutSec, stableForSec, probationSec, maxRestarts, windowSec } = manifest.healthModel;
  const inserted = await db
    .insertInto("releases")
    .values({
      name: manifest.name,
      version: manifest.version,
      manifest_digest: release.manifestDigest,
      repository: release.repository,
      artifacts: JSON.stringify(release.artifacts),
      compatibility: JSON.stringify(manifest.compatibility),
      resource_profile: JSON.stringify({ diskMbMin: manifest.resourceProfile.diskMbMin }),
      health_model: JSON.stringify({ readinessTimeoutSec, stableForSec, probationSec, maxRestarts, windowSec }),
      security_epoch: manifest.securityEpoch,
      manifest: JSON.stringify(manifest),
      ...signatureColumns(release),
      created_at: release.at,
      created_by: release.by,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return (inserted.numInsertedOrUpdatedRows ?? 0n) > 0n;
}

/** A release never changes; the proof that somebody released it may come later. */
export async function updateSignatures(db: Db, name: string, version: string, found: FoundSignatures): Promise<void> {
  await db
    .updateTable("releases")
    .set(signatureColumns(found))
    .where("name", "=", name)
    .where("version", "=", version)
    .execute();
}

function signatureColumns(found: FoundSignatures) {
  return {
    signature_ref: found.signatureRef,
    signatures: JSON.stringify(found.signatures),
    signature_present: found.signatures.length > 0,
    signature_verified: found.verified,
    signature_keyids: found.keyids,
  };
}

export type ReleaseSort = "createdAt" | "stackName" | "version";

export async function listReleaseRows(
  db: Db,
  stack: string | undefined,
  order: { readonly by: ReleaseSort; readonly descending: boolean },
  page: { readonly offset: number; readonly limit: number },
): Promise<{ readonly rows: readonly ReleaseRow[]; readonly total: number }> {
  const matching = db.selectFrom("releases").$if(stack !== undefined, (query) => query.where("name", "=", stack ?? ""));
  const { total } = await matching
    .select((select) => select.fn.countAll<number>().as("total"))
    .executeTakeFirstOrThrow();
  const direction = order.descending ? "desc" : "asc";
  const columns = { createdAt: "created_at", stackName: "name", version: "version" } as const;
  const rows = await matching
    .selectAll()
    .orderBy(columns[order.by], direction)
    .orderBy("name")
    .orderBy("version")
    .offset(page.offset)
    .limit(page.limit)
    .execute();
  return { rows, total };
}

export function releaseOf(row: ReleaseRow): Release {
  return {
    stackName: row.name,
    version: row.version,
    manifestDigest: row.manifest_digest,
    repository: row.repository,
    artifacts: row.artifacts,
    compatibility: row.compatibility,
    resourceProfile: row.resource_profile,
    healthModel: row.health_model,
    securityEpoch: row.security_epoch,
    security: {
      signatureRef: row.signature_ref,
      signaturePresent: row.signature_present,
      signatureVerified: row.signature_verified,
      keyids: row.signature_keyids,
    },
    createdAt: row.created_at,
    createdBy: readActor(row.created_by),
    withdrawn:
      row.withdrawn_at === null || row.withdrawn_by === null
        ? null
        : { at: row.withdrawn_at, by: readActor(row.withdrawn_by), comment: row.withdrawn_comment },
  };
}
