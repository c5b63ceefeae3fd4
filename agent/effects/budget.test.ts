import assert from "node:assert/strict";
import { test } from "node:test";
import { ModelClock } from "../model/clock.ts";
import { applyRecord, type JournalRecord } from "../reconcile/records.ts";
import { EMPTY_STATE } from "../reconcile/state.ts";
import { BudgetSpent, openBudget } from "./budget.ts";

const registry = { url: "http://127.0.0.1:5000", bytesPerSecMax: 1_000, bytesPerDayMax: 10_000 };
const daily = { url: registry.url, bytesPerDayMax: registry.bytesPerDayMax };
const signal = new AbortController().signal;

function world() {
  const clock = new ModelClock(Date.parse("2026-06-01T01:00:00.000Z"));
  const store = {
    state: EMPTY_STATE,
    fault: undefined,
    record: async (record: JournalRecord) => {
      store.state = applyRecord(store.state, record);
    },
  };
  return { clock, store };
}

void test("bytes pass at the rate that the vehicle's configuration allows", async () => {
  const { clock, store } = world();
  const budget = openBudget({ clock, store }, registry);
  await budget.take(0, signal);
  let passed = false;
  const taking = budget.take(3_000, signal).then(() => (passed = true));
  clock.advance(2_999);
  await Promise.resolve();
  assert.equal(passed, false);
  clock.advance(1);
  await taking;
});

void test("the bytes of a day are counted across restarts of the agent, and a new day brings new ones", async () => {
  const { clock, store } = world();
  const first = openBudget({ clock, store }, daily);
  await first.take(9_000, signal);
  await first.settle();
  const second = openBudget({ clock, store }, daily);
  assert.equal(second.waitSec(), 0);
  await assert.rejects(second.take(2_000, signal), BudgetSpent);
  await second.settle();
  clock.advance(3_600_000);
  assert.equal(openBudget({ clock, store }, daily).waitSec(), 23 * 3_600);
  clock.advance(23 * 3_600_000);
  assert.equal(openBudget({ clock, store }, daily).waitSec(), 0);
});

void test("a clock that is set back does not stretch the day", async () => {
  const { clock, store } = world();
  const budget = openBudget({ clock, store }, daily);
  await assert.rejects(budget.take(20_000, signal), BudgetSpent);
  await budget.settle();
  clock.setWall(Date.parse("2026-05-01T00:00:00.000Z"));
  assert.equal(openBudget({ clock, store }, registry).waitSec(), 0);
});

void test("a vehicle without limits writes nothing and waits for nothing", async () => {
  const { clock, store } = world();
  const budget = openBudget({ clock, store }, { url: registry.url });
  await budget.take(1_000_000_000, signal);
  await budget.settle();
  assert.equal(store.state, EMPTY_STATE);
});
