import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parseAssignment, parseJson, parseTrustFile } from "@muto/spec";
import type { Assignment, AssignmentOffer, ReasonCode } from "@muto/spec";
import { signAssignment } from "@muto/trust/documents";
import { generateKey, parsePrivateKey } from "@muto/trust/keys";
import type { Signer } from "@muto/trust/keys";
import { desire, startCloud } from "./world/cloud.ts";
import type { Cloud } from "./world/cloud.ts";
import { openFront } from "./world/front.ts";
import { publish } from "./world/publish.ts";
import type { Published } from "./world/publish.ts";
import { converge, vehicleOn } from "./world/settle.ts";
import { createVehicle, reported, runs } from "./world/vehicle.ts";
import type { Vehicle, VehicleSpec } from "./world/vehicle.ts";

const DAY_MS = 24 * 3_600_000;

/* What a real agent does not believe, and what does not fit it: nothing of it is unpacked, and what runs goes on running. */
describe("trust and fit", { concurrency: 3 }, () => {
  let cloud: Cloud;
  let old: Published;
  let next: Published;

  before(async () => {
    cloud = await startCloud();
    const compatibility = { vehicleModels: ["vehicle-v3"], os: ["debian-12"], rosDistro: ["humble"] };
    old = await publish(cloud, { version: "1.0.0", compatibility });
    next = await publish(cloud, { version: "2.0.0", compatibility });
  });

  after(async () => {
    await cloud[Symbol.asyncDispose]();
  });

  test("VERIFY_SIGNATURE_FAILED: a release that the vehicle's own trust file does not know is not even fetched", async () => {
    const trustFile = join(cloud.folder, "other-trust.json");
    writeFileSync(trustFile, JSON.stringify(await trustInAnotherRelease(cloud)));
    await using vehicle = await createVehicle(cloud, { id: "distrustful", config: { trustFile } });
    vehicle.startAgent();
    const revision = await desire(cloud, next, [vehicle]);
    const codes = ["VERIFY_SIGNATURE_FAILED"] as const;
    const { evidence, stack } = await reported(cloud, vehicle, { status: "failed", codes, revision });
    assert.deepEqual(
      evidence.map((item) => item.kind === "verification" && item.digest),
      [next.manifestDigest],
    );
    assert.equal(stack, null);
    assert.deepEqual(filesBelow(vehicle), []);
    assert.deepEqual(vehicle.running(), []);
    await vehicle.stopAgent();
    vehicle.configure({ trustFile: cloud.trustFile });
    vehicle.startAgent();
    await reported(cloud, vehicle, { status: "converged", revision });
    await runs(cloud, vehicle, next);
  });

  test("VERIFY_SIGNATURE_FAILED: an assignment that somebody else signed changes nothing", async () => {
    await using front = await openFront(cloud.url);
    await using vehicle = await vehicleOn(cloud, old, { id: "lied-to", config: { cloud: { url: front.url } } });
    const before = vehicle.running();
    const { offer, assignment } = newest(front.seen);
    const { signer } = await generateKey("ed25519");
    const wanted = { ...assignment, sequence: assignment.sequence + 1, stack: stackOf(next) };
    front.serve(await signedAnew(offer, wanted, signer));
    const { evidence, desiredStateRevision } = await reported(cloud, vehicle, {
      status: "failed",
      codes: ["VERIFY_SIGNATURE_FAILED"],
    });
    assert.equal(desiredStateRevision, null, "a forged document is nobody's failure");
    assert.equal(evidence[0]?.kind, "verification");
    assert.deepEqual(vehicle.running(), before);
    front.serve(undefined);
    await converge(cloud, vehicle, next);
  });

  async function refusesToFit(
    spec: VehicleSpec,
    code: ReasonCode,
    fact: { readonly fact: string; readonly required: readonly string[]; readonly seen: string },
  ): Promise<void> {
    await using vehicle = await createVehicle(cloud, {
      ...spec,
      tags: { model: "vehicle-v3", region: "eu", os: "debian-12", rosDistro: "humble" },
    });
    const revision = await desire(cloud, next, [vehicle]);
    vehicle.startAgent();
    const { evidence } = await reported(cloud, vehicle, { status: "failed", codes: [code], revision });
    assert.deepEqual(evidence, [{ kind: "compatibility", reasonCode: code, ...fact }]);
    assert.deepEqual(filesBelow(vehicle, "sets"), []);
    for (const digest of next.archiveDigests) assert.ok(!filesBelow(vehicle, "content").includes(digest.slice(7)));
    assert.deepEqual(vehicle.running(), []);
    await vehicle.stopAgent();
    vehicle.configure({});
    vehicle.startAgent();
    await reported(cloud, vehicle, { status: "converged", revision });
    await runs(cloud, vehicle, next);
  }

  test("INCOMPATIBLE_MODEL: the vehicle's own model decides, not the tag in the inventory", async () => {
    await refusesToFit({ id: "other-model", config: { vehicle: { model: "vehicle-v9" } } }, "INCOMPATIBLE_MODEL", {
      fact: "model",
      required: ["vehicle-v3"],
      seen: "vehicle-v9",
    });
  });

  test("INCOMPATIBLE_OS: the vehicle's own operating system decides", async () => {
    await refusesToFit({ id: "other-os", config: { vehicle: { os: "ubuntu-20.04" } } }, "INCOMPATIBLE_OS", {
      fact: "os",
      required: ["debian-12"],
      seen: "ubuntu-20.04",
    });
  });

  test("INCOMPATIBLE_ROS: the vehicle's own ROS distribution decides", async () => {
    await refusesToFit({ id: "other-ros", config: { vehicle: { rosDistro: "jazzy" } } }, "INCOMPATIBLE_ROS", {
      fact: "rosDistro",
      required: ["humble"],
      seen: "jazzy",
    });
  });

  test("DESIRED_STATE_REJECTED: replayed, misdirected and expired assignments are refused, and the stack goes on", async () => {
    await using front = await openFront(cloud.url);
    const config = { cloud: { url: front.url } };
    await using other = await createVehicle(cloud, { id: "somebody-else", config });
    await desire(cloud, next, [other]);
    other.startAgent();
    await reported(cloud, other, { status: "converged" });
    const misdirected = newest(front.seen).offer;
    await using vehicle = await vehicleOn(cloud, old, { id: "replayed", config });
    const outdated = newest(front.seen).offer;
    const before = await converge(cloud, vehicle, next);
    const { offer, assignment } = newest(front.seen);
    const online = parsePrivateKey(readFileSync(join(cloud.dataDir, "keys", "assignment.key"), "utf8"));
    assert.ok(online.ok);
    const expired = await signedAnew(
      offer,
      {
        ...assignment,
        sequence: assignment.sequence + 1,
        stack: stackOf(old),
        issuedAt: new Date(Date.now() - 40 * DAY_MS).toISOString(),
        acceptBefore: new Date(Date.now() - 10 * DAY_MS).toISOString(),
      },
      online.signer,
    );
    for (const [served, problem] of [
      [outdated, "sequence-too-old"],
      [misdirected, "wrong-vehicle"],
      [expired, "expired"],
    ] as const) {
      front.serve(served);
      const refused = await reported(cloud, vehicle, {
        status: "failed",
        codes: ["DESIRED_STATE_REJECTED"],
        evidence: (item) => item.kind === "verification" && item.problem === problem,
      });
      assert.equal(refused.stack?.version, next.version);
      assert.deepEqual(vehicle.running(), before, problem);
      front.serve(undefined);
      await reported(cloud, vehicle, { status: "converged", after: refused });
    }
    await converge(cloud, vehicle, old);
  });
});

function newest(seen: readonly AssignmentOffer[]): {
  readonly offer: AssignmentOffer;
  readonly assignment: Assignment;
} {
  const offer = seen.at(-1);
  assert.ok(offer !== undefined);
  const json = parseJson(Buffer.from(offer.envelope.payload, "base64"));
  assert.ok(json.ok);
  const assignment = parseAssignment(json.value);
  assert.ok(assignment.ok);
  return { offer, assignment: assignment.value };
}

async function signedAnew(offer: AssignmentOffer, assignment: Assignment, signer: Signer): Promise<AssignmentOffer> {
  return { ...offer, envelope: await signAssignment(assignment, [signer]) };
}

function stackOf({ name, version, manifestDigest }: Published): Assignment["stack"] {
  return { name, version, manifestDigest };
}

/** The control plane's trust file with another release key. */
async function trustInAnotherRelease(cloud: Cloud) {
  const parsed = parseTrustFile(JSON.parse(readFileSync(cloud.trustFile, "utf8")));
  assert.ok(parsed.ok);
  const { publicKey } = (await generateKey("ed25519")).signer;
  const { keyid, algorithm, pem } = publicKey;
  const release = { threshold: 1, keys: [{ keyid, algorithm, publicKey: pem }] };
  return { ...parsed.value, roles: { ...parsed.value.roles, release } };
}

/** Names of everything that the vehicle has downloaded (content) and unpacked (sets). */
function filesBelow(vehicle: Vehicle, ...folders: readonly ("content" | "sets")[]): readonly string[] {
  return (folders.length === 0 ? (["content", "sets"] as const) : folders).flatMap((folder) =>
    existsSync(join(vehicle.stateDir, folder)) ? readdirSync(join(vehicle.stateDir, folder)) : [],
  );
}
