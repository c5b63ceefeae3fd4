import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { describe, test } from "node:test";
import type { Probe } from "@muto/spec";
import type { Instance, InstanceState, ProbeSeen } from "../ports.ts";
import { processProber } from "./prober.ts";

const RUNNING: InstanceState = { kind: "running", pid: 1, supervised: true };
const ENDED: InstanceState = { kind: "ended", requested: false, code: 0, signal: null, atMs: 0 };

const instance = (state: InstanceState): Instance => ({
  instanceId: "i",
  set: "s",
  workload: "w",
  configHash: "c",
  bootId: "b",
  startedAtMs: 0,
  isolation: "full",
  state,
});
const base = { name: "p", workload: "w", liveness: false };
const http = (port: number, path: string, status = 200): Probe => ({ ...base, kind: "http", port, path, status });
const tcp = (port: number): Probe => ({ ...base, kind: "tcp", port });
const log = (text: string, seen: boolean): Probe => ({ ...base, kind: "log", text, seen });

/** The computer's own: not every one speaks both families. */
const loopback = (networkInterfaces()["lo"] ?? []).map(({ address }) => address);

/** Output in which "up" was seen, "error" was not, and of anything else nothing is known. */
const prober = processProber({
  saw: async (_, text) => (text === "up" ? true : text === "error" ? false : null),
});
const never = new AbortController().signal;
const look = (probe: Probe, state: InstanceState | undefined) => prober.look(probe, state && instance(state), never);

/** `wrong-status 503 of 200` */
function says({ met, problem, seen, required }: ProbeSeen, expected: string): void {
  assert.equal(met, problem === null);
  assert.equal(`${problem ?? "met"} ${seen} of ${required}`, expected);
}

async function listening(server: Server, host: string): Promise<number> {
  server.listen(0, host);
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

describe("probes", () => {
  test("process: running or not", async () => {
    const probe: Probe = { ...base, kind: "process" };
    says(await look(probe, RUNNING), "met true of true");
    says(await look(probe, ENDED), "not-running false of true");
    says(await look(probe, undefined), "not-running null of true");
  });

  test("log: seen, never seen, and what cannot be known meets nothing", async () => {
    says(await look(log("up", true), RUNNING), "met true of true");
    says(await look(log("up", false), RUNNING), "text-present true of false");
    says(await look(log("error", false), RUNNING), "met false of false");
    says(await look(log("error", true), ENDED), "text-missing false of true");
    says(await look(log("unknown", true), RUNNING), "not-seen null of true");
    says(await look(log("unknown", false), RUNNING), "not-seen null of false");
  });

  for (const host of loopback) {
    test(`http and tcp on ${host}: the status decides, a redirect is a status, and endless bodies are not read`, async () => {
      const server = createHttpServer((request, response) => {
        if (request.url === "/moved") response.writeHead(302, { location: "/ready" }).end();
        else if (request.url === "/endless") response.writeHead(200).write("x".repeat(1000));
        else response.writeHead(request.url === "/ready" ? 200 : 503).end();
      });
      const port = await listening(server, host);
      says(await look(http(port, "/ready"), RUNNING), "met 200 of 200");
      says(await look(http(port, "/endless"), RUNNING), "met 200 of 200");
      says(await look(http(port, "/starting"), RUNNING), "wrong-status 503 of 200");
      says(await look(http(port, "/moved"), RUNNING), "wrong-status 302 of 200");
      says(await look(http(port, "/moved", 302), RUNNING), "met 302 of 302");
      says(await look(tcp(port), RUNNING), "met true of true");
      // Whoever holds the port now, it is not the workload.
      says(await look(http(port, "/ready"), ENDED), "not-running null of 200");
      says(await look(tcp(port), ENDED), "not-running null of true");
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      says(await look(http(port, "/ready"), RUNNING), "unreachable null of 200");
      says(await look(tcp(port), RUNNING), "unreachable false of true");
    });
  }

  test("a vehicle whose workloads listen on an address of their own is looked at there alone", async () => {
    const server = createServer((socket) => socket.destroy());
    const port = await listening(server, "127.0.0.2");
    const own = processProber({ saw: async () => null }, "127.0.0.2");
    says(await own.look(tcp(port), instance(RUNNING), never), "met true of true");
    says(await look(tcp(port), RUNNING), "unreachable false of true");
    server.close();
    await once(server, "close");
  });

  test("a server that accepts and never answers is not waited for", async () => {
    const server = createServer(() => {});
    const port = await listening(server, "127.0.0.1");
    const over = new AbortController();
    server.once("connection", () => over.abort());
    says(await prober.look(http(port, "/"), instance(RUNNING), over.signal), "unreachable null of 200");
    says(await prober.look(tcp(port), instance(RUNNING), over.signal), "not-seen null of null");
    server.close();
    await once(server, "close");
  });

  test("an answer that is no HTTP is no answer", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => {}).resume();
      socket.end("hello\r\n\r\n");
    });
    const port = await listening(server, "127.0.0.1");
    says(await look(http(port, "/"), RUNNING), "unreachable null of 200");
    server.close();
    await once(server, "close");
  });
});
