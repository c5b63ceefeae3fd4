import type { Command } from "../command.ts";
import { auditCommands } from "./audit.ts";
import { desiredCommands } from "./desired.ts";
import { fleetCommands } from "./fleet.ts";
import { rolloutCommands } from "./rollout.ts";
import { vehicleCommands } from "./vehicle.ts";

/** Every verb, in the order of the help. */
export const commands: readonly Command[] = [
  ...fleetCommands,
  ...vehicleCommands,
  ...desiredCommands,
  ...rolloutCommands,
  ...auditCommands,
];
