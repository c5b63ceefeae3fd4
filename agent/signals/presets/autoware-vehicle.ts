import type { Preset } from "./presets.ts";

const VELOCITY = {
  topic: "/vehicle/status/velocity_status",
  type: "autoware_vehicle_msgs/msg/VelocityReport",
} as const;
const GEAR_REPORT = "autoware_vehicle_msgs/msg/GearReport";
const PARK = 22;
/** 0 is no report; 1 to 24 are neutral, the gears and park. */
const GEARS = Array.from({ length: 24 }, (_, index) => index + 1);

/**
 * Autoware by its vehicle interface, the side towards the vehicle. All of it is streamed and falls silent on a fault. Control
 * mode 0 (no command) and 6 (not ready) do not say who drives and are left out, which makes them unknown.
 */
export const autowareVehicle: Preset = {
  mappings: [
    { signal: "speed", ...VELOCITY, path: ["longitudinal_velocity", "lateral_velocity"] },
    { signal: "yawRate", ...VELOCITY, path: ["heading_rate"] },
    {
      signal: "mode",
      topic: "/vehicle/status/control_mode",
      type: "autoware_vehicle_msgs/msg/ControlModeReport",
      path: ["mode"],
      // 1 AUTONOMOUS, 2 steering only, 3 velocity only, 4 MANUAL, 5 DISENGAGED. Manual says who drives, not that it stands.
      values: [
        { when: [1, 2, 3], means: "autonomous" },
        { when: [4, 5], means: "manual" },
      ],
    },
    {
      signal: "parked",
      topic: "/vehicle/status/gear_status",
      type: GEAR_REPORT,
      path: ["report"],
      values: [
        { when: [PARK], means: true },
        { when: GEARS.filter((gear) => gear !== PARK), means: false },
      ],
    },
  ],
  messages: [{ type: GEAR_REPORT, definition: "builtin_interfaces/Time stamp\nuint8 report" }],
};
