import type { Drift, DriftKind } from "@muto/spec";

interface Words {
  /** What it means, for the operator who asks why; the workload and the probe are put in front of it. */
  readonly summary: string;
  readonly operatorAction: string;
}

const LOOK_AT_WORKLOAD =
  "Read the workload's state and restarts in the vehicle's health, and its output on the vehicle. It is not repaired while the vehicle may be moving; a liveness probe has a hanging workload restarted at a standstill.";

/** Every kind of drift in plain words, and what a person can do about it; nothing here is decided for the vehicle. */
const WORDS: Readonly<Record<DriftKind, Words>> = {
  "node-left": {
    summary: "A node that the release expects is no longer in the ROS graph.",
    operatorAction: LOOK_AT_WORKLOAD,
  },
  "topic-slow": {
    summary: "Messages come less often than the release expects (required and seen are messages per second).",
    operatorAction:
      "Compare with other vehicles that run the release: one alone points to a sensor or to load on its computer, all of them to the release.",
  },
  "topic-stale": {
    summary: "The newest message is older than the release allows (required and seen are milliseconds).",
    operatorAction: "Find out whether the publisher still runs and whether its sensor gives data.",
  },
  "publishers-lost": {
    summary: "Fewer publishers than the release expects (required and seen are counts).",
    operatorAction: LOOK_AT_WORKLOAD,
  },
  "lifecycle-changed": {
    summary:
      "A managed node has left the state that the release expects (1 unconfigured, 2 inactive, 3 active, 4 finalized).",
    operatorAction: "Find out who changed the state: a lifecycle manager of the stack, or a person beside the vehicle.",
  },
  "service-failing": {
    summary: "A service that says whether the stack is well does not answer with success.",
    operatorAction: "Read the output of the workload that offers the service; it knows the cause.",
  },
  diagnostics: {
    summary: "Diagnostics are worse, or older, than the release allows (0 OK, 1 WARN, 2 ERROR, 3 STALE).",
    operatorAction: "Read the vehicle's diagnostics; the hardware that they name is the usual cause.",
  },
  "endpoint-failing": {
    summary: "A port of the workload does not answer as the release expects.",
    operatorAction: LOOK_AT_WORKLOAD,
  },
  "log-unexpected": {
    summary: "The workload's output holds a text that it should never hold, or lacks one that it should.",
    operatorAction: "Read the workload's output on the vehicle.",
  },
  "workload-down": {
    summary: "The workload does not run. It is started again with a growing delay.",
    operatorAction: "Read how it ended in the vehicle's health; a crash loop rolls the release back by itself.",
  },
  unseen: {
    summary: "The expectation cannot be checked any more: the provider of the ROS graph does not answer.",
    operatorAction:
      "Look at the provider that the vehicle's configuration names (rosbridge or dds) and at its connection.",
  },
  "files-changed": {
    summary:
      "Files of the set are not what was signed. What runs goes on; the set is mended before anything is started from it.",
    operatorAction:
      "Find out who wrote to the vehicle's disk. If it comes back after it was mended, the disk is failing.",
  },
  "foreign-instance": {
    summary: "Something of ours runs beside the set and does not belong to it. It is stopped at a standstill.",
    operatorAction:
      "None, if it is gone after the vehicle has stood still. If it stays, its process cannot be stopped.",
  },
};

/** At most 500 characters each, whatever the vehicle says. */
export function explainDrift(drift: Drift): {
  readonly drift: Drift;
  readonly summary: string;
  readonly operatorAction: string;
} {
  const { summary, operatorAction } = WORDS[drift.drift];
  const where = [drift.workload, drift.probe].filter((part) => part !== null).join(", ");
  return { drift, summary: where === "" ? summary : `${where}: ${summary}`, operatorAction };
}
