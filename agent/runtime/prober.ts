import { request } from "node:http";
import { connect } from "node:net";
import type { Probe } from "@muto/spec";
import type { Instance, Prober, ProbeSeen } from "../ports.ts";
import type { OutputSearch } from "./process-runtime.ts";

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

const UNSEEN: ProbeSeen = { met: false, seen: null };

/**
 * Looks at probes of native workloads. `process`: it runs; `http`: the expected status, redirects are not followed; `tcp`:
 * something accepts a connection; `log`: the text was, or was never, in the output since the start. What is asked of a
 * workload that does not run is not met, except its log.
 */
export function processProber(output: OutputSearch, probeAddress: string = LOOPBACK[0]): Prober {
  const hosts = hostsFor(probeAddress);
  return {
    look: async (probe, instance, signal) => {
      if (instance === undefined) return UNSEEN;
      const limited = AbortSignal.any([signal, AbortSignal.timeout(PROBE_LIMITS.lookMs)]);
      if (limited.aborted) return UNSEEN;
      switch (probe.kind) {
        case "process": {
          const runs = instance.state.kind === "running";
          return { met: runs, seen: runs };
        }
        case "log":
          return await lookAtLog(probe, instance, output);
        case "http":
        case "tcp":
          return instance.state.kind === "running" ? await lookAtPort(probe, hosts, limited) : UNSEEN;
        case "node":
        case "topic":
        case "lifecycle":
        case "service":
        case "diagnostics":
          return UNSEEN;
      }
    },
  };
}

async function lookAtLog(
  probe: Extract<Probe, { kind: "log" }>,
  instance: Instance,
  output: OutputSearch,
): Promise<ProbeSeen> {
  const seen = await output.saw(instance.instanceId, probe.text);
  return { met: seen === probe.seen, seen };
}

async function lookAtPort(
  probe: Extract<Probe, { kind: "http" | "tcp" }>,
  hosts: readonly string[],
  signal: AbortSignal,
): Promise<ProbeSeen> {
  for (const host of hosts) {
    if (probe.kind === "tcp") {
      if (await accepts(host, probe.port, signal)) return { met: true, seen: true };
      continue;
    }
    const status = await statusOf(host, probe.port, probe.path, signal);
    if (status !== undefined) return { met: status === probe.status, seen: status };
  }
  return { met: false, seen: probe.kind === "tcp" ? false : null };
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
