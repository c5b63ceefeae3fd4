import { chmod, lstat, unlink } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { ChangeInProgress } from "@muto/spec";
import { LINE_BYTES_MAX, parseLine, type OnLine } from "./line.ts";

export interface SocketProviderOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onLine: OnLine;
}

export interface SocketProvider extends AsyncDisposable {
  /** Writes the change to every client, and to those that come later: it is a state, not an event. */
  tell(change: ChangeInProgress): void;
}

const CLIENTS_MAX = 16;
const LINES_PER_SEC_MAX = 500;
const UNREAD_BYTES_MAX = 65_536;
const SOCKET_MODE = 0o660;

/**
 * A Unix socket on which the vehicle's own software writes lines of signals and reads lines of `ChangeInProgress`. All
 * clients of one socket count as one gateway: the newest line wins, so sources that must be heard each for itself (H6)
 * need a provider each. A client that floods, writes endless lines or does not read is cut off; what it said goes stale.
 */
export async function openSocketProvider(options: SocketProviderOptions): Promise<SocketProvider> {
  const { path, logger } = options;
  await removeAbandoned(path);
  const clients = new Set<Socket>();
  let current: ChangeInProgress | undefined;
  const server = createServer((client) => {
    clients.add(client);
    client.on("close", () => clients.delete(client));
    client.on("error", () => client.destroy());
    hearClient(client, options);
    if (current !== undefined) write(client, current);
  });
  server.maxConnections = CLIENTS_MAX;
  server.on("drop", () => logger.warn("signal socket refuses a client", { path, clientsMax: CLIENTS_MAX }));
  await listen(server, path);
  await chmod(path, SOCKET_MODE);
  return {
    tell: (change) => {
      current = change;
      for (const client of clients) write(client, change);
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const client of clients) client.destroy();
      await closed;
    },
  };
}

function hearClient(client: Socket, { path, clock, logger, onLine }: SocketProviderOptions): void {
  const cut = (reason: string) => {
    logger.warn("signal socket cuts a client off", { path, reason });
    client.destroy();
    onLine("malformed");
  };
  let rest: Buffer = Buffer.alloc(0);
  let second = { startedMs: clock.monotonicMs(), lines: 0 };
  client.on("data", (chunk: Buffer) => {
    const lines = splitLines(Buffer.concat([rest, chunk]));
    rest = lines.rest;
    const nowMs = clock.monotonicMs();
    if (nowMs - second.startedMs >= 1_000) second = { startedMs: nowMs, lines: 0 };
    for (const line of lines.whole) {
      second.lines += 1;
      if (second.lines > LINES_PER_SEC_MAX) return cut("too-many-lines");
      onLine(parseLine(line));
    }
    if (rest.byteLength > LINE_BYTES_MAX) cut("line-too-long");
  });
}

function splitLines(bytes: Buffer): { readonly whole: readonly Buffer[]; readonly rest: Buffer } {
  const whole: Buffer[] = [];
  let from = 0;
  for (let end = bytes.indexOf("\n"); end !== -1; end = bytes.indexOf("\n", from)) {
    whole.push(bytes.subarray(from, end));
    from = end + 1;
  }
  // Copied, so that a short rest does not keep a large chunk alive.
  return { whole, rest: Buffer.from(bytes.subarray(from)) };
}

function write(client: Socket, change: ChangeInProgress): void {
  if (client.writableLength > UNREAD_BYTES_MAX) client.destroy();
  else if (client.writable) client.write(`${JSON.stringify(change)}\n`);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** A socket left over by an agent that was killed; one on which somebody listens stays, and then listening fails. */
async function removeAbandoned(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() === true && !(await answers(path))) await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
}
