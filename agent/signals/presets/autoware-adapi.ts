import type { Preset } from "./presets.ts";

const KINEMATICS = { topic: "/api/vehicle/kinematics", type: "autoware_adapi_v1_msgs/msg/VehicleKinematics" } as const;
const OPERATION = {
  topic: "/api/operation_mode/state",
  type: "autoware_adapi_v1_msgs/msg/OperationModeState",
  latched: true,
} as const;

/** Autoware by its public interface, the AD API v1. Modes are published when they change. */
export const autowareAdapi: Preset = {
  mappings: [
    { signal: "speed", ...KINEMATICS, path: ["twist.twist.twist.linear.x", "twist.twist.twist.linear.y"] },
    { signal: "yawRate", ...KINEMATICS, path: ["twist.twist.twist.angular.z"] },
    {
      signal: "mode",
      ...OPERATION,
      path: ["mode", "is_autoware_control_enabled"],
      // 1 STOP, 2 AUTONOMOUS, 3 LOCAL, 4 REMOTE. Local and remote drive by wire as long as Autoware has the control.
      values: [
        { when: ["1,true"], means: "stopped" },
        { when: ["1,false", "3,false", "4,false"], means: "manual" },
        { when: ["2,true", "2,false", "3,true", "4,true"], means: "autonomous" },
      ],
    },
    {
      signal: "mode",
      ...OPERATION,
      path: ["is_in_transition"],
      values: [
        { when: [true], means: "transition" },
        { when: [false], means: "clear" },
      ],
    },
    {
      signal: "mode",
      topic: "/api/fail_safe/mrm_state",
      type: "autoware_adapi_v1_msgs/msg/MrmState",
      path: ["state"],
      // 1 NORMAL, 2 OPERATING, 3 SUCCEEDED, 4 FAILED: after a manoeuvre somebody has to look at the vehicle first.
      values: [
        { when: [1], means: "clear" },
        { when: [2, 3, 4], means: "minimal-risk-manoeuvre" },
      ],
      latched: true,
    },
    {
      signal: "battery",
      topic: "/api/vehicle/metrics",
      type: "autoware_adapi_v1_msgs/msg/VehicleMetrics",
      path: ["energy"],
      scale: 100,
      rawMin: 0,
      rawMax: 1,
    },
  ],
  heartbeat: { topic: "/api/system/heartbeat", type: "autoware_adapi_v1_msgs/msg/Heartbeat" },
};
