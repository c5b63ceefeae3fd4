import type { MessageDefinition, SignalMappingInput, SignalPresets } from "@muto/spec";
import { autowareAdapi } from "./autoware-adapi.ts";
import { autowareVehicle } from "./autoware-vehicle.ts";
import { rosGeneric } from "./ros-generic.ts";

/** Where the signals of a family of stacks are found: data, so that a vehicle can replace any part of it with mappings of its own. */
export interface Preset {
  readonly mappings: readonly SignalMappingInput[];
  /** Streamed as long as the stack lives; stands for the life of latched topics' publishers where nothing better does. */
  readonly heartbeat?: { readonly topic: string; readonly type: string };
  /** Message types that the mappings need beyond those that every decoder knows. */
  readonly messages?: readonly MessageDefinition[];
}

export const PRESETS: Readonly<Record<SignalPresets[number], Preset>> = {
  "ros-generic": rosGeneric,
  "autoware-adapi": autowareAdapi,
  "autoware-vehicle": autowareVehicle,
};
