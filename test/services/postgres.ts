import { execFile, spawn } from "node:child_process";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { programOf } from "./install.ts";

const execute = promisify(execFile);
const READY_TIMEOUT_MS = 30_000;

/** A PostgreSQL 15 server of our own, in a temporary folder, on a free loopback port, with durability as shipped. */
export interface PostgresServer extends AsyncDisposable {
  readonly port: number;
  /** URL of a fresh, empty database. */
  createDatabase(): Promise<string>;
  /** Ends the server without a clean shutdown, as a crash would; connections die. */
  crash(): Promise<void>;
  restart(): Promise<void>;
}

export async function startPostgres(): Promise<PostgresServer> {
  const binary = await programOf({
    packageName: "postgresql-15",
    paths: [
      "/usr/lib/postgresql/15/bin/postgres",
      "/usr/lib/postgresql/16/bin/postgres",
      "/usr/lib/postgresql/17/bin/postgres",
    ],
  });
  const folder = await mkdtemp(join(tmpdir(), "muto-pg-"));
  const owner = await unprivilegedOwner(folder);
  const port = await freePort();
  const data = join(folder, "data");
  await execute(
    join(dirname(binary), "initdb"),
    ["-D", data, "-U", "muto", "-A", "trust", "-E", "UTF8", "--locale=C"],
    owner,
  );
  const start = async () => {
    const child = spawn(binary, ["-D", data, "-p", String(port), "-k", folder, "-c", "listen_addresses=127.0.0.1"], {
      ...owner,
      stdio: "ignore",
    });
    await ready(port);
    return child;
  };
  let server = await start();
  const ended = (signal: NodeJS.Signals) =>
    new Promise<void>((resolve) => {
      server.once("exit", () => resolve());
      server.kill(signal);
    });
  let databases = 0;
  return {
    port,
    createDatabase: async () => {
      const name = `muto_${++databases}`;
      const client = new pg.Client({ connectionString: urlOf(port, "postgres") });
      await client.connect();
      await client.query(`create database ${name}`);
      await client.end();
      return urlOf(port, name);
    },
    crash: async () => await ended("SIGQUIT"),
    restart: async () => {
      server = await start();
    },
    [Symbol.asyncDispose]: async () => {
      if (server.exitCode === null && server.signalCode === null) await ended("SIGINT");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function urlOf(port: number, database: string): string {
  return `postgres://muto@127.0.0.1:${port}/${database}`;
}

/** PostgreSQL refuses to run as root, so root hands the folder to the account that the package made. */
async function unprivilegedOwner(folder: string): Promise<{ readonly uid?: number; readonly gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  const id = async (flag: string) => Number((await execute("id", [flag, "postgres"])).stdout.trim());
  const [uid, gid] = [await id("-u"), await id("-g")];
  await chown(folder, uid, gid);
  return { uid, gid };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}

async function ready(port: number): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const client = new pg.Client({ connectionString: urlOf(port, "postgres") });
    try {
      await client.connect();
      await client.query("select 1");
      await client.end();
      return;
    } catch (cause) {
      await client.end().catch(() => {});
      if (performance.now() > deadline) throw new Error("PostgreSQL did not become ready", { cause });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
