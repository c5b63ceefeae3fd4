import type { Probe } from "@muto/spec";

/** Probes that look at the ROS graph, whichever provider shows it. */
export type GraphProbe = Extract<Probe, { kind: "node" | "topic" | "lifecycle" | "service" | "diagnostics" }>;

export function isGraphProbe(probe: Probe): probe is GraphProbe {
  switch (probe.kind) {
    case "node":
    case "topic":
    case "lifecycle":
    case "service":
    case "diagnostics":
      return true;
    case "process":
    case "http":
    case "tcp":
    case "log":
      return false;
  }
}
