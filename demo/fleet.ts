import { parked } from "./signals.ts";
import type { SignalLine } from "@muto/spec";

/** Why a vehicle refuses at first, and with which code. */
export interface Obstacle {
  readonly what: string;
  readonly code: string;
  readonly signals: Omit<SignalLine, "kind"> | undefined;
  /** Seconds after the refusal was seen until the obstacle is gone are none: the story removes it at once. */
  readonly heldByTechnician?: boolean;
  readonly diskReserveMb?: number;
}

export interface FleetEntry {
  readonly id: string;
  readonly model: string;
  readonly region: string;
  readonly obstacle: Obstacle;
}

/** Six vehicles in three groups of region and model; each refuses for a reason of its own before it lets the change in. */
export const fleet: readonly FleetEntry[] = [
  {
    id: "eu-v3-1",
    model: "vehicle-v3",
    region: "eu",
    obstacle: { what: "drives at 8 m/s", code: "DENY_MOVING", signals: { ...parked, speedMps: 8, parked: false } },
  },
  {
    id: "eu-v3-2",
    model: "vehicle-v3",
    region: "eu",
    obstacle: {
      what: "is in autonomous mode",
      code: "DENY_AUTONOMOUS_MODE",
      signals: { ...parked, mode: "autonomous" },
    },
  },
  {
    id: "us-v3-1",
    model: "vehicle-v3",
    region: "us",
    obstacle: { what: "has 12 % of battery", code: "DENY_LOW_BATTERY", signals: { ...parked, batteryPct: 12 } },
  },
  {
    id: "us-v3-2",
    model: "vehicle-v3",
    region: "us",
    obstacle: { what: "sends no signal at all", code: "DENY_MOVING", signals: undefined },
  },
  {
    id: "eu-v4-1",
    model: "vehicle-v4",
    region: "eu",
    obstacle: { what: "is held by a technician", code: "DENY_LOCAL_HOLD", signals: parked, heldByTechnician: true },
  },
  {
    id: "eu-v4-2",
    model: "vehicle-v4",
    region: "eu",
    obstacle: { what: "has too little disk", code: "INSUFFICIENT_DISK", signals: parked, diskReserveMb: 100_000_000 },
  },
];

/** The seventh vehicle, which will lose its network. */
export const ferry = { id: "us-v4-1", model: "vehicle-v4", region: "us", timezone: "Europe/Berlin" } as const;
