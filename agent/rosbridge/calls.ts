import type { Clock } from "@muto/kit/clock";
import type { ToServer } from "./protocol.ts";

export interface ServiceRequest {
  readonly service: string;
  readonly type: string;
  readonly args: object;
  readonly timeoutMs: number;
}

export type ServiceAnswer =
  | { readonly ok: true; readonly values: unknown }
  /** `refused`: the server says that the service is missing or failed. */
  | { readonly ok: false; readonly problem: "not-connected" | "timeout" | "refused" | "too-many" };

/** Service calls that wait for their answer, on one connection after another. */
export interface Calls {
  /** Never rejects; over when the answer, the time limit or the abort comes. */
  begin(request: ServiceRequest, send: (message: ToServer) => void, signal: AbortSignal): Promise<ServiceAnswer>;
  answer(id: string, answer: ServiceAnswer): void;
  /** The connection is gone, and with it every answer. */
  loseAll(): void;
}

const CALLS_MAX = 64;

export function createCalls(clock: Clock): Calls {
  const waiting = new Map<string, (answer: ServiceAnswer) => void>();
  let made = 0;
  return {
    begin: async ({ timeoutMs, ...request }, send, signal) => {
      if (waiting.size >= CALLS_MAX) return { ok: false, problem: "too-many" };
      const id = `call:${(made += 1)}`;
      const answered = Promise.withResolvers<ServiceAnswer>();
      const over = new AbortController();
      waiting.set(id, answered.resolve);
      send({ op: "call_service", id, ...request });
      const late = clock.sleep(timeoutMs, AbortSignal.any([signal, over.signal]));
      const timedOut = late.then((): ServiceAnswer => ({ ok: false, problem: "timeout" }));
      const answer = await Promise.race([answered.promise, timedOut]);
      waiting.delete(id);
      over.abort();
      return answer;
    },
    answer: (id, answer) => waiting.get(id)?.(answer),
    loseAll: () => {
      for (const answer of waiting.values()) answer({ ok: false, problem: "not-connected" });
    },
  };
}
