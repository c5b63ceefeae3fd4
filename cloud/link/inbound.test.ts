import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import { TOPICS } from "@muto/spec";
import { createInbound, type Inbox } from "./inbound.ts";

const ENVELOPE = {
  payloadType: "application/vnd.muto.reconcile-report.v1+json",
  signatures: [{ keyid: "a".repeat(64), sig: "AAAA" }],
};
const topic = (vehicleId: string) => TOPICS.reconcileReports.format({ tenant: "default", vehicleId });
const payload = (bytes: number) =>
  Buffer.from(JSON.stringify({ ...ENVELOPE, payload: Buffer.alloc(bytes).toString("base64") }));

function inboxOf(stored: Map<string, number>): Inbox {
  return {
    reconcile: async (vehicleId, envelopes) =>
      void stored.set(vehicleId, (stored.get(vehicleId) ?? 0) + envelopes.length),
    health: async () => {},
    presence: async () => {},
  };
}

test("one vehicle that floods takes neither the memory nor the others' places", async () => {
  const stored = new Map<string, number>();
  const inbound = createInbound({
    tenant: "default",
    inbox: inboxOf(stored),
    clock: systemClock(),
    logger: silentLogger,
  });
  const large = payload(150_000);
  for (let count = 0; count < 500; count++) inbound.receive(topic("loud"), large);
  inbound.receive(topic("quiet"), payload(100));
  await until(() => stored.has("quiet"));
  await inbound[Symbol.asyncDispose]();
  assert.equal(stored.get("loud"), 32);
  assert.equal(stored.get("quiet"), 1);
  assert.equal(inbound.dropped, 468);
});

test("many vehicles together take only so many bytes between two flushes", async () => {
  const stored = new Map<string, number>();
  const inbound = createInbound({
    tenant: "default",
    inbox: inboxOf(stored),
    clock: systemClock(),
    logger: silentLogger,
  });
  const large = payload(180_000);
  for (let count = 0; count < 400; count++) inbound.receive(topic(`vehicle-${count}`), large);
  await until(() => stored.size > 0);
  await inbound[Symbol.asyncDispose]();
  const total = [...stored.values()].reduce((sum, count) => sum + count, 0);
  assert.equal(total + inbound.dropped, 400);
  assert.ok(total * large.byteLength <= 64 * 1024 * 1024 && total > 150);
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await systemClock().sleep(5);
}
