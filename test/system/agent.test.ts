import assert from "node:assert/strict";
import { test } from "node:test";
import type { SignalLine } from "@muto/spec";
import { SERVES, startFleet, type Fleet } from "./vehicle/fleet.ts";

const PARKED: SignalLine = { kind: "muto.signals/v1", speedMps: 0, yawRateRadps: 0, mode: "manual" };

/** Which set answers on the port, or undefined when nobody does: the truth, whatever the agent says. */
async function answering(fleet: Fleet): Promise<string | undefined> {
  try {
    const response = await fetch(`http://127.0.0.1:${fleet.ports.control}/`, { signal: AbortSignal.timeout(2_000) });
    return await response.text();
  } catch {
    return undefined;
  }
}

test("a vehicle enrols, converges, follows an upgrade, and goes back by itself from a release that never becomes ready", async () => {
  await using fleet = await startFleet();
  fleet.say(PARKED);
  const good = await fleet.release({ version: "1.0.0", program: SERVES });
  const better = await fleet.release({ version: "1.1.0", program: SERVES });
  const silent = await fleet.release({ version: "2.0.0", program: "setInterval(() => {}, 1000);" });
  await fleet.assign(good);
  const agent = await fleet.startAgent();
  const is = (sequence: number, status: string) => (report: { sequence: number; status: string }) =>
    report.sequence === sequence && report.status === status;
  try {
    await fleet.cloud.reported(is(1, "converged"));
    assert.equal(await answering(fleet), good.manifestDigest);

    await fleet.assign(better);
    const upgraded = await fleet.cloud.reported(is(2, "converged"));
    assert.equal(await answering(fleet), better.manifestDigest);
    assert.ok(upgraded.timings.readinessSec !== undefined && upgraded.timings.applySec !== undefined);

    await fleet.assign(silent);
    const returned = await fleet.cloud.reported(is(3, "rolled_back"));
    assert.deepEqual(returned.reasonCodes, ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"]);
    assert.equal(returned.committed?.manifestDigest, better.manifestDigest);
    assert.equal(await answering(fleet), better.manifestDigest);
  } catch (error) {
    throw new Error(`the agent said:\n${agent.log.slice(-40).join("\n")}`, { cause: error });
  }
  assert.equal(await agent.stop(), 0);
  assert.equal(await answering(fleet), better.manifestDigest, "H2: the stack does not depend on the agent");
});
