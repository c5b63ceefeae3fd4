import type { Problem, StackManifest } from "@muto/spec";

/**
 * What a schema cannot say of a stack manifest: names are unique, whatever is named exists, waiting for one another ends, and
 * nothing is asked that could never come true. Empty when the manifest is consistent. A release that could never start is
 * refused when it is built, when it is posted, and by the vehicle.
 */
export function stackProblems(stack: StackManifest): readonly Problem[] {
  const problems = [
    ...stack.workloads.flatMap((workload, index) => workloadProblems(stack, workload, index)),
    ...healthProblems(stack),
  ];
  return problems.length > 0 || canAllStart(stack)
    ? problems
    : [{ path: "/workloads", message: "wait for one another in a circle" }];
}

type Workload = StackManifest["workloads"][number];
type Probe = StackManifest["healthModel"]["probes"][number];

function workloadProblems({ workloads }: StackManifest, workload: Workload, index: number): readonly Problem[] {
  const path = `/workloads/${index}`;
  const names = workloads.map(({ name }) => name);
  const problems: Problem[] = [];
  if (names.indexOf(workload.name) !== index) problems.push({ path: `${path}/name`, message: "is used twice" });
  for (const [at, { workload: needed }] of workload.dependsOn.entries()) {
    if (!names.includes(needed)) problems.push({ path: `${path}/dependsOn/${at}`, message: "names no workload" });
  }
  for (const name of Object.keys(workload.env)) {
    if (OWN_VARIABLES.test(name)) problems.push({ path: `${path}/env`, message: `${name} is set by the vehicle` });
  }
  problems.push(...parameterProblems(workload, path));
  problems.push(...(workload.type === "native" ? pathProblems(workload, path) : containerProblems(workload, path)));
  return problems;
}

/** Variables by which the agent tells a workload who it is, and knows it again. What simulated vehicles read is the stack's to say. */
const OWN_VARIABLES = /^MUTO_(?!SIM_)/;

/** How a parameter file is named in an argument; anything else that begins like it is a mistake that would only show on the road. */
const PARAMS = /\$\(params(?: ([a-z0-9][a-z0-9._-]{0,62})\))?/g;

function parameterProblems(workload: Workload, path: string): readonly Problem[] {
  const names = workload.params.map(({ name }) => name);
  const problems: Problem[] = [];
  for (const [at, name] of names.entries()) {
    if (names.indexOf(name) !== at) problems.push({ path: `${path}/params/${at}/name`, message: "is used twice" });
  }
  const texts: readonly (readonly [path: string, text: string])[] = [
    ...(workload.argv ?? []).map((text, at) => [`${path}/argv/${at}`, text] as const),
    ...Object.entries(workload.launchArguments).map(
      ([name, text]) => [`${path}/launchArguments/${name}`, text] as const,
    ),
  ];
  for (const [at, text] of texts) {
    for (const [found, name] of text.matchAll(PARAMS)) {
      if (name === undefined) problems.push({ path: at, message: `${found}…: write $(params NAME)` });
      else if (!names.includes(name)) problems.push({ path: at, message: `${found} names no parameter file` });
    }
  }
  if (workload.argv === undefined && Object.keys(workload.launchArguments).length > 0) {
    problems.push({ path: `${path}/launchArguments`, message: "are appended to argv, which is left out" });
  }
  return problems;
}

function pathProblems(workload: Extract<Workload, { type: "native" }>, path: string): readonly Problem[] {
  const [program = ""] = workload.argv;
  const paths = [[`${path}/argv/0`, program], ...workload.setup.map((file, at) => [`${path}/setup/${at}`, file])];
  return paths.flatMap(([at = "", text = ""]) => {
    if (text === "") return [{ path: at, message: "is empty" }];
    return text.startsWith("/") || !text.split("/").includes("..") ? [] : [{ path: at, message: "leaves the archive" }];
  });
}

function containerProblems(workload: Extract<Workload, { type: "oci" }>, path: string): readonly Problem[] {
  const targets = workload.mounts.map(({ target }) => target.replace(/\/$/, ""));
  const devices = workload.devices.map((device) => device.containerPath ?? device.path);
  return [
    ...twice(targets).map((at) => ({ path: `${path}/mounts/${at}/target`, message: "is used twice" })),
    ...twice(devices).map((at) => ({ path: `${path}/devices/${at}`, message: "is used twice" })),
    ...(workload.argv?.[0] === "" ? [{ path: `${path}/argv/0`, message: "is empty" }] : []),
  ];
}

function twice(values: readonly string[]): readonly number[] {
  return values.flatMap((value, index) => (values.indexOf(value) === index ? [] : [index]));
}

function healthProblems({ healthModel, workloads }: StackManifest): readonly Problem[] {
  const { probes, stableForSec, readinessTimeoutSec } = healthModel;
  const problems: Problem[] = [];
  if (stableForSec >= readinessTimeoutSec) {
    problems.push({ path: "/healthModel/stableForSec", message: "leaves no time within readinessTimeoutSec" });
  }
  for (const [index, probe] of probes.entries()) {
    const path = `/healthModel/probes/${index}`;
    const workload = workloads.find(({ name }) => name === probe.workload);
    if (workload === undefined) problems.push({ path: `${path}/workload`, message: "names no workload" });
    const first = probes.findIndex(({ name }) => name === probe.name);
    if (first !== index) problems.push({ path: `${path}/name`, message: "is used twice" });
    const never = workload === undefined ? undefined : neverTrue(probe, workload);
    if (never !== undefined) problems.push({ path, message: never });
  }
  return problems;
}

/** Why the probe can never be met, whatever the workload does. */
function neverTrue(probe: Probe, workload: Workload): string | undefined {
  const isCutOff = workload.type === "oci" && workload.network === "none";
  if (isCutOff && probe.kind !== "process" && probe.kind !== "log") return "asks a workload that has no network";
  if (probe.kind === "topic" && probe.hzMin !== undefined && probe.hzMin * probe.windowSec < 1) {
    return "asks for less than one message in windowSec";
  }
  return undefined;
}

/** Starts, on paper, whatever waits for nothing that has not started, until nothing more can be. */
function canAllStart(stack: StackManifest): boolean {
  const started = new Set<string>();
  for (let round = 0; round < stack.workloads.length; round++) {
    for (const { name, dependsOn } of stack.workloads) {
      if (dependsOn.every(({ workload }) => started.has(workload))) started.add(name);
    }
  }
  return started.size === stack.workloads.length;
}
