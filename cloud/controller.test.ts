import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { systemClock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import { silentLogger } from "@muto/kit/logger";
import { seededRandom } from "@muto/kit/random";
import { runController } from "./controller.ts";
import { wake } from "./store/database.ts";
import type { Database } from "./store/database.ts";
import { openTestDatabase } from "./store/test-database.ts";
import { TestFleet } from "./store/test-fleet.ts";
import { TestRollouts } from "./store/test-rollouts.ts";

describe("the controller", () => {
  let database: Database;
  let fleet: TestFleet;
  let rollouts: TestRollouts;
  before(async () => {
    database = await openTestDatabase();
    fleet = new TestFleet(database.db);
    rollouts = new TestRollouts(fleet);
  });
  after(async () => {
    await database[Symbol.asyncDispose]();
  });

  /** Resolves when the controller says that it has taken this step. */
  const heard = (kind: string) => {
    const taken = Promise.withResolvers<void>();
    const logger: Logger = {
      ...silentLogger,
      info: (_message, data) => {
        if (data?.["step"] === kind) taken.resolve();
      },
    };
    return { logger, taken: taken.promise };
  };
  let looks: (() => void)[] = [];
  const look = () => {
    looks.pop()?.();
    return fleet.moment().nowMs;
  };
  /** Resolves when the controller has looked at the clock so many times more. */
  const looked = async (times: number) => {
    const all = Array.from({ length: times }, () => Promise.withResolvers<void>());
    looks = all.map(({ resolve }) => resolve);
    const waking = setInterval(() => void wake(database.db, "muto_work"), 50);
    await Promise.all(all.map(({ promise }) => promise));
    clearInterval(waking);
  };
  const start = (logger: Logger, signal: AbortSignal, lastHeardMs: number | null = null) =>
    runController(
      {
        database,
        logger,
        lastHeardMs,
        clock: { ...systemClock(), wallMs: () => look() },
        random: seededRandom(1),
        offlineAfterMs: fleet.moment().offlineAfterMs,
      },
      signal,
    );

  it("takes what is due at its start, sleeps, and is woken by a commit", async () => {
    const good = await fleet.addRelease("1.0.0");
    const next = await fleet.addRelease("2.0.0");
    const ids = await rollouts.cars(2, good);
    const id = await rollouts.create(next, ids);
    const stop = new AbortController();
    const first = heard("assignCanaries");
    const running = start(first.logger, stop.signal);
    await first.taken;
    stop.abort();
    await running;
    assert.equal(await rollouts.state(id), "active canary");

    const stopAgain = new AbortController();
    const second = heard("startSoak");
    const again = start(second.logger, stopAgain.signal);
    await rollouts.converge(ids[0] ?? "");
    await wake(database.db, "muto_work");
    await second.taken;
    stopAgain.abort();
    await again;
    assert.equal(await rollouts.state(id), "active soak");
  });

  it("leaves rollouts alone for a minute after an outage of its own, however few have spoken up", async () => {
    const good = await fleet.addRelease("3.0.0");
    const next = await fleet.addRelease("4.0.0");
    const ids = await rollouts.cars(2, good);
    await rollouts.create(next, ids);
    const stop = new AbortController();
    const first = heard("assignCanaries");
    const awayMs = fleet.moment().nowMs - 7_200_000;
    const running = start(first.logger, stop.signal, awayMs);
    const before = await rollouts.holding(ids);
    for (const sleepMs of [29_000, 29_000, 3_000]) {
      await looked(3);
      assert.deepEqual(await rollouts.holding(ids), before);
      fleet.sleep(sleepMs);
    }
    await first.taken;
    stop.abort();
    await running;
    assert.notDeepEqual(await rollouts.holding(ids), before);
  });
});
