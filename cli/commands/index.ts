import type { Command } from "../command.ts";
import { agentCommands } from "./agent.ts";
import { auditCommands } from "./audit.ts";
import { dataCommands } from "./data.ts";
import { desiredCommands } from "./desired.ts";
import { fleetCommands } from "./fleet.ts";
import { importCommands } from "./import.ts";
import { releaseCommands } from "./release.ts";
import { rolloutCommands } from "./rollout.ts";
import { serveCommands } from "./serve.ts";
import { simulateCommands } from "./simulate.ts";
import { trustCommands } from "./trust.ts";
import { vehicleCommands } from "./vehicle.ts";

/** Every verb, in the order of the help. */
export const commands: readonly Command[] = [
  ...serveCommands,
  ...agentCommands,
  ...simulateCommands,
  ...fleetCommands,
  ...vehicleCommands,
  ...releaseCommands,
  ...importCommands,
  ...desiredCommands,
  ...rolloutCommands,
  ...auditCommands,
  ...trustCommands,
  ...dataCommands,
];
