import type { Desired } from "./desired.ts";
import { wantedDigest } from "./desired.ts";
import type { Observed } from "./observed.ts";
import { isBarred } from "./state.ts";
import type { Step } from "./step.ts";

/** Records of ended instances of other sets, then sets and artifacts that nothing names. Never active or previous. */
export function planClean(desired: Desired, observed: Observed): readonly Step[] {
  const { state, instances, seen } = observed;
  const stale = instances.filter((instance) => {
    if (instance.state.kind !== "ended") return false;
    return instance.set !== state.active?.manifestDigest;
  });
  if (stale.length > 0) {
    const instanceIds = stale.map(({ instanceId }) => instanceId);
    return [{ kind: "clean", gate: "none", act: { do: "forget", instanceIds } }];
  }
  const { staged } = state;
  if (staged !== null && staged.manifestDigest !== wantedDigest(desired)) {
    return [{ kind: "clean", gate: "none", act: { do: "record", record: { kind: "unstaged" } } }];
  }
  // What a set needs cannot be known while its manifest cannot be read, and then nothing is thrown away.
  if (seen.unreadable.size > 0) return [];
  const keep = keptSets(observed, desired);
  const running = new Set(instances.map(({ set }) => set));
  const all = [...new Set([...keep, ...running])].toSorted();
  return seen.swept === all.join(" ") ? [] : [{ kind: "clean", gate: "none", act: { do: "sweep", keep: all } }];
}

/** Digests of every set that a step may still need; the disk gate and the cleaning count the same ones (H7). */
function keptSets({ state, releases }: Observed, desired: Desired): readonly string[] {
  const { active, previous, staged, trial, rollback } = state;
  const named = [active, previous, staged, trial?.set, trial?.from, rollback?.from, rollback?.to];
  const digests = named.filter((set) => set !== null && set !== undefined).map(({ manifestDigest }) => manifestDigest);
  const wanted = wantedDigest(desired);
  // A release whose manifest is not here yet names no artifacts, and must not keep those of others from being removed.
  if (wanted !== null && releases.has(wanted) && !isBarred(state, wanted)) digests.push(wanted);
  return [...new Set(digests)];
}
