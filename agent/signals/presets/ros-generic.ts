import type { Preset } from "./presets.ts";

const ODOMETRY = { topic: "/odom", type: "nav_msgs/msg/Odometry" } as const;
const BATTERY = { topic: "/battery_state", type: "sensor_msgs/msg/BatteryState" } as const;

/**
 * A robot with the customary topics. It has no customary mode: that needs a mapping of the vehicle's own, or `mode: none`.
 * `percentage` is a fraction (sensor_msgs/msg/BatteryState); a driver that publishes 0 to 100 is malformed here and needs a
 * mapping that says so.
 */
export const rosGeneric: Preset = {
  mappings: [
    { signal: "speed", ...ODOMETRY, path: ["twist.twist.linear.x", "twist.twist.linear.y"] },
    { signal: "yawRate", ...ODOMETRY, path: ["twist.twist.angular.z"] },
    { signal: "battery", ...BATTERY, path: ["percentage"], scale: 100, rawMin: 0, rawMax: 1 },
    {
      signal: "charging",
      ...BATTERY,
      path: ["power_supply_status"],
      // 0 is unknown. 4, full, is not charging: whoever is full needs no excuse.
      values: [
        { when: [1], means: true },
        { when: [2, 3, 4], means: false },
      ],
    },
  ],
};
