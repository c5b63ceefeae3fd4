import assert from "node:assert/strict";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemDisk } from "@muto/kit/disk";
import fc from "fast-check";
import { openOutbox } from "./outbox.ts";
import type { Outbox, SealedReport, UnsentReport } from "./outbox.ts";
import {
  admit,
  applyOutboxRecord,
  EMPTY_OUTBOX,
  encodeOutboxRecord,
  numberable,
  parseOutboxRecord,
  recordsOf,
} from "./outbox-records.ts";
import type { OutboxRecord, OutboxState } from "./outbox-records.ts";

const ANY_BYTES = 1_000_000;
const limits = { entriesMax: 4, bytesMax: 2000, inFlightMax: 2, journalBytes: 4096 };

async function inFolder(work: (reopen: () => Promise<Outbox>, folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "muto-outbox-"));
  const opened: Outbox[] = [];
  let installs = 0;
  const reopen = async () => {
    await opened.at(-1)?.[Symbol.asyncDispose]();
    const { outbox } = await openOutbox({
      disk: systemDisk(),
      folder,
      seal: async ({ installId, seq, body }) => Buffer.from(`${installId}/${seq}/${Buffer.from(body).toString()}`),
      newInstallId: () => `install-${++installs}`,
      limits,
    });
    opened.push(outbox);
    return outbox;
  };
  try {
    await work(reopen, folder);
  } finally {
    await opened.at(-1)?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
}

const report = (reportId: string, over: Partial<UnsentReport> = {}): UnsentReport => ({
  reportId,
  terminal: false,
  mergeKey: null,
  body: Buffer.from(reportId),
  ...over,
});
const sealed = (reports: readonly SealedReport[]) => reports.map(({ envelope }) => Buffer.from(envelope).toString());

void test("reports come out in order, numbered from 1, again and again until they are acknowledged", async () => {
  await inFolder(async (reopen) => {
    let outbox = await reopen();
    for (const id of ["a", "b", "c"]) assert.equal(await outbox.append(report(id)), "queued");
    assert.deepEqual(sealed(await outbox.pending(ANY_BYTES)), ["install-1/1/a", "install-1/2/b"]);
    outbox = await reopen();
    assert.deepEqual(sealed(await outbox.pending(ANY_BYTES)), ["install-1/1/a", "install-1/2/b"]);
    await outbox.acknowledge("install-1", 1);
    assert.deepEqual(sealed(await outbox.pending(ANY_BYTES)), ["install-1/2/b", "install-1/3/c"]);
    await outbox.acknowledge("install-1", 3);
    assert.deepEqual(await outbox.pending(ANY_BYTES), []);
    outbox = await reopen();
    assert.equal(outbox.waiting, 0);
    await outbox.append(report("d"));
    assert.deepEqual(sealed(await outbox.pending(ANY_BYTES)), ["install-1/4/d"], "a number is never given twice");
  });
});

void test("a byte limit cuts the list, and never to nothing", async () => {
  await inFolder(async (reopen) => {
    const outbox = await reopen();
    await outbox.append(report("a", { body: Buffer.alloc(500, "a") }));
    await outbox.append(report("b", { body: Buffer.alloc(500, "b") }));
    assert.equal((await outbox.pending(600)).length, 1);
    assert.equal((await outbox.pending(10)).length, 1);
    assert.equal((await outbox.pending(2000)).length, 2);
  });
});

void test("a repeat takes the place of the newest report if nobody has seen that and it said the same", async () => {
  await inFolder(async (reopen) => {
    const outbox = await reopen();
    const blocked = (id: string) => report(id, { mergeKey: "blocked" });
    assert.equal(await outbox.append(blocked("1")), "queued");
    assert.equal(await outbox.append(blocked("2")), "merged");
    assert.deepEqual(sealed(await outbox.pending(ANY_BYTES)), ["install-1/1/2"]);
    assert.equal(await outbox.append(blocked("3")), "queued", "the one before has a number and may have been seen");
    assert.equal(await outbox.append(report("4", { mergeKey: "applying" })), "queued");
    assert.equal(await outbox.append(blocked("5")), "queued", "between two equal reports something else happened");
    assert.equal(outbox.dropped, 0);
    assert.equal(outbox.waiting, 4);
  });
});

void test("without room what is said again goes first, then the oldest of what is no outcome; outcomes and numbers stay", async () => {
  await inFolder(async (reopen) => {
    const outbox = await reopen();
    await outbox.append(report("seen"));
    await outbox.pending(ANY_BYTES);
    await outbox.append(report("x", { mergeKey: "x" }));
    await outbox.append(report("y", { mergeKey: "y" }));
    await outbox.append(report("end", { terminal: true }));
    await outbox.append(report("y again", { mergeKey: "y" }));
    assert.deepEqual([outbox.waiting, outbox.dropped], [4, 0], "y is still said");
    await outbox.append(report("end 2", { terminal: true, mergeKey: "y" }));
    await outbox.append(report("end 3", { terminal: true }));
    assert.deepEqual([outbox.waiting, outbox.dropped], [4, 2]);
    assert.equal(await outbox.append(report("end 4", { terminal: true })), "full");
    assert.equal(await outbox.append(report("z")), "full");
    assert.deepEqual(await everything(outbox), [
      "install-1/1/seen",
      "install-1/2/end",
      "install-1/3/end 2",
      "install-1/4/end 3",
    ]);
  });
});

void test("an outcome that is repeated every hour takes one place, and the first time that it was said stands", async () => {
  await inFolder(async (reopen) => {
    const outbox = await reopen();
    const converged = (id: string) => report(id, { terminal: true, mergeKey: "converged" });
    const failed = (id: string) => report(id, { terminal: true, mergeKey: "failed" });
    assert.equal(await outbox.append(converged("first")), "queued");
    for (let hour = 0; hour < 100; hour++) assert.equal(await outbox.append(converged(`hour ${hour}`)), "merged");
    assert.deepEqual(sealed(await outbox.pending(ANY_BYTES)), ["install-1/1/first"]);
    for (let day = 0; day < 50; day++) {
      assert.equal(await outbox.append(failed(`failed ${day}`)), "queued");
      assert.equal(await outbox.append(converged(`converged ${day}`)), "queued");
    }
    assert.deepEqual([outbox.waiting, outbox.dropped], [4, 0]);
    assert.deepEqual((await everything(outbox)).slice(-2), ["install-1/3/failed 49", "install-1/4/converged 49"]);
  });
});

async function everything(outbox: Outbox): Promise<string[]> {
  const all: string[] = [];
  while (outbox.waiting > 0) {
    const pending = await outbox.pending(ANY_BYTES);
    all.push(...sealed(pending));
    await outbox.acknowledge(outbox.installId, pending.at(-1)?.seq ?? 0);
  }
  return all;
}

void test("H19: an acknowledgement of numbers that were never given begins a new sequence and loses no report", async () => {
  await inFolder(async (reopen) => {
    let outbox = await reopen();
    for (const id of ["a", "b", "c"]) await outbox.append(report(id));
    await outbox.pending(ANY_BYTES);
    await outbox.acknowledge("install-1", 1);
    await outbox.acknowledge("install-9", 7);
    assert.equal(outbox.installId, "install-1", "about another installation");
    await outbox.acknowledge("install-1", 7);
    assert.equal(outbox.installId, "install-2");
    outbox = await reopen();
    assert.deepEqual(sealed(await outbox.pending(ANY_BYTES)), ["install-2/1/b", "install-2/2/c"]);
  });
});

void test("nothing is written while nothing happens", async () => {
  await inFolder(async (reopen, folder) => {
    const outbox = await reopen();
    await outbox.append(report("a"));
    await outbox.pending(ANY_BYTES);
    const before = (await stat(join(folder, "outbox"))).mtimeMs;
    for (let round = 0; round < 20; round++) {
      await outbox.pending(ANY_BYTES);
      await outbox.acknowledge("install-1", 0);
    }
    assert.equal((await stat(join(folder, "outbox"))).mtimeMs, before);
  });
});

void test("a report beyond its limit is a bug of whoever made it", async () => {
  await inFolder(async (reopen) => {
    const outbox = await reopen();
    await assert.rejects(outbox.append(report("a", { body: new Uint8Array(200_000) })), RangeError);
    assert.equal(await outbox.append(report("b", { body: new Uint8Array(3000) })), "full");
  });
});

void test("weeks offline: hundreds of reports stay within the limits, and the file keeps its size", async () => {
  await inFolder(async (reopen, folder) => {
    const outbox = await reopen();
    for (let hour = 0; hour < 200; hour++) {
      await outbox.append(report(`h${hour}`, { mergeKey: `gate-${hour % 3}`, body: Buffer.alloc(400, "x") }));
    }
    assert.equal(outbox.waiting, 4);
    assert.equal((await stat(join(folder, "outbox"))).size, 4096);
    const pending = await outbox.pending(ANY_BYTES);
    assert.deepEqual(
      pending.map(({ seq }) => seq),
      [1, 2],
      "what nobody saw took no number",
    );
  });
});

// ── The fold ────────────────────────────────────────────────────────────────────────────────────────────────────────

const arbitraryReport = fc.record({
  terminal: fc.boolean(),
  mergeKey: fc.option(fc.constantFrom("k1", "k2")),
  size: fc.integer({ min: 0, max: 900 }),
});
const arbitraryStep = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("append" as const), report: arbitraryReport }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("number" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("acknowledge" as const), back: fc.nat({ max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("compact" as const) }) },
);

void test("always: numbers contiguous and never for two reports, order kept, outcomes kept, limits kept, records readable", () => {
  fc.assert(
    fc.property(fc.array(arbitraryStep, { maxLength: 60 }), (steps) => {
      let state: OutboxState = { ...EMPTY_OUTBOX, installId: "i" };
      const ownerOf = new Map<number, string>();
      /** By what it says, the report that has to stay until it is acknowledged. */
      const outcomes = new Map<string, string>();
      let made = 0;
      for (const step of steps) {
        const before = state;
        for (const record of recordsFor(state, step, () => String(made++).padStart(5, "0"))) {
          assert.deepEqual(parseOutboxRecord(encodeOutboxRecord(record)), record);
          state = applyOutboxRecord(state, record);
          if (record.kind === "acknowledged") {
            for (const [said, id] of outcomes) {
              const entry = before.entries.find(({ reportId }) => reportId === id);
              if (entry?.seq !== null && entry !== undefined && entry.seq <= record.seq) outcomes.delete(said);
            }
          }
          if (record.kind === "report" && record.entry.terminal && step.kind === "append") {
            outcomes.set(record.entry.mergeKey ?? record.entry.reportId, record.entry.reportId);
          }
        }
        const numbers = state.entries.flatMap(({ seq }) => (seq === null ? [] : [seq]));
        assert.deepEqual(
          numbers,
          numbers.map((_, index) => state.lastSeq - numbers.length + 1 + index),
        );
        assert.ok(numbers.length <= limits.inFlightMax && state.entries.length <= limits.entriesMax);
        const ids = state.entries.map(({ reportId }) => reportId);
        assert.deepEqual(ids, ids.toSorted());
        for (const { seq, reportId } of state.entries) {
          if (seq === null) continue;
          assert.equal(ownerOf.get(seq) ?? reportId, reportId);
          ownerOf.set(seq, reportId);
        }
        for (const outcome of outcomes.values()) assert.ok(ids.includes(outcome), `${outcome} is lost`);
      }
      assert.equal(ownerOf.size, state.lastSeq);
    }),
  );
});

type Step =
  | { kind: "append"; report: { terminal: boolean; mergeKey: string | null; size: number } }
  | { kind: "number" | "compact" }
  | { kind: "acknowledge"; back: number };

function recordsFor(state: OutboxState, step: Step, nextId: () => string): readonly OutboxRecord[] {
  switch (step.kind) {
    case "append": {
      const { size, ...rest } = step.report;
      const entry = { ...rest, reportId: nextId(), body: new Uint8Array(size), seq: null };
      const admission = admit(state, entry, limits);
      return admission.kind === "queued" || admission.kind === "merged" ? [admission.record] : [];
    }
    case "number":
      return [{ kind: "numbered", count: numberable(state, limits) }];
    case "acknowledge":
      return [{ kind: "acknowledged", seq: Math.max(0, state.lastSeq - step.back) }];
    case "compact":
      return recordsOf(state);
  }
}

void test("bytes that are no record are none, whatever they are", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.equal(parseOutboxRecord(bytes), undefined);
    }),
  );
  for (const line of ['{"kind":"report"}', '{"kind":"numbered","count":-1}', '{"kind":"later"}', "null", "[]"]) {
    assert.equal(parseOutboxRecord(Buffer.from(`${line}\n`)), undefined, line);
  }
});
