import { chmod, lstat, unlink } from "node:fs/promises";
import { createServer, connect } from "node:net";
import { join } from "node:path";
import type { Logger } from "@muto/kit/logger";
import { parseAgentView, parseJson, type AgentView } from "@muto/spec";

export const VIEW_SOCKET = "view.sock";

const CLIENTS_MAX = 4;
const ANSWER_BYTES_MAX = 1_048_576;
const ANSWER_MS_MAX = 5_000;

/**
 * Tells whoever connects what the agent sees, once, and hangs up. It reads nothing, so there is nothing to ask it to do; the
 * state folder belongs to the agent alone, and so does the socket in it. One that cannot be opened is no reason not to run.
 */
export async function serveView(
  { stateDir, logger }: { readonly stateDir: string; readonly logger: Logger },
  view: () => Promise<AgentView>,
): Promise<AsyncDisposable> {
  const path = join(stateDir, VIEW_SOCKET);
  // The state is locked: a socket that lies here is of an agent that was killed.
  if ((await lstat(path).catch(() => undefined))?.isSocket() === true) await unlink(path);
  const server = createServer((client) => {
    client.on("error", () => client.destroy());
    view().then(
      (document) => client.end(`${JSON.stringify(document)}\n`),
      (error: unknown) => {
        logger.warn("view cannot be given", { error });
        client.destroy();
      },
    );
  });
  server.maxConnections = CLIENTS_MAX;
  const opened = new Promise<boolean>((resolve) => {
    server.once("error", (error) => {
      logger.warn("no view for a technician", { path, error });
      resolve(false);
    });
    server.listen(path, () => resolve(true));
  });
  if (await opened) await chmod(path, 0o600);
  server.unref();
  return {
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}

/** What a running agent says; undefined when none runs here, or it says nothing that can be understood in time. */
export function askForView(stateDir: string): Promise<AgentView | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const client = connect(join(stateDir, VIEW_SOCKET));
    const give = (view: AgentView | undefined) => {
      client.destroy();
      resolve(view);
    };
    client.setTimeout(ANSWER_MS_MAX, () => give(undefined));
    client.on("error", () => give(undefined));
    client.on("data", (chunk: Buffer) => {
      bytes += chunk.byteLength;
      if (bytes > ANSWER_BYTES_MAX) return give(undefined);
      chunks.push(chunk);
      return undefined;
    });
    client.on("end", () => {
      const json = parseJson(Buffer.concat(chunks));
      const parsed = json.ok ? parseAgentView(json.value) : undefined;
      give(parsed?.ok === true ? parsed.value : undefined);
    });
  });
}
