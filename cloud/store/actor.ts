import type { Actor, AuditSubject } from "@muto/spec";
import type { ActorText } from "./tables.ts";

/** The control plane acting by itself: gates, sweeps, alarms. */
export const SYSTEM: Actor = { type: "system", id: "control-plane" };

export function actorText(actor: Actor): ActorText {
  return `${actor.type}:${actor.id}`;
}

/** Reads back what {@link actorText} wrote; anything else in the column is a bug. */
export function readActor(text: ActorText): Actor {
  const { type, id } = split(text);
  if (type !== "operator" && type !== "vehicle" && type !== "system") throw new Error("not an actor");
  return { type, id };
}

export function subjectText(subject: AuditSubject): string {
  return `${subject.type}:${subject.id}`;
}

export function readSubject(text: string): AuditSubject {
  const { type, id } = split(text);
  const known = SUBJECT_TYPES.find((each) => each === type);
  if (known === undefined) throw new Error("not an audit subject");
  return { type: known, id };
}

const SUBJECT_TYPES = ["vehicle", "release", "desired-state", "rollout", "trust-root", "database"] as const;

function split(text: string): { readonly type: string; readonly id: string } {
  const colon = text.indexOf(":");
  return { type: text.slice(0, colon), id: text.slice(colon + 1) };
}
