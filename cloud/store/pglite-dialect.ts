import { setImmediate } from "node:timers/promises";
import { protocol } from "@electric-sql/pglite";
import type { PGlite } from "@electric-sql/pglite";
import { CompiledQuery, PGliteAdapter, PostgresIntrospector, PostgresQueryCompiler } from "kysely";
import type {
  DatabaseConnection,
  DatabaseIntrospector,
  Dialect,
  DialectAdapter,
  Driver,
  Kysely,
  QueryCompiler,
  QueryResult,
} from "kysely";

/*
 * Kysely on the embedded database, made for the one thread that it shares with everything else. Kysely's own dialect sends six
 * messages per statement and has each of them planned anew, which costs three times as much processor; and its statements
 * follow one another without ever letting the event loop turn, so that a queue of them is a standstill of HTTP and MQTT.
 */

const { serialize, messages } = protocol;

/** Statements that stay planned; beyond it the one that was not used for the longest time is forgotten. */
const PREPARED_MAX = 400;
/** Work for the database may keep everything else waiting so long before the event loop turns once. */
const TURN_AFTER_MS = 8;

type Message = Awaited<ReturnType<PGlite["execProtocolStream"]>>[number];

interface Prepared {
  readonly name: string;
  readonly parameterTypes: readonly number[];
  readonly columns: readonly { readonly name: string; readonly read: ((text: string) => unknown) | undefined }[];
}

interface Answer {
  readonly rows: readonly (readonly [column: string, value: unknown])[][];
  /** The command tag without its count, such as `UPDATE`. */
  readonly command: string;
  readonly affected: number;
}

/** `nowMs` is the monotonic clock. */
export function embeddedDialect(pglite: PGlite, nowMs: () => number): Dialect {
  return {
    createAdapter: (): DialectAdapter => new PGliteAdapter(),
    createDriver: (): Driver => new EmbeddedDriver(pglite, nowMs),
    createQueryCompiler: (): QueryCompiler => new PostgresQueryCompiler(),
    createIntrospector: (db: Kysely<unknown>): DatabaseIntrospector => new PostgresIntrospector(db),
  };
}

/** Kysely gives the one connection to one user after the other; the next waits until it is released. */
class EmbeddedDriver implements Driver {
  readonly #connection: EmbeddedConnection;
  readonly #nowMs: () => number;
  #turnedMs: number;
  #busy: PromiseWithResolvers<void> | undefined;
  #closing = false;

  constructor(pglite: PGlite, nowMs: () => number) {
    this.#connection = new EmbeddedConnection(pglite);
    this.#nowMs = nowMs;
    this.#turnedMs = nowMs();
  }

  async init(): Promise<void> {
    await this.#connection.opened();
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    if (this.#closing) this.#connection.refuse();
    this.#busy = Promise.withResolvers();
    return this.#connection;
  }

  async releaseConnection(): Promise<void> {
    this.#busy?.resolve();
    this.#busy = undefined;
    if (this.#nowMs() - this.#turnedMs < TURN_AFTER_MS) return;
    await setImmediate();
    this.#turnedMs = this.#nowMs();
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("begin"));
  }

  async commitTransaction(): Promise<void> {
    await this.#connection.commit();
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("rollback"));
  }

  /** Whoever has the connection now ends what he began; whoever waits for it is refused. */
  async destroy(): Promise<void> {
    this.#closing = true;
    await this.#busy?.promise;
    await this.#connection.close();
  }
}

class EmbeddedConnection implements DatabaseConnection {
  readonly #pglite: PGlite;
  /** By statement, the longest unused first. */
  readonly #prepared = new Map<string, Prepared>();
  #names = 0;
  #refused = false;

  constructor(pglite: PGlite) {
    this.#pglite = pglite;
  }

  async executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    const { rows, affected } = await this.#run(sql, parameters);
    return {
      rows: rows.map((row): unknown => Object.fromEntries(row)).filter(isRowOf<Row>),
      numAffectedRows: BigInt(affected),
    };
  }

  // oxlint-disable-next-line require-yield
  async *streamQuery<Row>(): AsyncIterableIterator<QueryResult<Row>> {
    throw new Error("the embedded database gives all rows at once");
  }

  /** A failed statement has ended the transaction already; the database then answers a commit by rolling back. */
  async commit(): Promise<void> {
    const { command } = await this.#run("commit", []);
    if (command !== "COMMIT") throw new Error("the transaction was rolled back, because a statement of it failed");
  }

  async opened(): Promise<void> {
    await this.#pglite.waitReady;
  }

  refuse(): void {
    this.#refused = true;
  }

  async close(): Promise<void> {
    this.#refused = true;
    if (!this.#pglite.closed) await this.#pglite.close();
  }

  async #run(text: string, parameters: readonly unknown[]): Promise<Answer> {
    if (this.#refused) throw new Error("the database is closed");
    const prepared = this.#prepared.get(text) ?? (await this.#prepare(text));
    // Set anew, so that it is the newest.
    this.#prepared.delete(text);
    this.#prepared.set(text, prepared);
    const values = parameters.map((value, index) => this.#write(value, prepared.parameterTypes[index] ?? 0));
    try {
      const bound = serialize.bind({ statement: prepared.name, values });
      return answerOf(await this.#send([bound, serialize.execute(), serialize.sync()]), prepared);
    } catch (error) {
      if (isStale(error)) this.#prepared.delete(text);
      throw error;
    }
  }

  /** Has the statement parsed under a name of its own, and learns the types of its parameters and columns. */
  async #prepare(text: string): Promise<Prepared> {
    const name = `muto_${++this.#names}`;
    const forgotten = this.#prepared.size < PREPARED_MAX ? [] : [...this.#prepared].slice(0, 1);
    for (const [old] of forgotten) this.#prepared.delete(old);
    const answered = await this.#send([
      ...forgotten.map(([, old]) => serialize.close({ type: "S", name: old.name })),
      serialize.parse({ name, text }),
      serialize.describe({ type: "S", name }),
      serialize.sync(),
    ]);
    const prepared: Prepared = {
      name,
      parameterTypes: answered.find((each) => each instanceof messages.ParameterDescriptionMessage)?.dataTypeIDs ?? [],
      columns: (answered.find((each) => each instanceof messages.RowDescriptionMessage)?.fields ?? []).map((field) => ({
        name: field.name,
        read: this.#reader(field.dataTypeID),
      })),
    };
    this.#prepared.set(text, prepared);
    return prepared;
  }

  async #send(parts: readonly Uint8Array[]): Promise<readonly Message[]> {
    return await this.#pglite.execProtocolStream(Buffer.concat(parts), { syncToFs: false });
  }

  #reader(type: number): Prepared["columns"][number]["read"] {
    const parser = this.#pglite.parsers[type];
    return parser === undefined ? undefined : (text): unknown => parser(text, type);
  }

  #write(value: unknown, type: number): string | null {
    if (value === null || value === undefined) return null;
    const serializer = this.#pglite.serializers[type];
    const text: unknown = serializer === undefined ? value : serializer(value);
    return String(text);
  }
}

function answerOf(answered: readonly Message[], { columns }: Prepared): Answer {
  const rows: Answer["rows"][number][] = [];
  let tag = "";
  for (const message of answered) {
    if (message instanceof messages.DataRowMessage) rows.push(rowOf(message.fields, columns));
    else if (message instanceof messages.CommandCompleteMessage) tag = message.text;
  }
  const words = tag.split(" ");
  const [command = ""] = words;
  const changes = command === "INSERT" || command === "UPDATE" || command === "DELETE" || command === "MERGE";
  return { rows, command, affected: changes ? Number(words.at(-1)) : 0 };
}

function rowOf(fields: readonly (string | null)[], columns: Prepared["columns"]): Answer["rows"][number] {
  return columns.map(({ name, read }, index) => {
    const text = fields[index] ?? null;
    return [name, text === null || read === undefined ? text : read(text)];
  });
}

/** Which columns the rows of a statement have, its author has said; nobody can know better here. */
function isRowOf<Row>(row: unknown): row is Row {
  return typeof row === "object";
}

/** The tables changed under the statement, or it is gone: it has to be prepared anew. */
const STALE = new Set(["0A000", "26000"]);

function isStale(error: unknown): boolean {
  return error instanceof messages.DatabaseError && error.code !== undefined && STALE.has(error.code);
}
