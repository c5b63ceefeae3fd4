import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { sql } from "kysely";
import { verifyAudit } from "../store/audit.ts";
import { openTestDatabase } from "../store/test-database.ts";
import { seedDatabase } from "./seed.ts";

const END_MS = Date.UTC(2026, 10, 20, 12);

async function seeded(seed: number) {
  await using database = await openTestDatabase();
  const made = await seedDatabase({
    database,
    seed,
    endMs: END_MS,
    tenant: "default",
    vehicles: 10,
    offlineAfterMs: 300_000,
  });
  const { rows: rollouts } = await sql<{ status: string }>`select status from rollouts order by created_at`.execute(
    database.db,
  );
  const { rows } = await sql<{ line: string }>`
    select v::text as line from vehicles v union all select r::text from reconcile_reports r
    union all select a::text from audit_log a union all select s::text from assignments s order by 1`.execute(
    database.db,
  );
  const hash = createHash("sha256")
    .update(rows.map(({ line }) => line).join("\n"))
    .digest("hex");
  return { made, statuses: rollouts.map(({ status }) => status), hash, verdict: await verifyAudit(database.db) };
}

test("the same seed gives the same rows, every kind of rollout, and an audit log that verifies", async () => {
  const [first, again] = [await seeded(1), await seeded(1)];
  assert.equal(first.hash, again.hash);
  assert.deepEqual(first.made, { vehicles: 10, releases: 3, rollouts: 3 });
  assert.deepEqual(first.statuses, ["completed", "rolled_back", "active"]);
  assert.ok(first.verdict.ok && first.verdict.entries > 15);
});
