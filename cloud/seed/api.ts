import { createHash } from "node:crypto";
import { silentLogger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import { requestTarget, OPERATIONS } from "@muto/spec";
import type { OperationId, Operations, StackManifest } from "@muto/spec";
import { createValidation } from "@muto/spec/validation";
import { signRelease } from "@muto/trust/cosign";
import type { Signer } from "@muto/trust/keys";
import { handlers } from "../api/handlers.ts";
import { startFeed } from "../api/server/feed.ts";
import { createMetrics } from "../api/server/metrics.ts";
import { buildServer } from "../api/server/server.ts";
import { startHeartbeats } from "../inventory/heartbeats.ts";
import type { Heartbeats } from "../inventory/heartbeats.ts";
import type { ReleaseSource } from "../ports.ts";
import type { Database } from "../store/database.ts";
import { createVehicleAuth } from "../trust/vehicle-auth.ts";
import { VERSION } from "../version.ts";
import type { HandClock } from "./clock.ts";

/** The real API over a database, with a clock that is turned by hand and releases that need no registry. */
export interface SeedApi extends AsyncDisposable {
  call<Id extends OperationId>(
    operationId: Id,
    request?: {
      params?: Operations[Id]["params"];
      query?: Operations[Id]["queryInput"];
      body?: Operations[Id]["bodyInput"];
    },
    token?: string,
  ): Promise<Operations[Id]["success"]>;
  /** Puts a stack where POST /releases will find it, signed. */
  publish(manifestDigest: string, manifest: StackManifest): void;
  readonly heartbeats: Heartbeats;
}

export interface SeedApiOptions {
  readonly database: Database;
  readonly clock: HandClock;
  readonly random: Random;
  readonly tenant: string;
  readonly releaseSigner: Signer;
  readonly assignmentSigner: Signer;
  readonly offlineAfterMs: number;
}

const OPERATOR = "demo-operator";
const UNLIMITED = { burst: 1e9, perSec: 1e9 };

export async function openSeedApi(options: SeedApiOptions): Promise<SeedApi> {
  const { database, clock, random, tenant, releaseSigner, offlineAfterMs } = options;
  const published = new Map<string, StackManifest>();
  const token = Buffer.from(random.bytes(24)).toString("hex");
  const { keyid, algorithm, pem } = releaseSigner.publicKey;
  const stopping = new AbortController();
  await using stack = new AsyncDisposableStack();
  // Heartbeats are written when the history says so, not by the passing of time: this clock only moves by hand.
  const still = { ...clock, sleep: async (_ms: number, signal?: AbortSignal) => await aborted(signal) };
  const heartbeats = stack.use(
    startHeartbeats({ db: database.db, clock: still, logger: silentLogger, offlineAfterMs }),
  );
  const feed = stack.use(await startFeed(database, still, silentLogger));
  const context = {
    clock,
    random,
    database,
    heartbeats,
    feed,
    logger: silentLogger,
    metrics: createMetrics(),
    http: async () => await Promise.reject(new Error("seeding needs no network")),
    stopping: stopping.signal,
    assignmentSigner: options.assignmentSigner,
    releaseSource: sourceOf(published, releaseSigner),
    broker: { state: () => "none" as const, forget: async () => {} },
    config: {
      tenant,
      version: VERSION,
      offlineAfterMs,
      releaseRole: { threshold: 1, keys: [{ keyid, algorithm, publicKey: pem }] },
      people: {
        tokens: [
          { name: OPERATOR, role: "operator" as const, sha256: createHash("sha256").update(token).digest("hex") },
        ],
        oidc: undefined,
      },
    },
  };
  const rates = { vehicle: UNLIMITED, person: UNLIMITED, stranger: UNLIMITED };
  const server = buildServer({
    context,
    handlers,
    vehicleAuth: createVehicleAuth({ db: database.db, clock, tenant }),
    rates,
  });
  stack.defer(async () => await server.close());
  stack.defer(() => stopping.abort());
  const validation = createValidation();
  const owned = stack.move();
  return {
    heartbeats,
    publish: (manifestDigest, manifest) => void published.set(manifestDigest, manifest),
    call: async (operationId, request = {}, bearer = token) => {
      const answer = await server.inject({
        method: OPERATIONS[operationId].method,
        url: requestTarget(operationId, { params: request.params ?? {}, query: request.query ?? {} }),
        headers: {
          authorization: `Bearer ${bearer}`,
          ...(request.body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(request.body === undefined ? {} : { payload: JSON.stringify(request.body) }),
      });
      const body: unknown = answer.body === "" ? undefined : JSON.parse(answer.body);
      const parsed = validation.parseAnswer(operationId, answer.statusCode, body);
      if (!parsed.ok) throw new Error(`${operationId} answered ${answer.statusCode}: ${answer.body.slice(0, 500)}`);
      return parsed.value;
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

/** Releases of the seed are signed for real, by a key that nobody outside the seed trusts. */
function sourceOf(published: ReadonlyMap<string, StackManifest>, signer: Signer): ReleaseSource {
  return {
    alive: async () => true,
    look: async (repository, manifestDigest) => {
      const manifest = published.get(manifestDigest);
      if (manifest === undefined) return { ok: false, problem: "not-found" };
      const dockerReference = `registry.example.com/${repository}`;
      const signature = await signRelease(signer, { dockerReference, manifestDigest });
      return {
        ok: true,
        manifest,
        artifacts: manifest.workloads.map((workload) => {
          const digest = workload.type === "native" ? workload.archive : workload.image;
          const type = workload.type === "native" ? ("native_archive" as const) : ("oci_image" as const);
          return { type, digest, ref: `${dockerReference}@${digest}` };
        }),
        signatures: [signature],
        signatureRef: `cosign://${dockerReference}@${manifestDigest}`,
        keyids: [signer.publicKey.keyid],
        verified: true,
      };
    },
  };
}

async function aborted(signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined || signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
