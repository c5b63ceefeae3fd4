import type { Assignment } from "@muto/spec";
import type { Instance, InstanceState } from "../ports.ts";
import { desiredOf, type Desired, type GraphAbility, type ReleaseVerdict } from "../reconcile/desired.ts";
import { NO_SIGHTINGS, NOTHING_SEEN, type KnownRelease, type Observed, type Seen } from "../reconcile/observed.ts";
import { planNext } from "../reconcile/plan.ts";
import {
  EMPTY_STATE,
  type AgentState,
  type Instant,
  type SetRef,
  type Trial,
  type Rollback,
} from "../reconcile/state.ts";
import { gateOf, type Step } from "../reconcile/step.ts";
import { exampleConfig } from "../safety/example-vehicle.ts";
import type { GateVerdict } from "../safety/gates.ts";
import { refuse, type DenyCode } from "../safety/refusal.ts";
import { modelAssignment, modelRelease, type ModelRelease } from "./release.ts";
import { modelOffer } from "./verifier.ts";

/*
 * One situation for planNext, said in a few words: which release is wanted, what is committed, what runs, what was seen.
 * Whatever is not said is as on a vehicle that stands parked, with everything prepared and every gate open.
 */

const ofControl = { workload: "control", liveness: false } as const;

export const releaseA = modelRelease({ version: "1.0.0" });
export const releaseB = modelRelease({ version: "2.0.0" });
export const releaseC = modelRelease({ version: "3.0.0" });
export const oneshotRelease = modelRelease({ version: "4.0.0", oneshots: ["calibrate"] });
export const liveRelease = modelRelease({
  version: "5.0.0",
  workloads: ["control"],
  health: { probes: [liveProbe()] },
});
export const orderedRelease = modelRelease({
  version: "6.0.0",
  workloads: ["planner", "map", "driver"],
  dependsOn: {
    planner: [
      { workload: "map", condition: "ready" },
      { workload: "driver", condition: "started" },
    ],
  },
});

/** What a ROS stack promises of its graph. */
export const graphRelease = modelRelease({
  version: "7.0.0",
  workloads: ["control"],
  health: {
    probes: [
      { ...ofControl, kind: "node", name: "planner-there", node: "/planner" },
      {
        ...ofControl,
        kind: "topic",
        name: "points-flow",
        topic: "/points",
        messageType: "sensor_msgs/msg/PointCloud2",
        windowSec: 3,
        publishersMin: 1,
        hzMin: 10,
      },
    ],
  },
});
export const serviceRelease = modelRelease({
  version: "8.0.0",
  workloads: ["control"],
  health: { probes: [{ ...ofControl, kind: "service", name: "nav-active", service: "/nav/is_active" }] },
});

const known = [releaseA, releaseB, releaseC, oneshotRelease, liveRelease, orderedRelease, graphRelease, serviceRelease];

function liveProbe() {
  return { kind: "tcp" as const, name: "control-alive", workload: "control", port: 9000, liveness: true };
}

export const NOW: Instant = {
  bootId: "boot-2",
  monotonicMs: 5_000_000,
  wallMs: Date.parse("2026-06-01T01:00:00.000Z"),
};

export const earlier = (sec: number): Instant => ({
  bootId: NOW.bootId,
  monotonicMs: NOW.monotonicMs - sec * 1000,
  wallMs: NOW.wallMs - sec * 1000,
});

export const lastBoot: Instant = { bootId: "boot-1", monotonicMs: 9_000_000, wallMs: NOW.wallMs - 60_000 };

export interface Situation {
  readonly wants?: ModelRelease;
  readonly assignment?: Partial<Assignment>;
  readonly verdict?: ReleaseVerdict;
  readonly active?: ModelRelease | null;
  readonly previous?: ModelRelease | null;
  readonly staged?: ModelRelease | null;
  readonly state?: Partial<AgentState>;
  readonly instances?: readonly Instance[];
  readonly seen?: Partial<Seen>;
  readonly graph?: GraphAbility;
  readonly open?: "all" | "none" | "stop";
  readonly observed?: Partial<Observed>;
  /** Changes to what is known of single releases. */
  readonly here?: ReadonlyMap<ModelRelease, Partial<KnownRelease> | null>;
}

export function planOf(situation: Situation): Step {
  const { desired, observed } = worldOf(situation);
  return planNext(desired, observed);
}

export function worldOf(situation: Situation): { readonly desired: Desired; readonly observed: Observed } {
  const { wants, active = null, previous = null, staged = null } = situation;
  const assignment = wants === undefined ? undefined : modelAssignment(wants, 9, situation.assignment);
  const state: AgentState = {
    ...EMPTY_STATE,
    accepted:
      assignment === undefined ? null : { offer: modelOffer(assignment), assignment, atMs: NOW.wallMs - 60_000 },
    active: active === null ? null : refOf(active),
    previous: previous === null ? null : refOf(previous),
    staged: staged === null ? null : refOf(staged),
    rollbackVerifiedAtMs: active === null ? null : NOW.wallMs - 3_600_000,
    ...situation.state,
  };
  const releases = releasesOf(state, situation);
  const probes = lookedBefore(state, situation.instances ?? []);
  const seen: Seen = { ...NOTHING_SEEN, probes, swept: sweptFor(state, releases, wants), ...situation.seen };
  const observed: Observed = {
    now: NOW,
    trustedMs: NOW.wallMs,
    nextChangeId: "01HZ000000000000000000000N",
    state,
    storage: "sound",
    releases,
    instances: situation.instances ?? [],
    seen,
    metered: false,
    acknowledgement: { required: false, timeoutMs: 10_000, changeId: null },
    disk: { freeMb: 100_000, reserveMb: 512 },
    gates: gatesFor(situation.open ?? "all"),
    ...situation.observed,
  };
  return {
    desired: desiredOf(state, exampleConfig(), situation.graph ?? "full", situation.verdict ?? { ok: true }),
    observed,
  };
}

/** `switch announce [switch]`, `hold blocked gate DENY_MOVING`, `restart start control`: a step as one would say it. */
export function inWords(step: Step): string {
  const gate = gateOf(step);
  const asked = gate === "none" ? "" : ` [${gate}]`;
  switch (step.kind) {
    case "fetchRelease":
      return `fetchRelease ${versionOf(step.digest)}`;
    case "download":
      return `download ${versionOf(step.digest)}`;
    case "stage":
    case "probe":
      return `${step.kind} ${step.set.version}`;
    case "commit":
      return "commit";
    case "switch":
    case "rollback":
    case "restart":
    case "clean":
      return `${step.kind} ${actInWords(step.act)}${asked}`;
    case "hold":
      return ["hold", step.status, step.phase, ...step.reasons].join(" ");
    case "settled":
      return "settled";
  }
}

type Act = Extract<Step, { act: unknown }>["act"];

function actInWords(act: Act): string {
  switch (act.do) {
    case "record":
    case "forget":
    case "fail": {
      if (!("record" in act)) return `forget ${act.instanceIds.join(" ")}`;
      const { record } = act;
      if (record.kind === "trial-phase" || record.kind === "rollback-phase") return `${record.kind} ${record.phase}`;
      if (record.kind === "rollback-begun")
        return `begin ${record.rollback.phase} ${record.rollback.cause.reasonCodes.join(" ")}`.trim();
      return record.kind === "rollback-ended" ? `ended ${record.outcome}` : record.kind;
    }
    case "stop":
    case "stop-extra":
      return `${act.do} ${act.workload} of ${versionOf(act.set)}`;
    case "start":
      return `start ${act.workload} of ${act.set.version}`;
    case "verify":
      return `verify ${act.role} ${act.set.version}`;
    case "note":
      return `note ${act.exit.workload}`;
    case "announce":
    case "withdraw":
    case "sweep":
      return act.do;
  }
}

export function refOf(release: ModelRelease): SetRef {
  return {
    manifestDigest: release.manifestDigest,
    stackName: release.manifest.name,
    version: release.manifest.version,
    desiredStateRevision: "dsr_00000000000000000000000008",
    sequence: 8,
    repository: "stacks/autonomy-core",
  };
}

export function trialOf(to: ModelRelease, from: ModelRelease | null, changes: Partial<Trial> = {}): Trial {
  return {
    changeId: "01HZ000000000000000000000T",
    set: refOf(to),
    from: from === null ? null : refOf(from),
    phase: "stopping",
    attempt: 1,
    begun: earlier(5),
    since: earlier(1),
    reboots: 0,
    poweredMs: 0,
    before: [],
    timings: {},
    ...changes,
  };
}

export function rollbackOf(from: ModelRelease, to: ModelRelease | null, changes: Partial<Rollback> = {}): Rollback {
  return {
    changeId: "01HZ000000000000000000000R",
    from: refOf(from),
    to: to === null ? null : refOf(to),
    phase: "pending",
    wasReady: true,
    cause: { reasonCodes: ["CRASH_LOOP_DETECTED"], evidence: [] },
    attempt: 1,
    desiredStateRevision: "dsr_00000000000000000000000008",
    sequence: 8,
    begun: earlier(5),
    since: earlier(1),
    before: [],
    ...changes,
  };
}

/** One running instance for each workload. */
export function all(release: ModelRelease): readonly Instance[] {
  return release.manifest.workloads.map(({ name }) => one(release, name));
}

export function one(release: ModelRelease, workload: string, state: Partial<Instance> = {}): Instance {
  return {
    instanceId: `${release.manifest.version}-${workload}`,
    set: release.manifestDigest,
    workload,
    configHash: "sha256:00",
    bootId: NOW.bootId,
    startedAtMs: NOW.wallMs - 30_000,
    isolation: "full",
    state: { kind: "running", pid: 7, supervised: true },
    ...state,
  };
}

export function endedBy(code: number | null, requested = false): { readonly state: InstanceState } {
  return { state: { kind: "ended", requested, code, signal: null, atMs: NOW.wallMs - 2_000 } };
}

/** So many counted ends of one workload, the last one so long ago. */
export function exits(release: ModelRelease, workload: string, count: number, lastSecAgo: number): AgentState["exits"] {
  return Array.from({ length: count }, (_, index) => ({
    instanceId: `${release.manifest.version}-${workload}-${index}`,
    set: release.manifestDigest,
    workload,
    at: earlier(lastSecAgo + count - 1 - index),
    code: 1,
    signal: null,
  }));
}

/** A set that runs whole, and is not only just being started, was looked at a moment ago. */
function lookedBefore(state: AgentState, instances: readonly Instance[]): Seen["probes"] {
  const { trial, active } = state;
  const digest = trial?.phase === "probation" ? trial.set.manifestDigest : active?.manifestDigest;
  const release = known.find(({ manifestDigest }) => manifestDigest === digest);
  const isWhole = release?.manifest.workloads.every(({ name }) =>
    instances.some(({ set, workload }) => set === digest && workload === name),
  );
  return release !== undefined && isWhole === true ? looked(release, true) : NO_SIGHTINGS;
}

/** Four looks at liveness probes, all of them in vain. */
const MISSED_MS = 30_000;

/** All probes of a set seen just now, met or not, on the instances that {@link all} makes. */
export function looked(release: ModelRelease, met: boolean, readyForSec = 5): Seen["probes"] {
  const byName = new Map(
    release.manifest.healthModel.probes.map(({ name, workload }) => [
      name,
      {
        instanceId: `${release.manifest.version}-${workload}`,
        last: { met, problem: met ? null : ("unreachable" as const), required: true, seen: met, ageMs: 0 },
        looks: 4,
        misses: met ? 0 : 4,
        missedSinceMs: met ? null : NOW.monotonicMs - MISSED_MS,
        unmetSinceMs: met ? null : NOW.monotonicMs - MISSED_MS,
      },
    ]),
  );
  const readySinceMs = met ? NOW.monotonicMs - readyForSec * 1000 : null;
  return { ...NO_SIGHTINGS, set: release.manifestDigest, lookedMs: NOW.monotonicMs, readySinceMs, looks: 4, byName };
}

export function closedBy(...codes: readonly DenyCode[]): GateVerdict {
  const refusals = codes.map((code) => refuse(code, { required: null, seen: null, ageMs: null }));
  return { open: false, refusals, confirmations: [], snapshot };
}

const unknown = { value: null, ageMs: null };
const snapshot = { moving: unknown, autonomousMode: unknown, batteryPct: unknown, insideWindow: unknown };
const opened: GateVerdict = { open: true, confirmations: [], snapshot };

function gatesFor(open: "all" | "none" | "stop"): Observed["gates"] {
  if (open === "all") return { switch: opened, stop: opened };
  if (open === "stop") return { switch: closedBy("DENY_LOW_BATTERY", "DENY_OUTSIDE_WINDOW"), stop: opened };
  return { switch: closedBy("DENY_MOVING", "DENY_OUTSIDE_WINDOW"), stop: closedBy("DENY_MOVING") };
}

function releasesOf(state: AgentState, { wants, here }: Situation): Observed["releases"] {
  const named = [state.active, state.previous, state.staged, state.trial?.set, state.trial?.from];
  const returning = [state.rollback?.from, state.rollback?.to];
  const digests = new Set([...named, ...returning].flatMap((set) => set?.manifestDigest ?? []));
  const releases = new Map<string, KnownRelease>();
  for (const release of known) {
    const { manifestDigest, manifest, blobs } = release;
    const isNamed = digests.has(manifestDigest);
    if (!isNamed && release !== wants) continue;
    const changes = here?.get(release);
    if (changes === null) continue;
    const [first] = manifest.workloads;
    const archive = first?.type === "native" ? first.archive : "";
    const archiveBytes = blobs.get(archive)?.byteLength ?? 0;
    const missing = isNamed ? [] : [{ digest: archive, sizeBytes: archiveBytes }];
    releases.set(manifestDigest, { manifest, archiveBytes, missing, prepared: isNamed, ...changes });
  }
  return releases;
}

function sweptFor(state: AgentState, releases: Observed["releases"], wants: ModelRelease | undefined): string {
  const named = [state.active, state.previous, state.staged].flatMap((set) => set?.manifestDigest ?? []);
  const isBarred = state.quarantine.some((entry) => entry.barred && entry.manifestDigest === wants?.manifestDigest);
  const isHere = wants !== undefined && releases.has(wants.manifestDigest);
  const wanted = wants === undefined || isBarred || !isHere ? [] : [wants.manifestDigest];
  return [...new Set([...named, ...wanted])].toSorted().join(" ");
}

function versionOf(digest: string): string {
  return known.find((release) => release.manifestDigest === digest)?.manifest.version ?? digest;
}
