import { open } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import type { Clock } from "@muto/kit/clock";
import { parseRunState, type RunState } from "./run-records.ts";
import { within } from "./within.ts";

/**
 * Protocols of supervisors that this agent speaks. A supervisor outlives agents, so every version that was ever shipped
 * stays in the range, and a supervisor newer than the agent is spoken to in the newest version that both know.
 */
const PROTOCOL_MIN = 1;
const PROTOCOL_MAX = 1;

const LINK_LIMITS = { connectMs: 2_000, lineBytesMax: 65_536 } as const;

/** A connection to one supervisor. Closing it tells the supervisor nothing and changes nothing (H2). */
export interface SupervisorLink {
  /** The newest state that the supervisor told of its own accord or when asked. */
  readonly state: RunState;
  ask(request: SupervisorRequest): Promise<SupervisorAnswer>;
  /** Resolves when the connection is gone: the supervisor died, or was released. */
  readonly closed: Promise<void>;
  readonly isClosed: boolean;
  close(): void;
}

export type SupervisorRequest =
  | { readonly op: "status" }
  | { readonly op: "stop" }
  | { readonly op: "forget" }
  | { readonly op: "seen"; readonly text: string };

/** `silent`: no answer within the limit, or no version in common, or the connection is gone. */
export type SupervisorAnswer =
  | { readonly kind: "answered"; readonly ok: boolean; readonly seen: boolean | null }
  | { readonly kind: "silent" };

export interface LinkOptions {
  readonly folder: string;
  readonly clock: Clock;
  readonly answerLimitMs: number;
  readonly onChange: () => void;
}

/** Undefined when nobody greets within the limit, or says something that is no greeting of a supervisor. */
export async function linkToSupervisor({
  folder,
  clock,
  answerLimitMs,
  onChange,
}: LinkOptions): Promise<SupervisorLink | undefined> {
  const socket = await connected(folder, clock);
  if (socket === undefined) return undefined;
  const waiting = new Map<number, (answer: SupervisorAnswer) => void>();
  const greeted = Promise.withResolvers<Greeting | undefined>();
  let state: RunState | undefined;
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const learn = (value: unknown) => {
    const told = parseRunState(value);
    if (told !== undefined) state = told;
    return told;
  };
  readLines(socket, (line) => {
    if ("muto" in line) greeted.resolve(learn(line["state"]) && greetingOf(line));
    else if ("event" in line) {
      learn(line["state"]);
      onChange();
    } else if (typeof line["id"] === "number") {
      learn(line["state"]);
      const seen = typeof line["seen"] === "boolean" ? line["seen"] : null;
      waiting.get(line["id"])?.({ kind: "answered", ok: line["ok"] === true, seen });
    }
  });
  void closed.then(() => {
    greeted.resolve(undefined);
    for (const answer of waiting.values()) answer({ kind: "silent" });
    onChange();
  });
  const greeting = await within(clock, LINK_LIMITS.connectMs, greeted.promise);
  if (greeting === undefined || state === undefined) {
    socket.destroy();
    return undefined;
  }
  let lastId = 0;
  return {
    get state() {
      if (state === undefined) throw new Error("a link begins with a state");
      return state;
    },
    ask: async (request) => {
      if (greeting.protocol === undefined || socket.destroyed) return { kind: "silent" };
      const id = ++lastId;
      const answered = Promise.withResolvers<SupervisorAnswer>();
      waiting.set(id, answered.resolve);
      socket.write(`${JSON.stringify({ protocol: greeting.protocol, id, ...request })}\n`);
      const answer = await within(clock, answerLimitMs, answered.promise);
      waiting.delete(id);
      return answer ?? { kind: "silent" };
    },
    closed,
    get isClosed() {
      return socket.destroyed;
    },
    close: () => socket.destroy(),
  };
}

interface Greeting {
  /** The newest version that both know. */
  readonly protocol: number | undefined;
}

function greetingOf(line: Record<string, unknown>): Greeting {
  const { protocolMin, protocolMax } = line;
  if (typeof protocolMin !== "number" || typeof protocolMax !== "number") return { protocol: undefined };
  const protocol = Math.min(PROTOCOL_MAX, protocolMax);
  return { protocol: protocol >= Math.max(PROTOCOL_MIN, protocolMin) ? protocol : undefined };
}

/**
 * The path of a Unix socket may have no more than some hundred characters, that of the agent's state may be longer: the way
 * leads through a descriptor of the folder.
 */
async function connected(path: string, clock: Clock): Promise<Socket | undefined> {
  let folder;
  try {
    folder = await open(path, "r");
  } catch {
    return undefined;
  }
  try {
    const socket = connect(`/proc/self/fd/${folder.fd}/s`);
    const outcome = new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("close", () => resolve(false));
    });
    // What goes wrong on the connection ends it, and the end is what is looked at.
    socket.on("error", () => {});
    if ((await within(clock, LINK_LIMITS.connectMs, outcome)) === true) return socket;
    socket.destroy();
    return undefined;
  } finally {
    await folder.close();
  }
}

function readLines(socket: Socket, onLine: (line: Record<string, unknown>) => void): void {
  let pending = "";
  socket.setEncoding("utf8");
  socket.on("data", (text: string) => {
    const lines = (pending + text).split("\n");
    pending = lines.pop() ?? "";
    for (const line of lines) {
      const value = asObject(line);
      if (value === undefined) return void socket.destroy();
      onLine(value);
    }
    if (pending.length > LINK_LIMITS.lineBytesMax) socket.destroy();
  });
}

function asObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
