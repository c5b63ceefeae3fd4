import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { startPostgres } from "./postgres.ts";

test("the server keeps what was committed across a crash", async () => {
  await using server = await startPostgres();
  const url = await server.createDatabase();
  const first = new pg.Client({ connectionString: url });
  first.on("error", () => {});
  await first.connect();
  const { rows } = await first.query<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  );
  assert.ok((rows[0]?.version ?? 0) >= 150_000);
  await first.query("create table kept (id int)");
  await first.query("insert into kept values (1)");
  await server.crash();
  await server.restart();
  const second = new pg.Client({ connectionString: url });
  await second.connect();
  assert.equal((await second.query("select id from kept")).rowCount, 1);
  await second.end();
});
