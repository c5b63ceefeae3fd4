import type { ReleaseCreate } from "@muto/spec";
import { differingFields } from "../inventory/release-content.ts";
import type { ReleaseContent } from "../inventory/release-content.ts";
import type { ReleaseLookup } from "../ports.ts";
import { actorText } from "../store/actor.ts";
import { appendAudit } from "../store/audit.ts";
import { findRelease, insertRelease, releaseOf, updateSignatures } from "../store/release-rows.ts";
import type { ReleaseRow } from "../store/release-rows.ts";
import { refuse } from "./server/operation.ts";
import type { Call, Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";
import type { ApiContext } from "./server/context.ts";

const LOOK_UP_TIMEOUT_MS = 30_000;

/**
 * Registers a release. The registry is asked once: the signed stack manifest says what the release is, and the request may
 * only repeat it. A release without a signature that holds is stored as such and cannot be assigned; posting it again after
 * it was signed looks the signature up anew.
 */
export const createRelease: Handler<"createRelease"> = async (call, context) => {
  const { db } = context.database;
  const known = await findRelease(db, call.body.stackName, call.body.version);
  if (known !== undefined) {
    if (isOther(call.body, known)) return conflict(call.body);
    if (known.signature_verified) return await call.remember(db, { status: 200, data: releaseOf(known) });
  }
  const repository = call.body.repository ?? call.body.stackName;
  const limit = AbortSignal.any([call.signal, AbortSignal.timeout(LOOK_UP_TIMEOUT_MS)]);
  const found = await context.releaseSource.look(repository, call.body.manifestDigest, limit);
  if (!found.ok) return refusalOf(found);
  const content = contentOf(call.body, repository, found);
  const fields = differingFields(call.body, content);
  if (fields.length > 0) {
    const message = `The request differs from the signed stack manifest in ${fields.join(", ")}.`;
    return refuse("MANIFEST_MISMATCH", message.slice(0, 1000), { fields: fields.slice(0, 50) });
  }
  return await store(call, context, content, found);
};

type FoundRelease = Extract<ReleaseLookup, { readonly ok: true }>;

async function store(call: Call<"createRelease">, context: ApiContext, content: ReleaseContent, found: FoundRelease) {
  const { name, version } = content.manifest;
  const actor = actorOf(call.principal);
  const subject = { type: "release", id: `${name}/${version}` } as const;
  const after = {
    manifestDigest: content.manifestDigest,
    signaturePresent: found.signatures.length > 0,
    signatureVerified: found.verified,
  };
  return await context.database.db.transaction().execute(async (trx) => {
    const inserted = await insertRelease(trx, { ...found, ...content, at: call.at, by: actorText(actor) });
    const before = await findRelease(trx, name, version);
    if (before === undefined || isOther(call.body, before)) return conflict(call.body);
    if (inserted) {
      await appendAudit(trx, { at: call.at, actor, action: "release.created", subject, after });
    } else if (found.verified && !before.signature_verified) {
      await updateSignatures(trx, name, version, found);
      const unsigned = {
        manifestDigest: before.manifest_digest,
        signaturePresent: before.signature_present,
        signatureVerified: false,
      };
      await appendAudit(trx, { at: call.at, actor, action: "release.created", subject, before: unsigned, after });
    }
    const row = await findRelease(trx, name, version);
    if (row === undefined) throw new Error("a release that was just stored is not there");
    const data = releaseOf(row);
    return inserted
      ? await call.remember(trx, { status: 201, data, headers: { Location: `/api/v1/releases/${name}/${version}` } })
      : await call.remember(trx, { status: 200, data });
  });
}

function contentOf(posted: ReleaseCreate, repository: string, found: FoundRelease): ReleaseContent {
  const names = new Map((posted.artifacts ?? []).map(({ digest, ref }) => [digest, ref]));
  const artifacts = found.artifacts.map(({ type, digest, ref }) => ({ type, ref: names.get(digest) ?? ref, digest }));
  return { manifest: found.manifest, manifestDigest: posted.manifestDigest, repository, artifacts };
}

/** Whether the stored release of this name and version is another one than the request speaks of. */
function isOther(posted: ReleaseCreate, known: ReleaseRow): boolean {
  const { manifest, manifest_digest: manifestDigest, repository, artifacts } = known;
  const content = { manifest, manifestDigest, repository, artifacts };
  return (
    differingFields(posted, content).length > 0 || (posted.repository !== undefined && posted.repository !== repository)
  );
}

function conflict(posted: ReleaseCreate) {
  const id = `${posted.stackName}/${posted.version}`;
  return refuse("CONFLICT_RELEASE", `The release ${id} exists with other content.`, { what: "release", id });
}

function refusalOf(failed: Extract<ReleaseLookup, { readonly ok: false }>) {
  switch (failed.problem) {
    case "not-found":
      return refuse("MANIFEST_NOT_FOUND", "The registry has no such manifest in this repository.");
    case "unreachable":
      return refuse("REGISTRY_UNAVAILABLE", "The registry did not answer as it should.");
    case "invalid":
      return refuse("MANIFEST_INVALID", "The artifact is no stack manifest that can be read.", {
        problems: failed.details
          .slice(0, 20)
          .map(({ path, message }) => ({ path: path.slice(0, 500), message: message.slice(0, 500) })),
      });
  }
}
