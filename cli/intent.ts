import { CommandFailed } from "./command.ts";
import type { Input } from "./command.ts";
import { defined } from "./show.ts";

/** Options that say who is meant. */
export const targetOptions = {
  selector: { about: "vehicles that it selects", type: "text", value: "SELECTOR" },
  vehicle: { about: "a vehicle by its id", type: "list", value: "VEHICLE" },
} as const;

/** Options that say what the moment of the change must be like; the vehicle's own floor stays above all of them. */
export const policyOptions = {
  window: {
    about: "local time of the vehicle in which it may change, such as 02:00-05:00",
    type: "text",
    value: "HH:MM-HH:MM",
  },
  "battery-min": { about: "battery percentage that is needed (35)", type: "number" },
  "allow-moving": {
    about: "do not require that the vehicle stands; needs --acknowledge-weakened-policy",
    type: "flag",
  },
  "allow-autonomous": { about: "do not require manual mode; needs --acknowledge-weakened-policy", type: "flag" },
  "acknowledge-weakened-policy": { about: "yes, the policy is weaker than the default", type: "flag" },
} as const;

export function targetOf(input: Input) {
  const [selector, vehicleIds] = [input.text("selector"), input.list("vehicle")];
  if ((selector === undefined) === (vehicleIds.length === 0)) {
    throw new CommandFailed("say who is meant: either --selector or --vehicle", { exitCode: 2 });
  }
  return selector === undefined
    ? { type: "vehicleList" as const, vehicleIds: [...vehicleIds] }
    : { type: "fleetSelector" as const, selector };
}

export function stackOf(input: Input) {
  return { name: input.positional("STACK"), version: input.positional("VERSION") };
}

export function policyOf(input: Input) {
  const window = input.text("window");
  const [, startLocal, endLocal] = /^(\d\d:\d\d)-(\d\d:\d\d)$/.exec(window ?? "") ?? [];
  if (window !== undefined && (startLocal === undefined || endLocal === undefined)) {
    throw new CommandFailed(`--window takes HH:MM-HH:MM, not ${window}`, { exitCode: 2 });
  }
  return {
    policy: {
      requireVehicleStationary: !input.flag("allow-moving"),
      denyIfAutonomousMode: !input.flag("allow-autonomous"),
      ...defined({ requireBatteryPctMin: input.number("battery-min") }),
      ...(startLocal === undefined || endLocal === undefined ? {} : { applyWindow: { startLocal, endLocal } }),
    },
    acknowledgeWeakenedPolicy: input.flag("acknowledge-weakened-policy"),
  };
}
