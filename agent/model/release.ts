import { digestOf } from "@muto/oci/digest";
import { OCI_MANIFEST } from "@muto/oci/media-types";
import { MEDIA_TYPES, parseStackManifest, type Assignment, type StackManifest } from "@muto/spec";
import type { Behaviour } from "./runtime.ts";

export interface ModelRelease {
  readonly manifestDigest: string;
  readonly manifest: StackManifest;
  readonly blobs: ReadonlyMap<string, Uint8Array>;
  readonly behaviour: Behaviour;
}

export interface ReleaseChanges {
  readonly version: string;
  readonly behaviour?: Partial<Behaviour>;
  readonly health?: Partial<StackManifest["healthModel"]>;
  readonly workloads?: readonly string[];
  readonly oneshots?: readonly string[];
  readonly compatibility?: Partial<StackManifest["compatibility"]>;
  readonly securityEpoch?: number;
  readonly name?: string;
  /** What each workload waits for. */
  readonly dependsOn?: Readonly<Record<string, StackManifest["workloads"][number]["dependsOn"]>>;
}

const WELL: Behaviour = { startsOk: true, readyMs: 400, exitMs: Number.POSITIVE_INFINITY, stops: true };

/** A release with real digests and bytes, and how its workloads will behave. */
export function modelRelease(changes: ReleaseChanges): ModelRelease {
  const { version, behaviour = {}, workloads = ["control", "lidar"], oneshots = [] } = changes;
  const archive = new TextEncoder().encode(`archive of ${changes.name ?? "autonomy-core"} ${version}`);
  const archiveDigest = digestOf(archive);
  const parsed = parseStackManifest({
    kind: "muto.stack/v1",
    name: changes.name ?? "autonomy-core",
    version,
    securityEpoch: changes.securityEpoch ?? 0,
    compatibility: { vehicleModels: ["vehicle-v3"], os: [], rosDistro: [], ...changes.compatibility },
    resourceProfile: { diskMbMin: 10 },
    healthModel: {
      readinessTimeoutSec: 30,
      probationSec: 60,
      maxRestarts: 3,
      windowSec: 300,
      probes: workloads.map((workload) => ({ kind: "tcp", name: `${workload}-up`, workload, port: 9000 })),
      ...changes.health,
    },
    workloads: [...workloads, ...oneshots].map((name) => ({
      name,
      type: "native",
      archive: archiveDigest,
      argv: ["run"],
      oneshot: oneshots.includes(name),
      dependsOn: changes.dependsOn?.[name] ?? [],
    })),
  });
  if (!parsed.ok) throw new Error(`the model release is no stack: ${JSON.stringify(parsed.problems)}`);
  const config = new TextEncoder().encode(JSON.stringify(parsed.value));
  const descriptor = (mediaType: string, bytes: Uint8Array) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.byteLength,
  });
  const artifact = new TextEncoder().encode(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: MEDIA_TYPES.stackArtifact,
      config: descriptor(MEDIA_TYPES.stackManifest, config),
      layers: [descriptor(MEDIA_TYPES.stackArchive, archive)],
    }),
  );
  const blobs = new Map([artifact, config, archive].map((bytes) => [digestOf(bytes), bytes]));
  return { manifestDigest: digestOf(artifact), manifest: parsed.value, blobs, behaviour: { ...WELL, ...behaviour } };
}

export function modelAssignment(
  release: ModelRelease,
  sequence: number,
  changes: Partial<Assignment> = {},
): Assignment {
  const { name, version } = release.manifest;
  return {
    kind: "muto.assignment/v1",
    tenant: "default",
    vehicleId: "vehicle-v3-0142",
    sequence,
    desiredStateRevision: `dsr_${String(sequence).padStart(26, "0")}`,
    issuedAt: "2026-06-01T00:59:00.000Z",
    acceptBefore: "2026-07-01T00:00:00.000Z",
    startBefore: "2026-06-30T00:00:00.000Z",
    start: "allowed",
    retry: false,
    stack: { name, version, manifestDigest: release.manifestDigest },
    repository: "stacks/autonomy-core",
    policy: { requireVehicleStationary: true, denyIfAutonomousMode: true, requireBatteryPctMin: 35 },
    correlationId: "00000000-0000-4000-8000-000000000000",
    ...changes,
  };
}
