import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { SCHEMAS } from "./generated/schemas.ts";
import { TOPICS } from "./generated/topics.ts";

const topics = Object.values(TOPICS);
const pattern = (name: "Tenant" | "VehicleId"): RegExp => new RegExp(String(SCHEMAS[name]["pattern"]));

test("the four topics with the QoS and retain flags that subscribers count on", () => {
  assert.deepEqual(
    topics.map(({ pattern: text, direction, qos, retain }) => [text, direction, qos, retain]),
    [
      ["muto/{tenant}/vehicles/{vehicleId}/presence", "vehicle-to-cloud", 1, true],
      ["muto/{tenant}/vehicles/{vehicleId}/desired/notify", "cloud-to-vehicle", 1, true],
      ["muto/{tenant}/vehicles/{vehicleId}/reports/reconcile", "vehicle-to-cloud", 1, false],
      ["muto/{tenant}/vehicles/{vehicleId}/reports/health", "vehicle-to-cloud", 0, false],
    ],
  );
});

test("what format makes, parse reads, on the same topic alone", () => {
  const ids = fc.record(
    {
      tenant: fc.stringMatching(pattern("Tenant")),
      vehicleId: fc.stringMatching(pattern("VehicleId")),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(ids, fc.constantFrom(...topics), fc.constantFrom(...topics), (params, topic, other) => {
      assert.deepEqual(other.parse(topic.format(params)), other === topic ? params : undefined);
    }),
  );
});

suite("an id that could reach other vehicles' topics is refused", () => {
  const hostile = ["#", "+", "a/b", "a/../b", "", "A", "a\u0000", "a\n", "vehicle-1/reports/#", "-a", "a".repeat(64)];
  for (const vehicleId of hostile) {
    test(JSON.stringify(vehicleId), () => {
      assert.throws(() => TOPICS.presence.format({ tenant: "default", vehicleId }), RangeError);
      assert.throws(() => TOPICS.presence.filter({ tenant: "default", vehicleId }), RangeError);
      assert.equal(TOPICS.presence.parse(`muto/default/vehicles/${vehicleId}/presence`), undefined);
    });
  }
});

test("a filter leaves one level open for each parameter that is left out", () => {
  assert.equal(TOPICS.healthReports.filter({}), "muto/+/vehicles/+/reports/health");
  assert.equal(TOPICS.healthReports.filter({ tenant: "a" }), "muto/a/vehicles/+/reports/health");
  assert.equal(
    TOPICS.desiredNotify.filter({ tenant: "a", vehicleId: "car-1" }),
    "muto/a/vehicles/car-1/desired/notify",
  );
});
