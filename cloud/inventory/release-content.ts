import { isDeepStrictEqual } from "node:util";
import type { ArtifactRef, ReleaseCreate, StackManifest } from "@muto/spec";

/** What a posted release is held against: the signed manifest, and the archives and images that the artifact holds. */
export interface ReleaseContent {
  readonly manifest: StackManifest;
  readonly manifestDigest: string;
  readonly repository: string;
  readonly artifacts: readonly ArtifactRef[];
}

/**
 * Fields of the request that say something other than the signed manifest. What decides fitness stands there and nowhere
 * else, so a request that says otherwise is refused rather than believed (mix-and-match).
 */
export function differingFields(posted: ReleaseCreate, content: ReleaseContent): readonly string[] {
  const { manifest } = content;
  const fields: string[] = [];
  const differs = (field: string, given: unknown, signed: unknown) => {
    if (given !== undefined && !isDeepStrictEqual(given, signed)) fields.push(field);
  };
  differs("stackName", posted.stackName, manifest.name);
  differs("version", posted.version, manifest.version);
  differs("manifestDigest", posted.manifestDigest, content.manifestDigest);
  for (const list of ["vehicleModels", "os", "rosDistro"] as const) {
    differs(`compatibility.${list}`, posted.compatibility?.[list].toSorted(), manifest.compatibility[list].toSorted());
  }
  differs("resourceProfile.diskMbMin", posted.resourceProfile?.diskMbMin, manifest.resourceProfile.diskMbMin);
  for (const limit of ["readinessTimeoutSec", "stableForSec", "probationSec", "maxRestarts", "windowSec"] as const) {
    differs(`healthModel.${limit}`, posted.healthModel?.[limit], manifest.healthModel[limit]);
  }
  const own = new Set([content.manifestDigest, ...content.artifacts.map(({ digest }) => digest)]);
  for (const [index, { digest }] of (posted.artifacts ?? []).entries()) {
    if (!own.has(digest)) fields.push(`artifacts.${index}.digest`);
  }
  return fields;
}
