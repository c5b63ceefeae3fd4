import type { AgentView } from "@muto/spec";
import type { FoundClaim } from "../link/claim.ts";
import type { Finding } from "./finding.ts";

/** By what the control plane is to know this vehicle. */
export interface Identity {
  readonly vehicleId: string;
  readonly hasKey: boolean;
  /** Of the agent that runs here; without one nobody has asked the control plane. */
  readonly enrolment?: AgentView["enrolment"];
  /** Undefined where the configuration names no file. */
  readonly claim: { readonly path: string; readonly found: FoundClaim } | undefined;
}

/** A vehicle whose key the control plane does not take is offered no release, however well it stands. */
export function keyFindings(identity: Identity): readonly Finding[] {
  return [keyFinding(identity), ...enrolmentFindings(identity), ...claimFindings(identity)];
}

function keyFinding({ hasKey }: Identity): Finding {
  if (hasKey) return { about: "key", verdict: "ok", says: "this vehicle has a key of its own" };
  return { about: "key", verdict: "warn", says: "no key yet", next: "the agent makes one when it first starts" };
}

function enrolmentFindings({ vehicleId, enrolment }: Identity): readonly Finding[] {
  switch (enrolment?.state) {
    case undefined:
      return [];
    case "accepted":
      return [{ about: "enrolment", verdict: "ok", says: "the control plane has accepted this vehicle's key" }];
    case "pending":
      return [
        {
          about: "enrolment",
          verdict: "fail",
          says: "the control plane has not accepted this vehicle's key",
          next: `an operator: muto vehicle accept ${vehicleId} --keyid ${enrolment.keyid}`,
        },
      ];
    case "unknown":
      return [
        {
          about: "enrolment",
          verdict: "warn",
          says: "the control plane has not said whether it has accepted this vehicle's key",
          next: "look again when it answers",
        },
      ];
  }
}

/** A claim is of no use once the key is accepted; where nobody knows whether it is, a bad file is worth a word and no more. */
function claimFindings({ vehicleId, hasKey, enrolment, claim }: Identity): readonly Finding[] {
  if (claim === undefined || claim.found.kind === "claim" || enrolment?.state === "accepted") return [];
  const isNeeded = !hasKey || enrolment?.state === "pending";
  return [
    {
      about: "claim",
      verdict: isNeeded ? "fail" : "warn",
      says: `${claim.path} holds no claim: it is ${claim.found.problem}`,
      next: `muto vehicle claim ${vehicleId} --out FILE, or an operator accepts the key`,
    },
  ];
}
