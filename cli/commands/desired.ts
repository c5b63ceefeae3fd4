import type { DesiredState } from "@muto/spec";
import type { Command } from "../command.ts";
import { policyOf, policyOptions, stackOf, targetOf, targetOptions } from "../intent.ts";
import { openSession } from "../session.ts";
import { chosen, defined, show, stackText } from "../show.ts";
import { details } from "../table.ts";

const create: Command = {
  words: ["desired", "create"],
  summary: "Declare a desired state for everybody it reaches at once, without canaries",
  details: "For a staged rollout: muto rollout create",
  positionals: [
    { name: "STACK", about: "name of the stack" },
    { name: "VERSION", about: "version of the release" },
  ],
  options: {
    ...targetOptions,
    ...policyOptions,
    start: {
      about: "withheld lets vehicles stage and forbids the switch",
      type: "text",
      choices: ["allowed", "withheld"],
    },
    retry: { about: "lift the quarantine of this release", type: "flag" },
    comment: { about: "why, for the audit log", type: "text" },
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const body = {
      target: targetOf(input),
      stack: stackOf(input),
      ...policyOf(input),
      retry: input.flag("retry"),
      ...defined({ start: chosen(input, "start", ["allowed", "withheld"]), comment: input.text("comment") }),
    };
    const answer = await session.call("createDesiredState", { body });
    show(input, io, answer.body.data, (made) => {
      const { vehicles, withoutCanary } = made.reach;
      return `${made.desiredStateRevision}\nreaches ${vehicles} vehicles, ${withoutCanary} of them without a canary before them\n`;
    });
    return 0;
  },
};

const showOne: Command = {
  words: ["desired", "show"],
  summary: "Show one desired state",
  positionals: [{ name: "REVISION", about: "dsr_…" }],
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("getDesiredState", { params: { revision: input.positional("REVISION") } });
    show(input, io, body.data, desiredText);
    return 0;
  },
};

export const desiredCommands: readonly Command[] = [create, showOne];

function desiredText(desired: DesiredState): string {
  const { policy, target } = desired;
  const window = policy.applyWindow;
  return details([
    ["revision", desired.desiredStateRevision],
    ["stack", stackText(desired.stack)],
    ["target", target.type === "fleetSelector" ? target.selector : target.vehicleIds.join(" ")],
    ["stationary", policy.requireVehicleStationary ? "required" : "not required"],
    ["autonomous mode", policy.denyIfAutonomousMode ? "denied" : "not denied"],
    ["battery", `at least ${policy.requireBatteryPctMin} %`],
    [
      "window",
      window === undefined ? "any time" : `${window.startLocal} to ${window.endLocal}, local time of the vehicle`,
    ],
    ["start", desired.start],
    ["reach", `${desired.reach.vehicles} vehicles`],
    ["created", `${desired.createdAt} by ${desired.createdBy.id}`],
  ]);
}
