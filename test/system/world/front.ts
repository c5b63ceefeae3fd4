import { createServer, request } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { OPERATIONS, parseJson, parseLatestDesired } from "@muto/spec";
import type { AssignmentOffer } from "@muto/spec";

/**
 * A hostile machine between one vehicle and the control plane: passes everything on as it is, keeps every assignment that
 * it sees, and answers polls with whatever it likes instead.
 */
export interface Front extends AsyncDisposable {
  readonly url: string;
  /** Assignments that went through, oldest first. */
  readonly seen: readonly AssignmentOffer[];
  /** From now on every poll gets this answer; undefined is honest again. */
  serve(offer: AssignmentOffer | undefined): void;
}

const BOUNDS = { bytesMax: 1_048_576, depthMax: 32 };

export async function openFront(target: string): Promise<Front> {
  const seen: AssignmentOffer[] = [];
  let served: AssignmentOffer | undefined;
  const latest = OPERATIONS.getLatestDesired.path;
  const server = createServer((near, answer) => {
    const isPoll = near.url?.startsWith(latest) === true;
    if (isPoll && served !== undefined) {
      const body = { data: { assignment: served }, timestamp: new Date().toISOString() };
      answer.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
      return;
    }
    void passOn(target, near, answer).then((body) => {
      const offer = isPoll ? offerIn(body) : undefined;
      if (offer !== undefined) seen.push(offer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the front listens on no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    seen,
    serve: (offer) => {
      served = offer;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** The body of the answer; empty when there was none. */
function passOn(target: string, near: IncomingMessage, answer: ServerResponse): Promise<Buffer> {
  return new Promise((resolve) => {
    const { method, headers } = near;
    const far = request(new URL(near.url ?? "/", target), {
      method,
      headers: { ...headers, host: new URL(target).host },
    });
    const fail = () => {
      answer.destroy();
      resolve(Buffer.alloc(0));
    };
    far.on("error", fail);
    near.on("error", fail);
    far.on("response", (response) => {
      const chunks: Buffer[] = [];
      answer.writeHead(response.statusCode ?? 502, response.headers);
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        answer.write(chunk);
      });
      response.on("error", fail);
      response.on("end", () => {
        answer.end();
        resolve(Buffer.concat(chunks));
      });
    });
    near.pipe(far);
  });
}

function offerIn(body: Buffer): AssignmentOffer | undefined {
  const json = parseJson(body, BOUNDS);
  if (!json.ok || typeof json.value !== "object" || json.value === null || !("data" in json.value)) return undefined;
  const parsed = parseLatestDesired(json.value.data);
  return parsed.ok && parsed.value.assignment !== null ? parsed.value.assignment : undefined;
}
