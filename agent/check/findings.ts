import type { AgentView } from "@muto/spec";
import type { Finding } from "./finding.ts";
import { gateFindings, secondsText, type Freshness } from "./gate-findings.ts";
import { keyFindings, type Identity } from "./key-findings.ts";

/** Everything that was looked at, as values; judged here, without another look. */
export interface Looked {
  readonly warnings: readonly string[];
  readonly trust: { readonly ok: true; readonly keys: number } | { readonly ok: false; readonly problem: string };
  readonly identity: Omit<Identity, "enrolment">;
  readonly state: { readonly problem: string | null; readonly freeMb: number | null; readonly reserveMb: number };
  readonly clock: { readonly wallMs: number; readonly cloudDateMs: number | null };
  readonly engine:
    | { readonly kind: "not-configured" }
    | { readonly kind: "answers"; readonly socket: string; readonly name: string; readonly version: string }
    | { readonly kind: "trouble"; readonly socket: string; readonly problem: string };
  readonly native: { readonly adapter: "process" | "systemd" | "none"; readonly systemdRuns: boolean };
  readonly cloud: Reached;
  readonly registry: Reached | undefined;
  readonly broker: Reached | undefined;
  /** Of the agent that runs here, or taken by this look itself when none does. */
  readonly seen: Pick<AgentView, "providers" | "gate"> & {
    readonly agentRuns: boolean;
    /** Of the agent that runs here; without one nobody has looked at the stack. */
    readonly health?: Pick<AgentView["health"], "probes" | "drift">;
    readonly enrolment?: AgentView["enrolment"];
  };
  /** One for each source of a signal that the configuration names. */
  readonly freshness: readonly Freshness[];
  readonly graph: AgentView["graph"];
}

export interface Reached {
  readonly url: string;
  /** HTTP status, 0 for a connection that speaks no HTTP; null when nobody answered. */
  readonly status: number | null;
  readonly ms: number;
}

const CLOCK_OFF_MS_MAX = 60_000;
/** A computer without a battery for its clock starts in 1970 or at the date of its image. */
const CLOCK_MS_MIN = Date.UTC(2025, 0, 1);

/** Whether this vehicle could take and run a release; the gates may be closed all the same, because it drives. */
export function judgeLooked(looked: Looked): readonly Finding[] {
  const { seen, freshness } = looked;
  return [
    ...looked.warnings.map((says): Finding => ({ about: "configuration", verdict: "warn", says })),
    trustFinding(looked),
    ...keyFindings({ ...looked.identity, ...(seen.enrolment !== undefined && { enrolment: seen.enrolment }) }),
    stateFinding(looked),
    clockFinding(looked),
    ...runtimeFindings(looked),
    reachedFinding("control plane", looked.cloud),
    ...(looked.registry === undefined ? [noRegistry] : [reachedFinding("registry", looked.registry)]),
    ...(looked.broker === undefined ? [] : [reachedFinding("broker", looked.broker)]),
    agentFinding(looked),
    ...seen.providers.map((provider) => providerFinding(provider, freshness)),
    ...graphFindings(looked),
    ...stackFindings(seen.health),
    ...gateFindings(seen.gate, freshness),
  ];
}

const noRegistry: Finding = {
  about: "registry",
  verdict: "warn",
  says: "none is configured: releases come by bundle only",
};

function trustFinding({ trust }: Looked): Finding {
  if (trust.ok) return { about: "trust", verdict: "ok", says: `${trust.keys} keys are trusted` };
  return {
    about: "trust",
    verdict: "fail",
    says: trust.problem,
    next: "copy the fleet's trust file to where trustFile points",
  };
}

function stateFinding({ state }: Looked): Finding {
  if (state.problem !== null) {
    return { about: "state", verdict: "fail", says: state.problem, next: "the agent's user must own stateDir" };
  }
  if (state.freeMb === null) return { about: "state", verdict: "fail", says: "the disk does not say how much is free" };
  const says = `${state.freeMb} MB free, ${state.reserveMb} MB are kept as reserve`;
  if (state.freeMb >= state.reserveMb) return { about: "state", verdict: "ok", says };
  return { about: "state", verdict: "fail", says, next: "make room, or nothing can be staged" };
}

function clockFinding({ clock }: Looked): Finding {
  const next = "check time synchronisation; windows stay closed while the clock is not trusted";
  if (clock.wallMs < CLOCK_MS_MIN) {
    return { about: "clock", verdict: "fail", says: `says ${new Date(clock.wallMs).toISOString()}`, next };
  }
  if (clock.cloudDateMs === null) {
    return { about: "clock", verdict: "ok", says: "plausible; nobody was reached to compare it with" };
  }
  const offMs = clock.wallMs - clock.cloudDateMs;
  const says = `${Math.round(Math.abs(offMs) / 1000)} s ${offMs < 0 ? "behind" : "ahead of"} the control plane`;
  return Math.abs(offMs) <= CLOCK_OFF_MS_MAX
    ? { about: "clock", verdict: "ok", says }
    : { about: "clock", verdict: "warn", says, next };
}

function runtimeFindings({ engine, native }: Looked): readonly Finding[] {
  const findings: Finding[] = [];
  switch (engine.kind) {
    case "not-configured":
      break;
    case "answers":
      findings.push({
        about: "engine",
        verdict: "ok",
        says: `${engine.name} ${engine.version} at ${engine.socket}`,
      });
      break;
    case "trouble":
      findings.push({
        about: "engine",
        verdict: "fail",
        says: `${engine.socket}: ${engine.problem}`,
        next: "start the engine, and let the agent's user open its socket",
      });
      break;
  }
  if (native.adapter === "systemd" && !native.systemdRuns) {
    findings.push({
      about: "native",
      verdict: "fail",
      says: "systemd does not run here",
      next: "runtime.adapter: process",
    });
  } else if (native.adapter !== "none") {
    findings.push({ about: "native", verdict: "ok", says: `native workloads run by ${native.adapter}` });
  } else if (engine.kind === "not-configured") {
    findings.push({
      about: "runtime",
      verdict: "fail",
      says: "nothing can run: runtime.adapter is none and runtime.oci is left out",
    });
  }
  return findings;
}

/** Offline is normal: a vehicle that cannot reach its fleet is fit. */
function reachedFinding(about: string, { url, status, ms }: Reached): Finding {
  if (status === null) {
    return { about, verdict: "warn", says: `${url}: no answer`, next: "what is here goes on; nothing new comes" };
  }
  const answered = `${url} answered in ${Math.round(ms)} ms`;
  if (status >= 500) return { about, verdict: "warn", says: `${answered} with ${status}` };
  return { about, verdict: "ok", says: answered };
}

function agentFinding({ seen }: Looked): Finding {
  return seen.agentRuns
    ? { about: "agent", verdict: "ok", says: "runs; what follows is what it sees" }
    : { about: "agent", verdict: "warn", says: "does not run; what follows was looked at for a moment without it" };
}

/** A provider that no source calls required can fall silent without closing a gate. What is old is as good as never said. */
function providerFinding(
  { name, lastLine, samples }: AgentView["providers"][number],
  freshness: readonly Freshness[],
): Finding {
  const about = `signal ${name}`;
  const next = "without it the gates stay closed";
  const named = freshness.filter(({ provider }) => provider === name);
  const verdict = named.some(({ optional }) => !optional) ? "fail" : "warn";
  if (lastLine !== "good") {
    const says = lastLine === "none" ? "has said nothing" : "says what cannot be understood";
    return { about, verdict, says, next };
  }
  const newestMs = Math.min(...samples.map(({ ageMs }) => ageMs));
  const freshForSec = Math.max(...named.map((one) => one.freshForSec));
  if (named.length > 0 && samples.length > 0 && newestMs > freshForSec * 1000) {
    return { about, verdict, says: `stale: ${secondsText(newestMs)} old, must be below ${freshForSec} s`, next };
  }
  const values = samples.map(({ key, value, ageMs }) => `${key} ${String(value)} (${secondsText(ageMs)})`);
  return { about, verdict: "ok", says: values.join(", ") };
}

function graphFindings({ graph }: Looked): readonly Finding[] {
  if (graph === undefined) return [];
  return graph.seen
    ? [{ about: "graph", verdict: "ok", says: `seen through ${graph.provider}` }]
    : [
        {
          about: "graph",
          verdict: "warn",
          says: `${graph.provider} does not show it`,
          next: "probes of nodes and topics fail until it does",
        },
      ];
}

/** What the running stack should keep up; a stack that does not is a matter of the stack, and the vehicle is fit. */
function stackFindings(health: Looked["seen"]["health"]): readonly Finding[] {
  const probes = health?.probes ?? [];
  const unmet = probes.filter(({ met }) => !met);
  const all = { about: "probes", verdict: "ok", says: `all ${probes.length} are met` } as const;
  return [
    ...(probes.length > 0 && unmet.length === 0 ? [all] : []),
    ...unmet.map(({ probe, probeKind, workload, problem, seen, required, ageMs }): Finding => {
      const numbers = `seen ${String(seen)}, needed ${String(required)}`;
      const age = ageMs === null ? "" : `, ${(ageMs / 1000).toFixed(1)} s old`;
      return {
        about: `probe ${probe}`,
        verdict: "warn",
        says: `${probeKind} of ${workload}: ${problem ?? ""}; ${numbers}${age}`,
      };
    }),
    ...(health?.drift ?? []).map(({ drift, workload, probe, since }): Finding => {
      const where = [workload, probe].filter((part) => part !== null).join(", ");
      return { about: "drift", verdict: "warn", says: `${drift} ${where} since ${since}`.replace("  ", " ") };
    }),
  ];
}
