import assert from "node:assert/strict";
import { test } from "node:test";
import { readAgentConfig } from "../config.ts";

const path = "/etc/muto/agent.yaml";

function load(signals: string) {
  return readAgentConfig(
    `
kind: muto.agent/v1
vehicle: { id: vehicle-v3-0142, model: vehicle-v3, os: ubuntu-22.04, rosDistro: humble, timezone: Europe/Berlin }
cloud: { url: "https://muto.example.org" }
stateDir: /var/lib/muto
trustFile: trust.json
signals:
${signals.replaceAll(/^/gm, "  ")}
`,
    path,
  );
}

const adapi = `
speed: [{ provider: bridge }]
mode: [{ provider: bridge }]
battery: [{ provider: bridge }]
providers:
  - { name: bridge, kind: rosbridge, url: "ws://127.0.0.1:9090", presets: [autoware-adapi] }`;

const robot = `
speed: [{ provider: robot }]
mode: [{ provider: robot }]
battery: none
providers:
  - name: robot
    kind: dds
    domainId: 17
    presets: [ros-generic]
    mappings:
      - signal: mode
        topic: /drive/state
        type: drive_msgs/msg/State
        path: [mode]
        values: [{ when: [1], means: manual }, { when: [2, 3], means: autonomous }]
    messages:
      - type: drive_msgs/msg/State
        definition: |
          uint8 MANUAL = 1  # somebody drives
          std_msgs/Header header
          uint8 mode`;

const fine: readonly (readonly [string, string])[] = [
  ["a preset over rosbridge", adapi],
  ["a preset, and a message type of the vehicle's own over DDS", robot],
  [
    "a graph beside a gateway",
    adapi
      .replace("mode: [{ provider: bridge }]", "mode: [{ provider: gateway }]")
      .concat("\n  - { name: gateway, kind: file, path: /run/gateway }"),
  ],
  ["two that could show the graph, and one that does", `graph: robot${adapi}\n  - { name: robot, kind: dds }`],
];
for (const [name, signals] of fine) {
  test(`providers: ${name}`, () => {
    const loaded = load(signals);
    assert.ok(loaded.ok, JSON.stringify(loaded));
    assert.deepEqual(
      loaded.warnings.filter((warning) => !warning.includes("names bridge")),
      [],
    );
  });
}

const wrong: readonly (readonly [string, string, readonly string[]])[] = [
  [
    "a preset without a mode, asked for the mode",
    adapi.replace("autoware-adapi", "ros-generic"),
    ["signals.mode names bridge, which maps no topic to it"],
  ],
  [
    "the only topic of a signal declared absent",
    adapi.replace("presets:", "without: [/api/vehicle/metrics], presets:"),
    ["signals.battery names bridge, which maps no topic to it"],
  ],
  [
    "a speed without a yaw rate",
    robot
      .replace("presets: [ros-generic]", "presets: []")
      .replace(
        /- signal: mode/,
        "- { signal: speed, topic: /v, type: std_msgs/msg/Float64, path: [data] }\n      - signal: mode",
      ),
    ["signals.yawRate is left out and so asked of robot, which maps no topic to it"],
  ],
  [
    "two that could show the graph",
    `${adapi}\n  - { name: robot, kind: dds }`,
    ["signals.graph must say which one shows the ROS graph: bridge or robot"],
  ],
  [
    "a graph by a file",
    `graph: gateway${adapi}\n  - { name: gateway, kind: file, path: /run/gateway }`,
    ["signals.graph is no provider of kind rosbridge or dds: gateway"],
  ],
  [
    "a field that the message does not have",
    robot.replace("path: [mode]", "path: [modus]"),
    ["signals.providers[0].messages /drive/state: drive_msgs/msg/State has no field modus"],
  ],
  [
    "a message type that nobody described",
    robot.replace(/ {4}messages:[^]*$/, ""),
    [
      "signals.providers[0].messages /drive/state: drive_msgs/msg/State cannot be read (unknown-type: drive_msgs/msg/State)",
    ],
  ],
  [
    "a mode without meanings",
    robot.replace(/ {8}values:.*\n/, ""),
    ["signals.providers[0].mappings[0].values must say what the numbers mean"],
  ],
  [
    "a mode that is true",
    robot.replace("means: manual", "means: true"),
    ["signals.providers[0].mappings[0].values must be modes or clear"],
  ],
  [
    "one value with two meanings",
    robot.replace("[2, 3]", "[1, 2, 3]"),
    ["signals.providers[0].mappings[0].values name the same value twice"],
  ],
  [
    "one topic of two types",
    robot.replace(
      "- signal: mode",
      "- { signal: speed, topic: /odom, type: std_msgs/msg/Float64, path: [data] }\n      - signal: mode",
    ),
    [
      "signals.providers[0].mappings give /odom several types: nav_msgs/msg/Odometry, std_msgs/msg/Float64",
      "signals.providers[0].messages /odom: nav_msgs/msg/Odometry has no field data",
    ],
  ],
  [
    "a password in the address",
    adapi.replace("ws://", "ws://me:secret@"),
    ["signals.providers[0].url holds a user name or password; secrets come from files"],
  ],
  [
    "an acknowledgement of what nobody is told",
    adapi.replace("presets:", "change: { acknowledgementTopic: /ack }, presets:"),
    ["signals.providers[0].change needs a topic or a service, so that somebody is told"],
  ],
];
for (const [name, signals, problems] of wrong) {
  test(`providers: not taken: ${name}`, () => {
    const loaded = load(signals);
    assert.ok(!loaded.ok, "it was taken");
    assert.deepEqual(
      loaded.problems,
      problems.map((problem) => `${path}: ${problem}`),
    );
  });
}

const doubtful: readonly (readonly [string, string, RegExp])[] = [
  [
    "latched topics and no heartbeat",
    adapi.replace(
      "presets: [autoware-adapi]",
      "presets: [ros-generic], mappings: [{ signal: mode, topic: /m, type: std_msgs/msg/Int32, path: [data], values: [{ when: [1], means: manual }], latched: true }]",
    ),
    /heartbeat is missing, so latched topics go stale soon after they were received: \/m/,
  ],
  [
    "a preset whose heartbeat the vehicle does not have",
    adapi.replace("presets:", "without: [/api/system/heartbeat], presets:"),
    /heartbeat is missing, so latched topics go stale soon after they were received: \/api\/operation_mode/,
  ],
  ["plain text to another computer", adapi.replace("127.0.0.1", "10.0.0.7"), /is not encrypted, and does not stay/],
];
for (const [name, signals, warning] of doubtful) {
  test(`providers: taken with a warning: ${name}`, () => {
    const loaded = load(signals);
    assert.ok(loaded.ok, JSON.stringify(loaded));
    assert.match(loaded.warnings.join("\n"), warning);
  });
}
