import type { Problem, StackManifest } from "@muto/spec";

/**
 * What a schema cannot say of a stack manifest: names are unique, whatever is named exists, and waiting for one another ends.
 * Empty when the manifest is consistent. A release that could never start is refused when it is built and when it is posted.
 */
export function stackProblems(stack: StackManifest): readonly Problem[] {
  const names = stack.workloads.map(({ name }) => name);
  const problems: Problem[] = [];
  for (const [index, workload] of stack.workloads.entries()) {
    const path = `/workloads/${index}`;
    if (names.indexOf(workload.name) !== index) problems.push({ path: `${path}/name`, message: "is used twice" });
    for (const [at, { workload: needed }] of workload.dependsOn.entries()) {
      if (!names.includes(needed)) problems.push({ path: `${path}/dependsOn/${at}`, message: "names no workload" });
    }
  }
  const probes = stack.healthModel.probes;
  for (const [index, probe] of probes.entries()) {
    const path = `/healthModel/probes/${index}`;
    if (!names.includes(probe.workload)) problems.push({ path: `${path}/workload`, message: "names no workload" });
    const first = probes.findIndex(({ name }) => name === probe.name);
    if (first !== index) problems.push({ path: `${path}/name`, message: "is used twice" });
  }
  return problems.length > 0 || canAllStart(stack)
    ? problems
    : [{ path: "/workloads", message: "wait for one another in a circle" }];
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
