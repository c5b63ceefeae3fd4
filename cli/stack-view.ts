import type { ContentId } from "@muto/oci/digest";
import { platformText } from "@muto/oci/platform";
import type { Platform } from "@muto/oci/platform";
import { stackArchives, stackImages } from "@muto/oci/stack-artifact";
import type { DescribedStack } from "@muto/oci/stack-pull";
import type { StackManifest } from "@muto/spec";
import { bytesText } from "./show.ts";
import { needsText, stackNeeds } from "./stack-needs.ts";
import type { StackNeeds } from "./stack-needs.ts";
import { details, table } from "./table.ts";

/** A stack as `release inspect` tells it. */
export interface StackView {
  readonly manifestDigest: string;
  readonly stack: StackManifest;
  /** What a vehicle downloads that has none of it. */
  readonly totalBytes: number;
  readonly blobs: number;
  readonly archives: readonly ArchiveView[];
  readonly images: readonly ImageView[];
  readonly needs: StackNeeds;
}

export interface ArchiveView extends ContentId {
  readonly workloads: readonly string[];
}

export interface ImageView {
  readonly digest: string;
  readonly platform: string | null;
  /** Its configuration and layers; layers that images share are counted with each. */
  readonly sizeBytes: number;
  readonly layers: number;
  readonly workloads: readonly string[];
}

export function stackView(
  { artifact, stack, images }: Pick<DescribedStack, "artifact" | "stack" | "images">,
  platforms: ReadonlyMap<string, Platform>,
): StackView {
  const runs = (digest: string) =>
    stack.workloads.filter((workload) => contentOf(workload) === digest).map(({ name }) => name);
  const parts = [artifact.config, ...artifact.layers];
  return {
    manifestDigest: artifact.manifestDigest,
    stack,
    totalBytes: sum(parts),
    blobs: parts.length,
    archives: stackArchives(artifact).map(({ digest, sizeBytes }) => ({ digest, sizeBytes, workloads: runs(digest) })),
    images: stackImages(artifact).map(({ digest }) => {
      const image = images.get(digest);
      const platform = platforms.get(digest);
      const blobs = image === undefined ? [] : [image.config, ...image.layers];
      return {
        digest,
        platform: platform === undefined ? null : platformText(platform),
        sizeBytes: sum(blobs),
        layers: image?.layers.length ?? 0,
        workloads: runs(digest),
      };
    }),
    needs: stackNeeds(stack),
  };
}

export function viewText(view: StackView): string {
  const { stack } = view;
  return [
    headText(view),
    table(
      ["workload", "type", "runs", "after", "limits"],
      stack.workloads.map((workload) => [
        workload.name,
        workload.type,
        commandText(workload),
        workload.dependsOn.map(({ workload: name, condition }) => `${name} ${condition}`).join(", ") || "-",
        limitsText(workload),
      ]),
    ),
    contentText(view),
    probesText(stack),
    `a vehicle must allow\n${needsText(view.needs)}`,
  ]
    .filter((part) => part !== "")
    .join("\n");
}

type Workload = StackManifest["workloads"][number];
type Probe = StackManifest["healthModel"]["probes"][number];

function headText({ manifestDigest, stack, totalBytes, blobs }: StackView): string {
  const { compatibility, healthModel, resourceProfile, ros } = stack;
  const any = (list: readonly string[]) => (list.length === 0 ? "any" : list.join(", "));
  const environment = [ros.distro, ros.domainId === undefined ? undefined : `domain ${ros.domainId}`, ros.rmw];
  const { readinessTimeoutSec, stableForSec, probationSec, maxRestarts, windowSec } = healthModel;
  return details([
    ["stack", `${stack.name} ${stack.version}`],
    ["digest", manifestDigest],
    ["models", any(compatibility.vehicleModels)],
    ["os", any(compatibility.os)],
    ["ROS", `${any(compatibility.rosDistro)}`],
    ["environment", environment.filter((one) => one !== undefined).join(", ") || "-"],
    ["disk", `${resourceProfile.diskMbMin} MB`],
    ["download", `${bytesText(totalBytes)} in ${blobs} blobs`],
    ["ready", `within ${readinessTimeoutSec} s, for ${stableForSec} s; probation ${probationSec} s`],
    ["crash loop", `more than ${maxRestarts} restarts in ${windowSec} s`],
  ]);
}

function commandText(workload: Workload): string {
  const launch = Object.entries(workload.launchArguments)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}:=${value}`);
  if (workload.argv === undefined) return "the image's command";
  const command = [...workload.argv, ...launch].map(quoted).join(" ");
  return command.length > COMMAND_CHARACTERS_MAX ? `${command.slice(0, COMMAND_CHARACTERS_MAX - 1)}…` : command;
}

const COMMAND_CHARACTERS_MAX = 100;

/** What would hide where an argument ends is shown with quotation marks, and no control characters reach a terminal. */
function quoted(text: string): string {
  return text === "" || /[\s"'\p{Cc}]/u.test(text) ? JSON.stringify(text) : text;
}

function limitsText({ resources, gpus, oneshot }: Workload): string {
  const { memoryMb, cpus, pids } = resources;
  const limits = [
    ...(memoryMb === undefined ? [] : [`${memoryMb} MB`]),
    ...(cpus === undefined ? [] : [`${cpus} CPUs`]),
    ...(pids === undefined ? [] : [`${pids} pids`]),
    ...(gpus === "all" ? ["all GPUs"] : []),
    ...(oneshot ? ["once"] : []),
  ];
  return limits.join(", ") || "-";
}

function contentText({ stack, archives, images }: StackView): string {
  const rows = [
    ...archives.map(({ digest, sizeBytes, workloads }) => [
      "archive",
      workloads.join(", "),
      bytesText(sizeBytes),
      digest,
    ]),
    ...images.map(({ digest, sizeBytes, workloads, platform, layers }) => [
      `image, ${platform ?? "unknown"}`,
      workloads.join(", "),
      `${bytesText(sizeBytes)}, ${layers === 1 ? "1 layer" : `${layers} layers`}`,
      digest,
    ]),
    ...stack.workloads.flatMap(({ name, params }) =>
      params.map((file) => [`params ${file.name}`, name, bytesText(Buffer.byteLength(file.text)), "-"]),
    ),
  ];
  return table(["content", "of", "size", "digest"], rows);
}

function probesText({ healthModel }: StackManifest): string {
  if (healthModel.probes.length === 0) return "no probes: ready once every workload is up\n";
  const rows = healthModel.probes.map((probe) => [
    probe.name,
    probe.kind,
    probe.workload,
    expectationText(probe),
    probe.liveness ? "readiness and liveness" : "readiness",
  ]);
  return table(["probe", "kind", "workload", "expects", "asked for"], rows);
}

function expectationText(probe: Probe): string {
  switch (probe.kind) {
    case "process":
      return "stays up";
    case "http":
      return `${probe.status} from port ${probe.port} ${probe.path}`;
    case "tcp":
      return `port ${probe.port} answers`;
    case "log":
      return `${probe.seen ? "printed" : "never printed"} ${JSON.stringify(probe.text)}`;
    case "node":
      return `${probe.node} is in the graph`;
    case "topic":
      return [
        probe.topic,
        ...(probe.hzMin === undefined ? [] : [`at least ${probe.hzMin} Hz`]),
        ...(probe.ageSecMax === undefined ? [] : [`at most ${probe.ageSecMax} s old`]),
        `${probe.publishersMin} or more publishers`,
      ].join(", ");
    case "lifecycle":
      return `${probe.node} is ${probe.state}`;
    case "service":
      return `${probe.service} answers with success`;
    case "diagnostics":
      return `${probe.status ?? "the worst status"} is ${probe.levelMax} or better`;
  }
}

function contentOf(workload: Workload): string {
  return workload.type === "native" ? workload.archive : workload.image;
}

function sum(parts: readonly ContentId[]): number {
  return parts.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
}
