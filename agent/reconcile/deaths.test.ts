import assert from "node:assert/strict";
import { test } from "node:test";
import { earlier, one, releaseA as A, releaseB as B } from "../model/situation.ts";
import { barred, check } from "../model/table.ts";
import { applyRecord } from "./records.ts";
import { encodeRecord, parseRecord } from "./record-codec.ts";
import { EMPTY_STATE, type ExitNote } from "./state.ts";

const lidarOfA = one(A, "lidar");
const note = (added: number, total: number, secAgo: number, instanceId = lidarOfA.instanceId): ExitNote => ({
  instanceId,
  set: A.manifestDigest,
  workload: "lidar",
  at: earlier(secAgo),
  code: null,
  signal: null,
  deaths: { added, total },
});
const dying = (deaths: number) => ({ instances: [one(A, "control"), one(A, "lidar", { deaths })] });

check("deaths of nodes that a launcher hides", {
  "are counted, though the launcher runs": [{ wants: A, active: A, ...dying(2) }, "restart note lidar"],
  "are counted once": [{ wants: A, active: A, ...dying(2), state: { exits: [note(2, 2, 1)] } }, "settled"],
  "are counted when there are more": [
    { wants: A, active: A, ...dying(3), state: { exits: [note(2, 2, 1)] } },
    "restart note lidar",
  ],
  "as many as may be are no crash loop": [
    { wants: A, active: A, ...dying(3), state: { exits: [note(1, 1, 9), note(2, 3, 1)] } },
    "settled",
  ],
  "more than maxRestarts within windowSec are a crash loop": [
    { wants: A, active: A, previous: B, ...dying(4), state: { exits: [note(1, 1, 9), note(3, 4, 1)] } },
    "rollback begin pending CRASH_LOOP_DETECTED",
  ],
  "those before the window do not count": [
    { wants: A, active: A, ...dying(4), state: { exits: [note(3, 3, 301), note(1, 4, 1)] } },
    "settled",
  ],
  "a storm with nothing to return to is named once": [
    { wants: A, active: A, ...dying(400), state: { exits: [note(4, 4, 1)] } },
    "restart stranded",
  ],
  "a storm that is named is not noted at each pass": [
    {
      wants: A,
      active: A,
      previous: B,
      ...dying(400),
      state: { exits: [note(4, 4, 1)], quarantine: barred(true) },
    },
    "restart stranded",
  ],
});

test("an end is counted beside deaths of the same instance, and both only once", () => {
  const { deaths: _, ...end } = { ...note(0, 0, 0), code: 0 };
  const records = [note(1, 1, 3), note(1, 1, 2), note(2, 3, 1), end, end, note(2, 3, 0)];
  const state = records.reduce((known, exit) => applyRecord(known, { kind: "exited", exit }), EMPTY_STATE);
  assert.deepEqual(state.exits, [records[0], records[2], end]);
  const record = { kind: "exited", exit: note(2, 3, 1) } as const;
  assert.deepEqual(parseRecord(encodeRecord(record)), { ok: true, record });
});
