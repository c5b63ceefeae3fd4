import { request } from "node:http";
import { connect } from "node:net";
import type { Probe } from "@muto/spec";
import type { GraphReader, Instance, Prober, ProbeSeen } from "../ports.ts";
import type { OutputSearch } from "./process-runtime.ts";
import { isGraphProbe, type GraphProbe } from "../reconcile/graph-probe.ts";
import { lookAtGraph, met, notMet } from "./prober-graph.ts";

export const PROBE_LIMITS = {
  /** For one look at one probe, on both loopback addresses together. */
  lookMs: 2_000,
  headerBytesMax: 16_384,
} as const;

/** Workloads listen on either loopback address; no other is ever asked. */
const LOOPBACK = ["127.0.0.1", "::1"] as const;

/** Where a vehicle's workloads listen: both usual addresses, or the one that its configuration names. */
function hostsFor(probeAddress: string): readonly string[] {
  return probeAddress === LOOPBACK[0] ? LOOPBACK : [probeAddress];
}

/**
 * Looks at probes of native workloads and of containers on the vehicle's own network. `process`: it runs; `http`: the expected
 * status, redirects are not followed; `tcp`: something accepts a connection; `log`: the text was, or was never, in the output
 * since the start; the others ask the ROS graph. What is asked of a workload that does not run is not met, except its log.
 */
export function processProber(output: OutputSearch, probeAddress: string = LOOPBACK[0], graph?: GraphReader): Prober {
  const hosts = hostsFor(probeAddress);
  return {
    look: async (probe, instance, signal) => {
      const limited = AbortSignal.any([signal, AbortSignal.timeout(PROBE_LIMITS.lookMs)]);
      return limited.aborted ? notMet("not-seen", null, null, null) : await look(probe, instance, limited);
    },
  };

  async function look(probe: Probe, instance: Instance | undefined, signal: AbortSignal): Promise<ProbeSeen> {
    const runs = instance?.state.kind === "running";
    if (isGraphProbe(probe)) return await lookThrough(probe, runs, signal);
    switch (probe.kind) {
      case "process":
        if (instance === undefined) return notMet("not-running", true, null, null);
        return runs ? met(true, true, 0) : notMet("not-running", true, false, 0);
      case "log":
        return await lookAtLog(probe, instance, output);
      case "http":
      case "tcp":
        return runs ? await lookAtPort(probe, hosts, signal) : notMet("not-running", requiredOf(probe), null, null);
    }
  }

  /** A topic is watched from the first look on, so it is asked for although its workload does not run yet. */
  async function lookThrough(probe: GraphProbe, runs: boolean, signal: AbortSignal): Promise<ProbeSeen> {
    if (graph === undefined) return notMet("unsupported", null, null, null);
    if (!runs && probe.kind !== "topic") return notMet("not-running", null, null, null);
    const seen = await lookAtGraph(probe, graph, signal);
    return runs ? seen : notMet("not-running", seen.required, null, null);
  }
}

function requiredOf(probe: Extract<Probe, { kind: "http" | "tcp" }>): number | boolean {
  return probe.kind === "http" ? probe.status : true;
}

async function lookAtLog(
  probe: Extract<Probe, { kind: "log" }>,
  instance: Instance | undefined,
  output: OutputSearch,
): Promise<ProbeSeen> {
  if (instance === undefined) return notMet("not-running", probe.seen, null, null);
  const seen = await output.saw(instance.instanceId, probe.text);
  if (seen === null) return notMet("not-seen", probe.seen, null, null);
  if (seen === probe.seen) return met(probe.seen, seen, 0);
  return notMet(seen ? "text-present" : "text-missing", probe.seen, seen, 0);
}

async function lookAtPort(
  probe: Extract<Probe, { kind: "http" | "tcp" }>,
  hosts: readonly string[],
  signal: AbortSignal,
): Promise<ProbeSeen> {
  for (const host of hosts) {
    if (probe.kind === "tcp") {
      if (await accepts(host, probe.port, signal)) return met(true, true, 0);
      continue;
    }
    const status = await statusOf(host, probe.port, probe.path, signal);
    if (status === undefined) continue;
    return status === probe.status ? met(probe.status, status, 0) : notMet("wrong-status", probe.status, status, 0);
  }
  return notMet("unreachable", requiredOf(probe), probe.kind === "tcp" ? false : null, probe.kind === "tcp" ? 0 : null);
}

function accepts(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false);
    const socket = connect({ host, port, signal });
    socket.once("connect", () => resolve(true));
    socket.once("connect", () => socket.destroy());
    socket.once("error", () => resolve(false));
    return undefined;
  });
}

/** Undefined without an answer; the body is not read. */
function statusOf(host: string, port: number, path: string, signal: AbortSignal): Promise<number | undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(undefined);
    const asked = request({
      host,
      port,
      path,
      signal,
      agent: false,
      headers: { host: "localhost", "user-agent": "muto" },
      maxHeaderSize: PROBE_LIMITS.headerBytesMax,
    });
    asked.once("response", (response) => {
      resolve(response.statusCode);
      response.destroy();
    });
    asked.on("error", () => resolve(undefined));
    asked.end();
    return undefined;
  });
}
