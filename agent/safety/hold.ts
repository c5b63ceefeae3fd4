import type { GateContext } from "./context.ts";
import { isAbsent, readSource } from "./readings.ts";
import { refuse, refuseUnseen, type Refusal } from "./refusal.ts";

/**
 * DENY_LOCAL_HOLD. A technician, or the vehicle's own software, says not now, with who and why. For stopping a stack that
 * fails, only a hold that somebody really holds counts: a silent hold signal may come from the very stack that is to be
 * replaced, and must not keep it running for ever.
 */
export function refuseHold(context: GateContext): readonly Refusal[] {
  const source = context.config.signals.hold;
  const local = [...refuseTechnician(context), ...refuseLock(context)];
  if (isAbsent(source)) return local;
  const { seen, missed } = readSource("hold", source, context.samples, context.clock);
  const held = seen.filter(({ value }) => value.held);
  return [
    ...local,
    ...(context.purpose === "switch" ? refuseUnseen("DENY_LOCAL_HOLD", "hold", false, missed) : []),
    ...held.map(({ provider, value, ageMs }) =>
      refuse("DENY_LOCAL_HOLD", {
        signal: "hold",
        problem: "held",
        source: value.who ?? provider,
        required: false,
        seen: value.why ?? true,
        ageMs,
      }),
    ),
  ];
}

/** The vehicle has to acknowledge a change before it begins, and did not within the configured time. */
export function refuseUnacknowledged(waitedMs: number): Refusal {
  return refuse("DENY_LOCAL_HOLD", {
    signal: "change-acknowledged",
    problem: "not-acknowledged",
    required: true,
    seen: null,
    ageMs: Math.max(0, Math.ceil(waitedMs)),
  });
}

/** An untrusted clock ends no lock: it may be years ahead (H20). */
function refuseLock({ samples: { lock = { kind: "none" } }, clock }: GateContext): readonly Refusal[] {
  const fixed = { signal: "hold", required: false, ageMs: null } as const;
  switch (lock.kind) {
    case "none":
      return [];
    case "held": {
      const isOver = lock.untilWallMs !== null && clock.trusted && clock.wallMs >= lock.untilWallMs;
      if (isOver) return [];
      return [refuse("DENY_LOCAL_HOLD", { ...fixed, problem: "held", source: lock.who, seen: lock.why })];
    }
    case "unreadable":
      return [refuse("DENY_LOCAL_HOLD", { ...fixed, problem: "malformed", source: LOCK_SOURCE, seen: null })];
  }
}

/** Who holds, when a lock file does not say. */
export const LOCK_SOURCE = "lock-file";

function refuseTechnician(context: GateContext): readonly Refusal[] {
  const { hold } = context.samples.technician;
  const fixed = { signal: "hold", required: false, ageMs: null } as const;
  switch (hold.kind) {
    case "none":
      return [];
    case "held":
      return [refuse("DENY_LOCAL_HOLD", { ...fixed, problem: "held", source: hold.who, seen: hold.why })];
    case "unreadable":
      return [refuse("DENY_LOCAL_HOLD", { ...fixed, problem: "malformed", seen: null })];
  }
}
