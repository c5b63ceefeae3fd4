import type { Probe } from "@muto/spec";

/** Whether two releases look at the same thing in the same way; liveness is about what follows, not about the look. */
export function isSameProbe(one: Probe, other: Probe): boolean {
  if (one.name !== other.name || one.workload !== other.workload) return false;
  switch (one.kind) {
    case "process":
      return other.kind === "process";
    case "http":
      return other.kind === "http" && one.port === other.port && one.path === other.path && one.status === other.status;
    case "tcp":
      return other.kind === "tcp" && one.port === other.port;
    case "log":
      return other.kind === "log" && one.text === other.text && one.seen === other.seen;
    case "node":
      return other.kind === "node" && one.node === other.node;
    case "topic":
      return (
        other.kind === "topic" &&
        one.topic === other.topic &&
        one.messageType === other.messageType &&
        one.hzMin === other.hzMin &&
        one.windowSec === other.windowSec &&
        one.ageSecMax === other.ageSecMax &&
        one.publishersMin === other.publishersMin
      );
    case "lifecycle":
      return other.kind === "lifecycle" && one.node === other.node && one.state === other.state;
    case "service":
      return other.kind === "service" && one.service === other.service;
    case "diagnostics":
      return (
        other.kind === "diagnostics" &&
        one.status === other.status &&
        one.levelMax === other.levelMax &&
        one.ageSecMax === other.ageSecMax
      );
  }
}
