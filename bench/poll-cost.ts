import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Session } from "@muto/cli/session";
import { HEADERS, requestTarget } from "@muto/spec";
import { generateKey } from "@muto/trust/keys";
import { createVehicleToken } from "@muto/trust/vehicle-token";
import { sampleOf } from "./watch-process.ts";

/** CPU of the answering process for one poll that brings nothing new, in milliseconds. */
export interface PollCost {
  readonly mutoMs: number;
  /** A bare node:http server that answers the same requests. */
  readonly bareMs: number;
}

/** Each vehicle stays within its rate. */
const VEHICLES = 100;
const POLLS_EACH = 50;
const WARM_UP_EACH = 5;
const AT_ONCE = 8;

interface Poller {
  readonly path: string;
  readonly headers: Record<string, string>;
}

/** The same polls, first at the control plane of process `pid`, then at a bare server. */
export async function pollCost(cloud: { readonly pid: number; readonly session: Session }): Promise<PollCost> {
  const { url } = cloud.session;
  const pollers = await Promise.all(Array.from({ length: VEHICLES }, (_, index) => registered(cloud.session, index)));
  const mutoMs = await costOf(cloud.pid, url, pollers);
  const bare = spawn(process.execPath, [join(import.meta.dirname, "bare-server.ts")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const { pid } = bare;
    if (pid === undefined) throw new Error("the bare server did not start");
    for await (const port of createInterface({ input: bare.stdout })) {
      return { mutoMs, bareMs: await costOf(pid, `http://127.0.0.1:${port}`, pollers) };
    }
    throw new Error("the bare server ended");
  } finally {
    bare.kill("SIGTERM");
  }
}

async function registered(session: Session, index: number): Promise<Poller> {
  const vehicleId = `poller-${index}`;
  const { signer } = await generateKey("ed25519");
  await session.call("createVehicle", { body: { id: vehicleId, publicKey: signer.publicKey.pem } });
  const token = await createVehicleToken(signer, { vehicleId, tenant: "default", nowMs: Date.now() });
  const path = requestTarget("getLatestDesired", { params: {}, query: { vehicleId } });
  const first = await fetch(new URL(path, session.url), { headers: { authorization: `Bearer ${token}` } });
  await first.arrayBuffer();
  const etag = first.headers.get(HEADERS.etag);
  if (first.status !== 200 || etag === null) throw new Error(`the first poll was answered with ${first.status}`);
  return { path, headers: { authorization: `Bearer ${token}`, [HEADERS.ifNoneMatch]: etag } };
}

async function costOf(pid: number, origin: string, pollers: readonly Poller[]): Promise<number> {
  await pollAll(origin, pollers, WARM_UP_EACH);
  const before = await sampleOf(pid);
  await pollAll(origin, pollers, POLLS_EACH);
  const after = await sampleOf(pid);
  return (after.cpuMs - before.cpuMs) / (pollers.length * POLLS_EACH);
}

async function pollAll(origin: string, pollers: readonly Poller[], each: number): Promise<void> {
  const waiting = Array.from({ length: each }, () => pollers).flat();
  const worker = async () => {
    for (let poller = waiting.pop(); poller !== undefined; poller = waiting.pop()) {
      const answer = await fetch(new URL(poller.path, origin), { headers: poller.headers });
      await answer.arrayBuffer();
      if (answer.status !== 304) throw new Error(`a poll was answered with ${answer.status}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
