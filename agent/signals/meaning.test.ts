import assert from "node:assert/strict";
import { test } from "node:test";
import type { SignalMappingInput } from "@muto/spec";
import { meaningOf, type Meaning } from "./meaning.ts";
import { PRESETS } from "./presets/presets.ts";

type Fields = readonly unknown[];

const at = { topic: "/t", type: "a_msgs/msg/A", path: ["f"] } as const;
const unknown: Meaning = { kind: "unknown" };
const malformed: Meaning = { kind: "malformed" };

function value(said: Extract<Meaning, { kind: "value" }>["value"]): Meaning {
  return { kind: "value", value: said };
}

const fraction = { signal: "battery", ...at, scale: 100, rawMin: 0, rawMax: 1 } as const;
const door = {
  signal: "hold",
  ...at,
  values: [
    { when: ["open"], means: true },
    { when: ["shut"], means: false },
  ],
} as const;

const situations: readonly (readonly [string, SignalMappingInput, Fields, Meaning])[] = [
  ["a number", { signal: "speed", ...at }, [-2.5], value(-2.5)],
  ["scaled and moved", { signal: "battery", ...at, scale: 0.5, offset: 10 }, [40], value(30)],
  ["the length of a vector: sideways is moving, too", { signal: "speed", ...at, path: ["x", "y"] }, [3, -4], value(5)],
  ["NaN in DDS", { signal: "speed", ...at }, [Number.NaN], unknown],
  ["infinity in DDS", { signal: "speed", ...at }, [Number.POSITIVE_INFINITY], unknown],
  ["NaN in rosbridge", { signal: "speed", ...at }, [null], unknown],
  ["half a vector is unknown", { signal: "speed", ...at, path: ["x", "y"] }, [0, null], unknown],
  ["no such field", { signal: "speed", ...at }, [undefined], malformed],
  ["a text for a number", { signal: "speed", ...at }, ["0"], malformed],
  ["64 bits", { signal: "battery", ...at }, [87n], value(87)],
  ["a fraction", fraction, [0.5], value(50)],
  ["a full battery", fraction, [1], value(100)],
  ["percent where a fraction belongs", fraction, [87], malformed],
  ["less than nothing", fraction, [-0.01], malformed],
  ["a boolean stands for itself", { signal: "parked", ...at }, [true], value(true)],
  ["a number is no boolean", { signal: "parked", ...at }, [1], malformed],
  ["a hold that is one", door, ["open"], value({ held: true })],
  ["a hold that is none", door, ["shut"], value({ held: false })],
  ["a word that nobody explained", door, ["ajar"], unknown],
  ["an acknowledgement", { signal: "changeAcknowledged", ...at }, ["01J"], value("01J")],
  ["an object", { signal: "mode", ...at, values: [{ when: [1], means: "manual" }] }, [{}], unknown],
];
for (const [name, mapping, fields, meaning] of situations) {
  test(`meaning: ${name}`, () => {
    assert.deepEqual(meaningOf({ scale: 1, offset: 0, latched: false, ...mapping }, fields), meaning);
  });
}

/** Every value of every enumeration that the presets read, by what a person would expect. */
const enumerations: readonly (readonly [keyof typeof PRESETS, string, Readonly<Record<string, string>>])[] = [
  [
    "autoware-vehicle",
    "/vehicle/status/control_mode",
    {
      0: "unknown",
      1: "autonomous",
      2: "autonomous",
      3: "autonomous",
      4: "manual",
      5: "manual",
      6: "unknown",
      7: "unknown",
    },
  ],
  [
    "autoware-vehicle",
    "/vehicle/status/gear_status",
    { 0: "unknown", 1: "false", 2: "false", 22: "true", 24: "false", 25: "unknown" },
  ],
  [
    "autoware-adapi",
    "/api/fail_safe/mrm_state",
    {
      0: "unknown",
      1: "clear",
      2: "minimal-risk-manoeuvre",
      3: "minimal-risk-manoeuvre",
      4: "minimal-risk-manoeuvre",
      5: "unknown",
    },
  ],
  [
    "autoware-adapi",
    "/api/operation_mode/state",
    {
      "0,false": "unknown",
      "1,true": "stopped",
      "1,false": "manual",
      "2,true": "autonomous",
      "2,false": "autonomous",
      "3,true": "autonomous",
      "3,false": "manual",
      "4,true": "autonomous",
      "4,false": "manual",
      "5,false": "unknown",
    },
  ],
  ["ros-generic", "/battery_state", { 0: "unknown", 1: "true", 2: "false", 3: "false", 4: "false", 5: "unknown" }],
];
for (const [preset, topic, meanings] of enumerations) {
  test(`preset ${preset}: what ${topic} means`, () => {
    const mapping = PRESETS[preset].mappings.find((one) => one.topic === topic && one.values !== undefined);
    assert.ok(mapping !== undefined);
    for (const [raw, expected] of Object.entries(meanings)) {
      const fields = raw.split(",").map((part): unknown => JSON.parse(part));
      const meaning = meaningOf({ scale: 1, offset: 0, latched: false, ...mapping }, fields);
      assert.equal(
        meaning.kind === "value" ? JSON.stringify(meaning.value).replaceAll('"', "") : meaning.kind,
        expected,
        raw,
      );
    }
  });
}
