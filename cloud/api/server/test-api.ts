import { createHash } from "node:crypto";
import type { FastifyInstance } from "fastify";
import type { InjectOptions, LightMyRequestResponse as Response } from "fastify";
import { systemClock, timestamp } from "@muto/kit/clock";
import type { Clock } from "@muto/kit/clock";
import { systemHttp } from "@muto/kit/http";
import { ulid } from "@muto/kit/ids";
import { silentLogger } from "@muto/kit/logger";
import type { Logger } from "@muto/kit/logger";
import { seededRandom } from "@muto/kit/random";
import type { Random } from "@muto/kit/random";
import type { HealthReport, Policy, ReconcileReport, StackManifest, StackRef } from "@muto/spec";
import { signReconcileReport } from "@muto/trust/documents";
import { generateKey } from "@muto/trust/keys";
import type { Signer } from "@muto/trust/keys";
import { createVehicleToken } from "@muto/trust/vehicle-token";
import { startHeartbeats } from "../../inventory/heartbeats.ts";
import type { ReleaseLookup } from "../../ports.ts";
import { issueAssignments, vehicleList } from "../../store/assignments.ts";
import type { AssignmentOrder } from "../../store/assignments.ts";
import type { Database } from "../../store/database.ts";
import { insertDesiredState } from "../../store/desired-states.ts";
import { insertRelease } from "../../store/release-rows.ts";
import { openTestDatabase } from "../../store/test-database.ts";
import { createVehicleAuth } from "../../trust/vehicle-auth.ts";
import { handlers } from "../handlers.ts";
import type { Rates } from "./admission.ts";
import type { ApiContext } from "./context.ts";
import { startFeed } from "./feed.ts";
import { createMetrics } from "./metrics.ts";
import { buildServer } from "./server.ts";

/*
 * The whole API on a real database, with a clock whose time of day is turned by hand. Every answer is held against the
 * contract by the server itself.
 */

export const OPERATOR = "operator-token-for-tests";
export const VIEWER = "viewer-token-for-tests";
export const TENANT = "default";
export const OFFLINE_AFTER_MS = 300_000;
export const START_MS = Date.UTC(2026, 10, 23, 10, 0);

export interface TestApiOptions {
  readonly rates?: Rates;
  readonly logger?: Logger;
}

export interface Answer {
  readonly status: number;
  readonly headers: Response["headers"];
  /** Parsed when it is JSON, else the text. */
  readonly body: JsonAnswer;
  readonly text: string;
}

/** What tests look into without knowing its type; the server has checked it against the contract. */
// oxlint-disable-next-line typescript/no-explicit-any -- an answer is held against the contract, not against a type
export type JsonAnswer = any;

export class TestApi implements AsyncDisposable {
  readonly app: FastifyInstance;
  readonly context: ApiContext;
  readonly database: Database;
  readonly random: Random;
  /** What the registry would answer, by manifest digest. */
  readonly registry: Map<string, ReleaseLookup>;
  /** Vehicles whose sessions and retained messages were dropped. */
  readonly forgotten: string[];
  private readonly stop: AbortController;
  private readonly offset: { ms: number };

  private constructor(
    parts: Pick<TestApi, "app" | "context" | "database" | "random" | "registry" | "forgotten"> & {
      readonly stop: AbortController;
      readonly offset: { ms: number };
    },
  ) {
    this.app = parts.app;
    this.context = parts.context;
    this.database = parts.database;
    this.random = parts.random;
    this.registry = parts.registry;
    this.forgotten = parts.forgotten;
    this.stop = parts.stop;
    this.offset = parts.offset;
  }

  static async start(options: TestApiOptions = {}): Promise<TestApi> {
    const offset = { ms: 0 };
    const clock: Clock = { ...systemClock(), wallMs: () => START_MS + offset.ms };
    const random = seededRandom(7);
    const logger = options.logger ?? silentLogger;
    const database = await openTestDatabase();
    const registry = new Map<string, ReleaseLookup>();
    const forgotten: string[] = [];
    const stop = new AbortController();
    const release = await generateKey("ed25519");
    const context: ApiContext = {
      clock,
      random,
      logger,
      http: systemHttp(),
      database,
      assignmentSigner: (await generateKey("ed25519")).signer,
      releaseSource: {
        look: (_repository, digest) => Promise.resolve(registry.get(digest) ?? { ok: false, problem: "not-found" }),
        alive: () => Promise.resolve(true),
      },
      broker: {
        state: () => "none",
        forget: (vehicleId) => {
          forgotten.push(vehicleId);
          return Promise.resolve();
        },
      },
      config: {
        tenant: TENANT,
        version: "0.1.0",
        offlineAfterMs: OFFLINE_AFTER_MS,
        releaseRole: { threshold: 1, keys: [trustKey(release.signer)] },
        people: {
          tokens: [
            { name: "alice", role: "operator", sha256: sha256(OPERATOR) },
            { name: "victor", role: "viewer", sha256: sha256(VIEWER) },
          ],
          oidc: undefined,
        },
      },
      metrics: createMetrics(),
      heartbeats: startHeartbeats({ db: database.db, clock, logger, offlineAfterMs: OFFLINE_AFTER_MS, flushMs: 5 }),
      feed: await startFeed(database, clock, logger),
      stopping: stop.signal,
    };
    const vehicleAuth = createVehicleAuth({ db: database.db, clock, tenant: TENANT });
    const rates = options.rates === undefined ? {} : { rates: options.rates };
    const app = buildServer({ context, handlers, vehicleAuth, checksAnswers: true, ...rates });
    return new TestApi({ app, context, database, random, registry, forgotten, stop, offset });
  }

  now(): string {
    return timestamp(this.context.clock.wallMs());
  }

  /** Turns the time of day forward. */
  pass(ms: number): void {
    this.offset.ms += ms;
  }

  newId(): string {
    return ulid(this.context.clock, this.random);
  }

  async ask(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", url: string, more: AskOptions = {}): Promise<Answer> {
    const { token = OPERATOR, body, headers = {} } = more;
    const path = url.startsWith("/") && !url.startsWith("/api") && more.outside !== true ? `/api/v1${url}` : url;
    const request: InjectOptions = {
      method,
      url: path,
      headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...headers },
      ...(body === undefined ? {} : { payload: body }),
    };
    const response = await this.app.inject(request);
    const json = String(response.headers["content-type"] ?? "").includes("json");
    const parsed: JsonAnswer = json ? JSON.parse(response.payload) : response.payload;
    return { status: response.statusCode, headers: response.headers, body: parsed, text: response.payload };
  }

  /** A vehicle that is enrolled with a key of its own. */
  async enrolled(id: string, tags: Readonly<Record<string, string>> = {}): Promise<TestVehicle> {
    const { signer } = await generateKey("ed25519");
    const answer = await this.ask("POST", "/vehicles", { body: { id, tags, publicKey: signer.publicKey.pem } });
    if (answer.status !== 201) throw new Error(`the test vehicle was not added: ${answer.text}`);
    return new TestVehicle(this, id, signer);
  }

  /** A release that is registered and signed, without a registry. */
  async release(version: string, more: { readonly verified?: boolean } = {}): Promise<StackRef> {
    const manifestDigest = `sha256:${sha256(version)}`;
    const manifest = manifestOf(version);
    const verified = more.verified ?? true;
    const added = await insertRelease(this.database.db, {
      manifestDigest,
      repository: "autonomy",
      artifacts: [],
      manifest,
      signatures: verified ? [{ form: "simple-signing", payload: "e30=", sig: "AAAA" }] : [],
      signatureRef: verified ? "cosign://registry.test/autonomy" : null,
      keyids: [],
      verified,
      at: this.now(),
      by: "operator:alice",
    });
    if (!added) throw new Error("the test release is there already");
    return { name: manifest.name, version, manifestDigest };
  }

  /** Assigns a release to vehicles as a direct desired state does; returns its revision. */
  async assign(
    stack: StackRef,
    vehicleIds: readonly string[],
    more: Partial<Pick<AssignmentOrder, "start" | "cause">> & {
      readonly revision?: string;
      readonly startBeforeSec?: number;
    } = {},
  ): Promise<string> {
    const revision = more.revision ?? `dsr_${this.newId()}`;
    const correlationId = "00000000-0000-4000-8000-000000000001";
    await this.database.db.transaction().execute(async (trx) => {
      if (more.revision === undefined) {
        await insertDesiredState(trx, {
          revision,
          target: { type: "vehicleList", vehicleIds },
          stack,
          policy: POLICY,
          start: "allowed",
          retry: false,
          startBeforeSec: more.startBeforeSec ?? 259_200,
          rollout: { strategy: "direct" },
          reach: { vehicles: vehicleIds.length, withoutCanary: vehicleIds.length },
          correlationId,
          createdAt: this.now(),
          createdBy: { type: "operator", id: "alice" },
        });
      }
      const order: AssignmentOrder = {
        revision,
        rolloutId: null,
        stage: null,
        start: more.start ?? "allowed",
        cause: more.cause ?? "direct",
        correlationId,
        issuedAt: this.now(),
        offlineBefore: timestamp(this.context.clock.wallMs() - OFFLINE_AFTER_MS),
      };
      await issueAssignments(trx, order, vehicleList(vehicleIds));
    });
    return revision;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort();
    await this.app.close();
    await this.context.feed[Symbol.asyncDispose]();
    await this.context.heartbeats[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
  }
}

export interface AskOptions {
  /** The operator's by default; null sends none. */
  readonly token?: string | null;
  readonly body?: JsonAnswer;
  readonly headers?: Readonly<Record<string, string>>;
  /** The path is not below /api/v1. */
  readonly outside?: boolean;
}

/** A vehicle's side of the contract: its key, its installation, its numbering. */
export class TestVehicle {
  readonly id: string;
  readonly signer: Signer;
  installId: string;
  private readonly api: TestApi;
  private readonly bootId = "11111111-1111-4111-8111-111111111111";
  private seq = 0;

  constructor(api: TestApi, id: string, signer: Signer) {
    this.api = api;
    this.id = id;
    this.signer = signer;
    this.installId = api.newId();
  }

  /** Set up anew: another installation with the same key. */
  reinstall(): void {
    this.installId = this.api.newId();
    this.seq = 0;
  }

  async token(more: { readonly tenant?: string; readonly signer?: Signer } = {}): Promise<string> {
    return await createVehicleToken(more.signer ?? this.signer, {
      vehicleId: this.id,
      tenant: more.tenant ?? TENANT,
      nowMs: this.api.context.clock.wallMs(),
    });
  }

  /** The next report in the vehicle's own numbering; `seq` overrides it without moving it. */
  report(more: Partial<ReconcileReport> = {}): ReconcileReport {
    const seq = more.seq ?? ++this.seq;
    return {
      kind: "muto.reconcile-report/v1",
      vehicleId: this.id,
      desiredStateRevision: null,
      sequence: 0,
      status: "converged",
      reasonCodes: [],
      timings: {},
      reportId: this.api.newId(),
      installId: this.installId,
      bootId: this.bootId,
      at: this.api.now(),
      stack: null,
      set: null,
      attempt: 1,
      phase: "idle",
      rollbackReady: true,
      evidence: [],
      ...more,
      seq,
    };
  }

  async send(...reports: readonly ReconcileReport[]): Promise<Answer> {
    const envelopes = await Promise.all(reports.map((report) => signReconcileReport(report, this.signer)));
    return await this.api.ask("POST", "/reports/reconcile", { token: await this.token(), body: envelopes });
  }

  async poll(query = "", headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const url = `/desired-states/latest?vehicleId=${this.id}${query}`;
    return await this.#heard(await this.api.ask("GET", url, { token: await this.token(), headers }));
  }

  health(more: Partial<HealthReport> = {}): HealthReport {
    return {
      kind: "muto.health-report/v1",
      vehicleId: this.id,
      installId: this.installId,
      bootId: this.bootId,
      at: this.api.now(),
      stack: null,
      desiredStateRevision: null,
      rollbackReady: true,
      safetySnapshot: {
        moving: { value: false, ageMs: 10 },
        autonomousMode: { value: false, ageMs: 10 },
        batteryPct: { value: 80, ageMs: 10 },
        insideWindow: { value: true, ageMs: 10 },
      },
      diskFreeMb: 9000,
      agentVersion: "0.1.0",
      facts: { os: "ubuntu-22.04", rosDistro: "humble" },
      workloads: [],
      ...more,
    };
  }

  async sendHealth(...reports: readonly HealthReport[]): Promise<Answer> {
    const answer = await this.api.ask("POST", "/reports/health", { token: await this.token(), body: reports });
    return await this.#heard(answer);
  }

  /** Signs of life are answered before they are written; a test that moves the clock on needs them written. */
  async #heard(answer: Answer): Promise<Answer> {
    await this.api.context.heartbeats.flush();
    return answer;
  }
}

export const POLICY: Policy = { requireVehicleStationary: true, denyIfAutonomousMode: true, requireBatteryPctMin: 35 };

export function manifestOf(version: string, name = "autonomy"): StackManifest {
  return {
    kind: "muto.stack/v1",
    name,
    version,
    securityEpoch: 0,
    compatibility: { vehicleModels: ["v3"], os: ["ubuntu-22.04"], rosDistro: ["humble"] },
    resourceProfile: { diskMbMin: 8000 },
    ros: {},
    healthModel: {
      readinessTimeoutSec: 180,
      stableForSec: 0,
      probationSec: 60,
      maxRestarts: 3,
      windowSec: 300,
      probes: [],
    },
    workloads: [],
  };
}

export function sha256(text: string): string {
  return createHash("sha256").update(text, "utf8").digest("hex");
}

function trustKey(signer: Signer) {
  const { keyid, algorithm, pem } = signer.publicKey;
  return { keyid, algorithm, publicKey: pem };
}
