import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzDds } from "./dds-fuzz.ts";

test("hostile datagrams neither throw nor grow memory, and some samples still come through", async () => {
  const { counters, samples, decoded, participantsMax } = await fuzzDds({ datagrams: 50_000, seed: 20_261 });
  assert.ok(counters.datagrams >= 50_000);
  assert.ok(counters.malformed > 1_000 && counters.refused > 0 && counters.duplicates > 0);
  assert.ok(samples > 0 && decoded > 0);
  assert.ok(participantsMax > 10);
});
