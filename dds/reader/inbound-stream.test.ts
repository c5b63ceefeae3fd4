import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { LIMITS } from "../limits.ts";
import { InboundStream } from "./inbound-stream.ts";

function open(options: { reliable: boolean; history: boolean }, bytes: number = LIMITS.heldBytesMax) {
  const delivered: number[] = [];
  const counters = { duplicates: 0, lost: 0, refused: 0 };
  const budget = { left: bytes };
  const deliver = (sequence: number) => void delivered.push(sequence);
  return { stream: new InboundStream<string>(options, { deliver, budget, counters }), delivered, counters, budget };
}

const RELIABLE = { reliable: true, history: false };
const LATCHED = { reliable: true, history: true };
const BEST_EFFORT = { reliable: false, history: false };

describe("best effort", () => {
  test("takes what is newest, once", () => {
    const { stream, delivered, counters } = open(BEST_EFFORT);
    for (const sequence of [5, 6, 6, 9, 8, 10]) stream.data(sequence, "", 1);
    assert.deepEqual(delivered, [5, 6, 9, 10]);
    assert.deepEqual(counters, { duplicates: 2, lost: 2, refused: 0 });
  });
});

describe("reliable", () => {
  test("starts with the first sample when history is not wanted, and puts later ones in order", () => {
    const { stream, delivered, budget } = open(RELIABLE);
    for (const sequence of [7, 9, 10, 8, 8, 11]) stream.data(sequence, "", 10);
    assert.deepEqual(delivered, [7, 8, 9, 10, 11]);
    assert.equal(budget.left, LIMITS.heldBytesMax);
  });

  test("asks for nothing from before it came when history is not wanted", () => {
    const { stream } = open(RELIABLE);
    stream.heartbeat(1, 20);
    assert.deepEqual(stream.missing(), { base: 21, members: [] });
  });

  test("waits for the heartbeat when history is wanted, and asks for what is missing", () => {
    const { stream, delivered } = open(LATCHED);
    stream.data(5, "", 1);
    assert.deepEqual(delivered, []);
    stream.heartbeat(3, 6);
    assert.deepEqual(stream.missing(), { base: 3, members: [3, 4, 6] });
    for (const sequence of [4, 3, 6]) stream.data(sequence, "", 1);
    assert.deepEqual(delivered, [3, 4, 5, 6]);
    assert.deepEqual(stream.missing(), { base: 7, members: [] });
  });

  test("a writer without heartbeats is believed in the end", () => {
    const { stream, delivered } = open(LATCHED);
    stream.data(5, "", 1);
    stream.settle();
    assert.deepEqual(delivered, [5]);
  });

  test("gaps are passed, also those that are told early", () => {
    const { stream, delivered } = open(LATCHED);
    stream.heartbeat(1, 9);
    stream.gap(4, { base: 6, members: [8] });
    assert.deepEqual(stream.missing().members, [1, 2, 3, 6, 7, 9]);
    for (const sequence of [1, 2, 3, 6, 7, 9]) stream.data(sequence, "", 1);
    assert.deepEqual(delivered, [1, 2, 3, 6, 7, 9]);
    stream.gap(10, { base: 2 ** 40, members: [] });
    assert.equal(stream.missing().base, 2 ** 40);
  });

  test("what the writer no longer has is given up, and what waits is delivered first", () => {
    const { stream, delivered, counters } = open(LATCHED);
    stream.heartbeat(1, 8);
    stream.data(3, "", 1);
    stream.data(7, "", 1);
    stream.heartbeat(7, 8);
    assert.deepEqual(delivered, [3, 7]);
    assert.equal(counters.lost, 5);
    assert.deepEqual(stream.missing(), { base: 8, members: [8] });
  });

  test("too many waiting samples do not wait any longer: a value that never comes must not hide newer ones", () => {
    const { stream, delivered } = open(RELIABLE);
    stream.data(1, "", 1);
    const last = 3 + LIMITS.heldSamplesMax;
    for (let sequence = 3; sequence <= last; sequence++) stream.data(sequence, "", 1);
    assert.equal(delivered.length, LIMITS.heldSamplesMax + 2);
    assert.equal(delivered.at(-1), last);
  });

  test("samples that weigh too much are refused, and their weight comes back when the stream ends", () => {
    const { stream, counters, budget } = open(LATCHED, 100);
    stream.data(2, "", 60);
    stream.data(3, "", 60);
    assert.equal(counters.refused, 1);
    assert.equal(budget.left, 40);
    stream.close();
    assert.equal(budget.left, 100);
  });

  test("a lie about numbers neither drowns the count nor takes time", () => {
    const { stream, counters } = open(LATCHED);
    stream.heartbeat(1, 2 ** 52);
    assert.equal(stream.missing().members.length, 256);
    stream.heartbeat(2 ** 52, 2 ** 52);
    assert.ok(counters.lost <= 1_000_000);
  });

  test("over any network that repeats, reorders and loses, every sample comes once and in order", () => {
    const number = fc.integer({ min: 1, max: 40 });
    const kind = fc.constantFrom("data", "heartbeat", "gap", "range", "settle");
    const steps = fc.array(fc.tuple(number, number, kind), { maxLength: 200 });
    fc.assert(
      fc.property(steps, fc.boolean(), (events, history) => {
        const { stream, delivered, budget, counters } = open({ reliable: true, history });
        for (const [sequence, other, event] of events) {
          if (event === "data") stream.data(sequence, "", 3);
          else if (event === "heartbeat") stream.heartbeat(Math.min(sequence, other), Math.max(sequence, other));
          else if (event === "gap") stream.gap(sequence, { base: sequence, members: [sequence] });
          else if (event === "range") stream.gap(sequence, { base: other, members: [] });
          else stream.settle();
          assert.ok(counters.lost >= 0 && budget.left <= LIMITS.heldBytesMax);
        }
        // The writer repeats what is asked for until nothing is.
        stream.heartbeat(1, 40);
        for (let asked = stream.missing(); asked.members.length > 0; asked = stream.missing())
          for (const sequence of asked.members) stream.data(sequence, "", 3);
        assert.deepEqual(
          delivered,
          [...new Set(delivered)].toSorted((a, b) => a - b),
        );
        assert.equal(stream.missing().base, 41);
        assert.equal(budget.left, LIMITS.heldBytesMax);
        assert.equal(stream.delivered, delivered.length);
      }),
    );
  });
});
