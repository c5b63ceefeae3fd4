import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { systemHttp } from "@muto/kit/http";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import { MEDIA_TYPES } from "@muto/spec";
import { createRegistryClient } from "./client.ts";
import { digestOf } from "./digest.ts";
import { OCI_MANIFEST } from "./media-types.ts";
import { serveRegistry } from "./registry/serve.ts";
import { encodeStackArtifact, parseStackArtifact, parseStackConfig } from "./stack-artifact.ts";
import { buildStackArtifact } from "./stack-build.ts";
import { pullStack } from "./stack-pull.ts";
import { pushStackArtifact } from "./stack-push.ts";

const disk = systemDisk();
let root: string;
let folders: ReadonlyMap<string, string>;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "muto-stack-"));
  for (const name of ["perception", "planner", "out", "registry"]) await mkdir(join(root, name));
  await writeFile(join(root, "perception/run.sh"), "#!/bin/sh\n", { mode: 0o755 });
  await writeFile(join(root, "planner/run.sh"), "#!/bin/sh\nexit 0\n", { mode: 0o755 });
  folders = new Map([
    ["perception", join(root, "perception")],
    ["planner", join(root, "planner")],
    ["watchdog", join(root, "planner")],
  ]);
});
after(() => rm(root, { recursive: true }));

const workload = (name: string, extra: Record<string, unknown> = {}) => ({
  name,
  type: "native",
  argv: ["run.sh"],
  ...extra,
});

function manifestOf(extra: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    kind: "muto.stack/v1",
    name: "autonomy-core",
    version: "1.0.0",
    compatibility: { vehicleModels: ["vehicle-v3"], os: [], rosDistro: ["humble"] },
    resourceProfile: { diskMbMin: 10 },
    healthModel: { readinessTimeoutSec: 30, probes: [{ kind: "process", name: "up", workload: "planner" }] },
    workloads: [
      workload("perception"),
      workload("planner", { dependsOn: [{ workload: "perception", condition: "ready" }] }),
      workload("watchdog"),
    ],
    ...extra,
  };
}

const build = (manifest: Record<string, unknown>) =>
  buildStackArtifact(disk, { manifest, folders, outputFolder: join(root, "out") });

test("a stack is built, pushed and pulled, and is the same again", async () => {
  const result = await build(manifestOf());
  assert.ok(result.ok);
  const { built } = result;
  assert.equal(built.artifact.layers.length, 2, "two workloads of one folder share an archive");
  const [, second, third] = built.stack.workloads;
  assert.ok(second?.type === "native" && third?.type === "native");
  assert.equal(second.archive, third.archive);
  assert.deepEqual(built.stack.healthModel.probationSec, 60, "defaults are filled in");

  const again = await build(manifestOf());
  assert.ok(again.ok);
  assert.equal(again.built.artifact.manifestDigest, built.artifact.manifestDigest);
  const archives = (await readdir(join(root, "out"))).toSorted();
  assert.deepEqual(archives, built.artifact.layers.map(({ digest }) => `${digest.slice(7)}.tar.gz`).toSorted());

  const ports = { disk, clock: systemClock(), random: systemRandom(), logger: silentLogger };
  await using registry = await serveRegistry(ports, { folder: join(root, "registry") });
  const client = createRegistryClient({ http: systemHttp(), clock: systemClock() }, { origin: registry.url });
  const pushed = await pushStackArtifact({ client }, "fleet/autonomy-core", built, { tag: "1.0.0" });
  assert.ok(pushed.ok);
  assert.equal(pushed.manifestDigest, built.artifact.manifestDigest);
  const pulled = await pullStack(client, "fleet/autonomy-core", built.artifact.manifestDigest);
  assert.ok(pulled.ok);
  assert.deepEqual(pulled.stack, built.stack);
  assert.deepEqual(pulled.artifact, built.artifact);
  const absent = await pullStack(client, "fleet/autonomy-core", digestOf(Buffer.from("absent")));
  assert.deepEqual(absent, { ok: false, problem: "not-found", httpStatus: 404 });
});

test("a manifest that could never start is refused where it is built, with the place", async () => {
  const dependsOn = (name: string) => ({ dependsOn: [{ workload: name, condition: "started" }] });
  const process = (name: string, of: string) => ({ kind: "process", name, workload: of });
  const situations: readonly { name: string; extra: Record<string, unknown>; path: string }[] = [
    { name: "not of the schema", extra: { healthModel: {} }, path: "/healthModel/readinessTimeoutSec" },
    {
      name: "two of one name",
      extra: { workloads: [workload("planner"), workload("planner")] },
      path: "/workloads/1/name",
    },
    {
      name: "waits for nobody",
      extra: { workloads: [workload("planner", dependsOn("ghost"))] },
      path: "/workloads/0/dependsOn/0",
    },
    { name: "waits for itself", extra: { workloads: [workload("planner", dependsOn("planner"))] }, path: "/workloads" },
    {
      name: "wait in a circle",
      extra: {
        workloads: [workload("planner", dependsOn("perception")), workload("perception", dependsOn("planner"))],
      },
      path: "/workloads",
    },
    {
      name: "probe of nobody",
      extra: { healthModel: { readinessTimeoutSec: 1, probes: [process("a", "ghost")] } },
      path: "/healthModel/probes/0/workload",
    },
    {
      name: "two probes of one name",
      extra: { healthModel: { readinessTimeoutSec: 1, probes: [process("a", "planner"), process("a", "planner")] } },
      path: "/healthModel/probes/1/name",
    },
    { name: "archive of nowhere", extra: { workloads: [workload("ghost")] }, path: "/workloads/0/archive" },
  ];
  for (const { name, extra, path } of situations) {
    const result = await build(manifestOf(extra));
    assert.ok(!result.ok && result.problem === "not-a-stack-manifest", name);
    assert.ok(
      result.problems?.some((problem) => problem.path === path),
      `${name}: ${JSON.stringify(result.problems)}`,
    );
  }
  const lost = await buildStackArtifact(disk, {
    manifest: manifestOf(),
    folders: new Map([["perception", join(root, "absent")]]),
    outputFolder: join(root, "out"),
  });
  assert.deepEqual(lost, { ok: false, problem: "cannot-pack", cause: "folder-missing", path: join(root, "absent") });
});

test("artifacts that are not consistent are refused, each with its code (hostile registry, extraneous dependency)", async () => {
  const result = await build(manifestOf());
  assert.ok(result.ok);
  const { manifestBytes, configBytes, artifact } = result.built;
  const changed = (change: (manifest: Record<string, unknown>) => Record<string, unknown>) => {
    const value: unknown = JSON.parse(Buffer.from(manifestBytes).toString());
    assert.ok(typeof value === "object" && value !== null);
    return Buffer.from(JSON.stringify(change({ ...value })));
  };
  const config = {
    mediaType: MEDIA_TYPES.stackManifest,
    digest: artifact.config.digest,
    size: artifact.config.sizeBytes,
  };
  const situations: Record<string, { bytes: Uint8Array; problem: string }> = {
    "not JSON": { bytes: Buffer.from("{"), problem: "not-a-manifest" },
    "no manifest": { bytes: Buffer.from("{}"), problem: "not-a-manifest" },
    "a container image": { bytes: changed((m) => ({ ...m, artifactType: undefined })), problem: "wrong-artifact-type" },
    "other artifact": {
      bytes: changed((m) => ({ ...m, artifactType: "application/x" })),
      problem: "wrong-artifact-type",
    },
    "other configuration": {
      bytes: changed((m) => ({ ...m, config: { ...config, mediaType: "application/x" } })),
      problem: "wrong-config-type",
    },
    "huge configuration": {
      bytes: changed((m) => ({ ...m, config: { ...config, size: 2_000_000 } })),
      problem: "wrong-config-type",
    },
    "foreign layer": {
      bytes: changed((m) => ({ ...m, layers: [{ ...config, mediaType: "text/plain" }] })),
      problem: "wrong-layer-type",
    },
    "many layers": {
      bytes: changed((m) => ({
        ...m,
        layers: Array.from({ length: 513 }, () => ({ ...config, mediaType: MEDIA_TYPES.stackArchive })),
      })),
      problem: "too-many-layers",
    },
    "one twice": {
      bytes: changed((m) => ({ ...m, layers: Array.isArray(m["layers"]) ? [...m["layers"], ...m["layers"]] : [] })),
      problem: "layer-twice",
    },
    "negative size": { bytes: changed((m) => ({ ...m, config: { ...config, size: -1 } })), problem: "not-a-manifest" },
    "digest of another kind": {
      bytes: changed((m) => ({ ...m, config: { ...config, digest: "md5:abc" } })),
      problem: "not-a-manifest",
    },
  };
  for (const [name, { bytes, problem }] of Object.entries(situations)) {
    const parsed = parseStackArtifact(bytes, digestOf(bytes));
    assert.equal(parsed.ok ? "ok" : parsed.problem, problem, name);
  }
  const swapped = parseStackArtifact(manifestBytes, digestOf(configBytes));
  assert.deepEqual(swapped, { ok: false, problem: "digest-mismatch" });

  const [first, second] = artifact.layers;
  assert.ok(first && second);
  const extra = { mediaType: MEDIA_TYPES.stackArchive, digest: digestOf(Buffer.from("extra")), sizeBytes: 5 };
  const archiveSituations = {
    "one is missing": { layers: [first], problem: "archive-missing" },
    "one too many": { layers: [first, second, extra], problem: "archive-not-named" },
    "an image too many": {
      layers: [first, second, { ...extra, mediaType: OCI_MANIFEST }],
      problem: "image-not-named",
    },
  };
  for (const [name, { layers, problem }] of Object.entries(archiveSituations)) {
    const parsed = parseStackConfig(configBytes, { ...artifact, layers });
    assert.deepEqual(parsed, { ok: false, problem }, name);
  }
  assert.deepEqual(parseStackConfig(Buffer.from("{}"), artifact), { ok: false, problem: "digest-mismatch" });
});

test("the bytes of a manifest are fixed, so that everybody computes the same digest", () => {
  const content = (text: string) => ({ digest: digestOf(Buffer.from(text)), sizeBytes: text.length });
  const stack = { name: "s", version: "1" };
  const bytes = encodeStackArtifact(stack, content("config"), [
    { mediaType: MEDIA_TYPES.stackArchive, ...content("layer"), title: "a.tar.gz" },
  ]);
  assert.equal(
    Buffer.from(bytes).toString(),
    '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.muto.stack.v1",' +
      `"config":{"mediaType":"application/vnd.muto.stack.manifest.v1+json","digest":"${content("config").digest}","size":6},` +
      `"layers":[{"mediaType":"application/vnd.muto.stack.archive.v1.tar+gzip","digest":"${content("layer").digest}","size":5,` +
      '"annotations":{"org.opencontainers.image.title":"a.tar.gz"}}],' +
      '"annotations":{"org.opencontainers.image.title":"s","org.opencontainers.image.version":"1"}}',
  );
});
