import type { FailedChange, VehicleEnrolment, VehicleExplanation } from "@muto/spec";
import { driftText, evidenceText } from "./probe-text.ts";
import { codesText, stackText } from "./show.ts";
import { ago } from "./table.ts";

/** Why a vehicle is where it is, for people: what stands in its way now, what drifts, and which change did not hold last. */
export function explanationText(explanation: VehicleExplanation, nowMs: number): string {
  const { vehicleId, status, since, lastSeenAt, reasons, drift, enrolment, lastFailure = null } = explanation;
  const lines = [`${vehicleId} is ${status} since ${ago(since, nowMs)} (last seen ${ago(lastSeenAt, nowMs)})`];
  const key = enrolment === undefined ? undefined : keyText(vehicleId, enrolment);
  if (key !== undefined) lines.push(key);
  if (reasons.length === 0 && drift.length === 0) {
    if (status === "converged") lines.push("nothing stands in its way");
    else if (key === undefined) lines.push(silenceText(explanation));
  }
  for (const reason of reasons) {
    lines.push(
      "",
      `${reason.code}: ${reason.summary}`,
      `  unblocked when: ${reason.unblockedWhen}`,
      `  what you can do: ${reason.operatorAction}`,
    );
    for (const evidence of reason.evidence) lines.push(`  evidence: ${evidenceText(evidence)}`);
  }
  for (const one of drift) {
    lines.push("", driftText(one.drift, nowMs), `  ${one.summary}`, `  what you can do: ${one.operatorAction}`);
  }
  if (drift.length > 0)
    lines.push("", "Drift is reported, and nothing is repaired for it while the vehicle may be moving.");
  // What the latest report says stands above already, with its evidence.
  const stands = reasons.length > 0 && lastFailure?.report.reportId === explanation.lastReport?.reportId;
  if (lastFailure !== null && !stands) lines.push("", ...failureLines(lastFailure, nowMs));
  return `${lines.join("\n")}\n`;
}

function failureLines({ stack, report }: FailedChange, nowMs: number): readonly string[] {
  const what = stack === null ? (report.desiredStateRevision ?? "an unknown release") : stackText(stack);
  const how = report.status === "rolled_back" ? "was rolled back" : "failed";
  return [
    `last failed change: ${what} ${how} ${ago(report.at, nowMs)}: ${codesText(report.reasonCodes)}`,
    ...report.evidence.map((evidence) => `  evidence: ${evidenceText(evidence)}`),
  ];
}

/** What the vehicle's key waits for; undefined when it is accepted and alone. */
function keyText(id: string, { state, pendingKeyid }: VehicleEnrolment): string | undefined {
  if (pendingKeyid !== null) {
    const whose =
      state === "accepted" ? `another key ${pendingKeyid} asks for its id` : `its key ${pendingKeyid} waits`;
    return `${whose}: muto vehicle accept ${id} --keyid ${pendingKeyid}, or bring a new claim: muto vehicle claim ${id}`;
  }
  switch (state) {
    case "none":
      return `it has no key yet: muto vehicle claim ${id}`;
    case "claimed":
      return "its claim waits for the vehicle to present it";
    case "revoked":
      return `its key is revoked; a new claim lets it enrol again: muto vehicle claim ${id}`;
    case "pending":
    case "accepted":
      return undefined;
  }
}

function silenceText({ status, assignment, lastReport }: VehicleExplanation): string {
  if (assignment === null) return "nothing is assigned to it";
  return lastReport === null ? "it has not reported yet" : `it has told no reason for being ${status}`;
}
