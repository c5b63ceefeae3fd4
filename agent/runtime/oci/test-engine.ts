import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** For tests: something on a Unix socket that answers as an engine never should, or as one that cannot be had here would. */
export interface FakeEngine extends AsyncDisposable {
  readonly socket: string;
  /** `METHOD /path` of every request, without version and query. */
  readonly asked: string[];
}

export type Answering = (request: IncomingMessage, response: ServerResponse, path: string) => void;

export async function fakeEngine(answer: Answering): Promise<FakeEngine> {
  const folder = mkdtempSync(join(tmpdir(), "muto-engine-"));
  const socket = join(folder, "engine.sock");
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = (request.url ?? "").replace(/^\/v1\.41/, "");
    asked.push(`${request.method} ${path.replace(/\?.*$/, "")}`);
    answer(request, response, path);
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    socket,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      rmSync(folder, { recursive: true });
    },
  };
}

/** Answers with JSON. */
export function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}
