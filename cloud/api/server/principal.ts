import type { Actor, Principal as PrincipalKind } from "@muto/spec";
import type { PollState } from "../../store/latest.ts";

/** Who is asking. A vehicle is known by the key that is registered for it now. */
export type Principal =
  | { readonly kind: "operator" | "viewer"; readonly id: string }
  | { readonly kind: "vehicle"; readonly id: string; readonly keyid: string; readonly poll: PollState }
  | { readonly kind: "anonymous"; readonly id: string };

/** Under which name the principal stands in the audit log. */
export function actorOf(principal: Principal): Actor {
  switch (principal.kind) {
    case "operator":
    case "viewer":
      return { type: "operator", id: principal.id };
    case "vehicle":
      return { type: "vehicle", id: principal.id };
    case "anonymous":
      throw new Error("nobody known did this");
  }
}

/** Whether the operation names this kind of principal; nothing is implied by another. */
export function mayCall(principal: Principal, allowed: readonly PrincipalKind[]): boolean {
  return allowed.includes("anonymous") || allowed.some((kind) => kind === principal.kind);
}

/** A vehicle speaks only for itself; an operator speaks for simulators and for vehicles without an agent. */
export function speaksFor(principal: Principal, vehicleId: string): boolean {
  return principal.kind === "operator" || (principal.kind === "vehicle" && principal.id === vehicleId);
}
