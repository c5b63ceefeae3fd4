import type { Rollout, RolloutPlan, RolloutSummary } from "@muto/spec";
import { CommandFailed } from "../command.ts";
import type { Command, Input } from "../command.ts";
import { openSession } from "../session.ts";
import { chosen, codesText, defined, pageOptions, pageQuery, pageText, show, stackText } from "../show.ts";
import { ago, details, table } from "../table.ts";
import { policyOf, policyOptions, stackOf, targetOf, targetOptions } from "../intent.ts";
import { watchRollout } from "../watch.ts";

const id = { name: "ROLLOUT", about: "id of the rollout" } as const;
const comment = { comment: { about: "why, for the audit log", type: "text" } } as const;

const create: Command = {
  words: ["rollout", "create"],
  summary: "Roll a release out: canaries first, then the wave",
  details: [
    "muto rollout create autonomy-core 1.2.0 --selector 'model=vehicle-v3 AND ring=1' --watch",
    "muto rollout create autonomy-core 1.2.0 --selector region=eu --dry-run",
  ].join("\n"),
  positionals: [
    { name: "STACK", about: "name of the stack" },
    { name: "VERSION", about: "version of the release" },
  ],
  options: {
    ...targetOptions,
    ...policyOptions,
    "dry-run": { about: "plan and change nothing", type: "flag" },
    watch: { about: "stay and show the progress until it ends", type: "flag" },
    retry: { about: "lift the quarantine of this release on its members", type: "flag" },
    supersedes: { about: "unfinished rollout that this one ends", type: "text", value: "ROLLOUT" },
    "canaries-per-group": { about: "canaries per region and model (1)", type: "number" },
    "soak-sec": { about: "observation after the canary gate passed (600)", type: "number" },
    "watch-sec": { about: "how long the gates judge after the wave (86400)", type: "number" },
    "wave-percent": { about: "share of the remaining vehicles (100)", type: "number" },
    "max-in-flight": { about: "vehicles of the wave on their way at once (1000)", type: "number" },
    "stage-deadline-sec": { about: "after that the stage is inconclusive (604800)", type: "number" },
    "blocked-max-age-sec": { about: "a member blocked longer makes it inconclusive (259200)", type: "number" },
    ...comment,
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const body = {
      target: targetOf(input),
      stack: stackOf(input),
      ...policyOf(input),
      retry: input.flag("retry"),
      settings: settingsOf(input),
      ...defined({ supersedes: input.text("supersedes"), comment: input.text("comment") }),
    };
    const answer = await session.call("createRollout", { query: { dryRun: input.flag("dry-run") }, body });
    if (answer.status === 200) {
      show(input, io, answer.body.data, planText);
      return 0;
    }
    const rollout = answer.body.data;
    if (input.flag("watch")) return await watchRollout(session, input, io, rollout.id);
    show(input, io, rollout, (made) => `${made.id}\n${rolloutText(made, io.clock.wallMs())}`);
    return 0;
  },
};

const list: Command = {
  words: ["rollout", "list"],
  summary: "List rollouts, newest first",
  options: {
    status: {
      about: "only with this status",
      type: "text",
      choices: ["active", "paused", "rolling_back", "rolled_back", "completed"],
    },
    ...pageOptions,
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const status = chosen(input, "status", ["active", "paused", "rolling_back", "rolled_back", "completed"]);
    const { body } = await session.call("listRollouts", { query: { ...defined({ status }), ...pageQuery(input) } });
    show(input, io, body, ({ data, metadata }) => `${rolloutTable(data, io.clock.wallMs())}${pageText(metadata)}`);
    return 0;
  },
};

const showOne: Command = {
  words: ["rollout", "show"],
  summary: "Show a rollout: stage, counts, verdict with its numbers, and what happens next",
  positionals: [id],
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("getRollout", { params: { id: input.positional("ROLLOUT") } });
    show(input, io, body.data, (rollout) => rolloutText(rollout, io.clock.wallMs()));
    return 0;
  },
};

const vehicles: Command = {
  words: ["rollout", "vehicles"],
  summary: "List the members of a rollout, each in exactly one class",
  positionals: [id],
  options: pageOptions,
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("listRolloutVehicles", {
      params: { id: input.positional("ROLLOUT") },
      query: pageQuery(input),
    });
    show(input, io, body, ({ data, metadata }) => {
      const rows = data.map((member) => [
        member.vehicleId,
        `${member.region}/${member.model}`,
        member.stage ?? "-",
        member.class,
        codesText(member.reasonCodes),
        stackText(member.returnsTo),
      ]);
      return `${table(["vehicle", "group", "stage", "class", "reasons", "returns to"], rows)}${pageText(metadata)}`;
    });
    return 0;
  },
};

const watch: Command = {
  words: ["rollout", "watch"],
  summary: "Show the progress live until the rollout ends or waits for a person",
  details: "Exit code 0 when it completed, 1 when it was rolled back, aborted, or waits for a person.",
  positionals: [id],
  run: async (input, io) => {
    const session = await openSession(input, io);
    return await watchRollout(session, input, io, input.positional("ROLLOUT"));
  },
};

const verbs = (
  [
    ["pause", "pauseRollout", "Stop a rollout where it is; vehicles that have begun finish"],
    ["abort", "abortRollout", "End a rollout: nobody else is assigned, who has the release keeps it"],
  ] as const
).map(([verb, operationId, summary]): Command => ({
  words: ["rollout", verb],
  summary,
  positionals: [id],
  options: comment,
  run: async (input, io) => {
    const session = await openSession(input, io);
    const request = { params: { id: input.positional("ROLLOUT") }, body: defined({ comment: input.text("comment") }) };
    const { body } = await session.call(operationId, request);
    show(input, io, body.data, (rollout) => rolloutText(rollout, io.clock.wallMs()));
    return 0;
  },
}));

const resume: Command = {
  words: ["rollout", "resume"],
  summary: "Go on with a paused rollout; the gates are judged again first",
  positionals: [id],
  options: {
    how: {
      about: "wait on, take other canaries, or count an inconclusive stage as passed",
      type: "text",
      choices: ["wait", "replaceCanaries", "acceptInconclusive"],
    },
    ...comment,
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const how = chosen(input, "how", ["wait", "replaceCanaries", "acceptInconclusive"]);
    const body = defined({ how, comment: input.text("comment") });
    const answer = await session.call("resumeRollout", { params: { id: input.positional("ROLLOUT") }, body });
    show(input, io, answer.body.data, (rollout) => rolloutText(rollout, io.clock.wallMs()));
    return 0;
  },
};

const rollback: Command = {
  words: ["rollout", "rollback"],
  summary: "Return every member that was given the release to what it had committed before",
  positionals: [id],
  options: {
    stage: { about: "only the members of this stage", type: "text", choices: ["canary", "wave"] },
    ...comment,
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const body = defined({ stage: chosen(input, "stage", ["canary", "wave"]), comment: input.text("comment") });
    const answer = await session.call("rollbackRollout", { params: { id: input.positional("ROLLOUT") }, body });
    show(input, io, answer.body.data, (rollout) => rolloutText(rollout, io.clock.wallMs()));
    return 0;
  },
};

export const rolloutCommands: readonly Command[] = [create, list, showOne, vehicles, watch, ...verbs, resume, rollback];

function settingsOf(input: Input) {
  return defined({
    canaryPerGroup: input.number("canaries-per-group"),
    soakSec: input.number("soak-sec"),
    watchSec: input.number("watch-sec"),
    wavePercent: input.number("wave-percent"),
    maxInFlight: input.number("max-in-flight"),
    stageDeadlineSec: input.number("stage-deadline-sec"),
    blockedMaxAgeSec: input.number("blocked-max-age-sec"),
  });
}

function rolloutTable(rollouts: readonly RolloutSummary[], nowMs: number): string {
  const rows = rollouts.map((rollout) => [
    rollout.id,
    stackText(rollout.stack),
    rollout.status,
    rollout.stage,
    rollout.outcome ?? "-",
    `${rollout.counts.converged}/${rollout.counts.members}`,
    String(rollout.counts.failed + rollout.counts.rolledBack),
    ago(rollout.createdAt, nowMs),
  ]);
  return table(["rollout", "release", "status", "stage", "outcome", "converged", "failed", "created"], rows);
}

export function rolloutText(rollout: Rollout, nowMs: number): string {
  const { verdict, next, pause } = rollout;
  const head = details([
    ["rollout", `${rollout.id}, ${stackText(rollout.stack)}`],
    [
      "status",
      `${rollout.status}, stage ${rollout.stage}${rollout.outcome === null ? "" : `, outcome ${rollout.outcome}`}`,
    ],
    ["created", `${ago(rollout.createdAt, nowMs)} by ${rollout.createdBy.id}`],
    ["verdict", verdict === null ? "-" : `${verdict.verdict} by rule ${verdict.rule}, ${ago(verdict.at, nowMs)}`],
    [
      "next",
      next.step === "nothing"
        ? "nothing by itself"
        : `${next.step}${next.at === null ? "" : `, at the latest ${next.at}`}`,
    ],
    ...(pause === null ? [] : [["paused", `${pause.cause}, ${ago(pause.at, nowMs)} by ${pause.by.id}`] as const]),
    ...(rollout.mayStillStart.vehicles === 0
      ? []
      : [
          [
            "may start",
            `${rollout.mayStillStart.vehicles} unreachable vehicles until ${rollout.mayStillStart.until}`,
          ] as const,
        ]),
  ]);
  const columns = [
    "converged",
    "failed",
    "rolledBack",
    "blocked",
    "applying",
    "pending",
    "offline",
    "waiting",
  ] as const;
  const stages = rollout.stages.map(({ stage, counts }) => [
    stage,
    String(counts.members),
    ...columns.map((column) => String(counts[column])),
  ]);
  const deciding = (verdict?.vehicles ?? []).map(
    ({ vehicleId, class: judged, reasonCodes }) => `  ${vehicleId} ${judged} ${codesText(reasonCodes)}\n`,
  );
  return `${head}\n${table(["stage", "members", ...columns], stages)}${deciding.length === 0 ? "" : `\ndecided by\n${deciding.join("")}`}`;
}

function planText(plan: RolloutPlan): string {
  const groups = plan.groups.map((group) => [
    `${group.region}/${group.model}`,
    String(group.members),
    group.canaries.join(" "),
  ]);
  const refusing = plan.refusing.vehicles.map((one) => [
    one.vehicleId,
    codesText(one.reasonCodes),
    one.asOf ?? "never heard",
  ]);
  const parts = [
    `${stackText(plan.stack)} would go to ${plan.members} vehicles; nothing was changed\n`,
    table(["group", "members", "canaries"], groups),
    `incompatible: ${plan.incompatible.count}   already converged: ${plan.alreadyConverged.count}   nothing to return to: ${plan.withoutReturn.count}\n`,
    refusing.length === 0
      ? "no gate would refuse now\n"
      : `gates that would refuse now\n${table(["vehicle", "reasons", "as of"], refusing)}`,
    ...plan.conflicts.map(({ vehicleId, rolloutId }) => `conflict: ${vehicleId} is a member of ${rolloutId}\n`),
  ];
  if (plan.members === 0) throw new CommandFailed("the target resolves to nobody");
  return parts.join("\n");
}
