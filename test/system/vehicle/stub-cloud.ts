import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import {
  parseHealthReport,
  parseJson,
  type AssignmentOffer,
  type HealthReport,
  type ReconcileReport,
} from "@muto/spec";
import { openEnrolment, openReconcileReport } from "@muto/trust/documents";
import type { PublicKey } from "@muto/trust/keys";
import { tokenSubject, verifyVehicleToken } from "@muto/trust/vehicle-token";

/** The few operations that a vehicle calls, over real HTTP, with real signatures checked; everything else is a 404. */
export interface StubCloud extends AsyncDisposable {
  readonly url: string;
  readonly reports: readonly ReconcileReport[];
  readonly health: readonly HealthReport[];
  readonly attachments: ReadonlyMap<string, Uint8Array>;
  /** What the next poll is answered with. */
  offer(offer: AssignmentOffer | null): void;
  /** While false, connections are refused as by a dead network: nothing is answered. */
  reachable(is: boolean): void;
  /** Resolves with the first report, old or new, that fits. */
  reported(fits: (report: ReconcileReport) => boolean, timeoutMs?: number): Promise<ReconcileReport>;
}

export async function startStubCloud(tenant: string): Promise<StubCloud> {
  const cloud = new Cloud(tenant);
  const server = createServer((request, response) => void cloud.handle(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    reports: cloud.reports,
    health: cloud.health,
    attachments: cloud.attachments,
    offer: (offer) => void (cloud.current = offer),
    reachable: (is) => void (cloud.isReachable = is),
    reported: (fits, timeoutMs) => cloud.reported(fits, timeoutMs),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

class Cloud {
  readonly reports: ReconcileReport[] = [];
  readonly health: HealthReport[] = [];
  readonly attachments = new Map<string, Uint8Array>();
  current: AssignmentOffer | null = null;
  isReachable = true;
  readonly #tenant: string;
  readonly #waiting = new Set<() => void>();
  #key: PublicKey | undefined;
  #acknowledged = 0;

  constructor(tenant: string) {
    this.#tenant = tenant;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.isReachable) return void response.destroy();
    const path = new URL(request.url ?? "/", "http://cloud.invalid").pathname.replace("/api/v1", "");
    const body = await bodyOf(request);
    if (path === "/enroll") return this.#enroll(body, response);
    if (!this.#isKnown(request))
      return answer(response, 401, { error: { code: "UNAUTHENTICATED", message: "", details: {} } });
    if (path === "/desired-states/latest")
      return answer(response, 200, { data: { assignment: this.current } }, this.#acknowledged);
    if (path === "/reports/reconcile") return this.#reconcile(body, response);
    if (path === "/reports/health") {
      const report = parseHealthReport(jsonOf(body));
      if (!report.ok) throw new Error(`a health report that the contract refuses: ${JSON.stringify(report.problems)}`);
      this.health.push(report.value);
      return answer(response, 200, { data: { receipts: [{ index: 0, result: "stored", error: null }] } });
    }
    if (path.startsWith("/attachments/")) {
      this.attachments.set(decodeURIComponent(path.slice("/attachments/".length)), body);
      return answer(response, 200, { data: {} });
    }
    return answer(response, 404, { error: { code: "NOT_FOUND", message: "", details: {} } });
  }

  async reported(fits: (report: ReconcileReport) => boolean, timeoutMs = 40_000): Promise<ReconcileReport> {
    const deadline = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const found = this.reports.find(fits);
      if (found !== undefined) return found;
      await new Promise<void>((resolve, reject) => {
        const news = () => resolve();
        this.#waiting.add(news);
        deadline.addEventListener("abort", () =>
          reject(new Error(`no such report; the last ones: ${JSON.stringify(this.reports.slice(-4).map(shortly))}`)),
        );
      });
    }
  }

  #enroll(body: Uint8Array, response: ServerResponse): void {
    const opened = openEnrolment(jsonOf(body));
    if (!opened.ok) throw new Error(`an enrolment that does not verify: ${opened.problem}`);
    this.#key = opened.key;
    const { vehicleId } = opened.document;
    answer(response, 200, { data: { vehicleId, keyid: opened.key.keyid, state: "accepted" } });
  }

  #isKnown(request: IncomingMessage): boolean {
    const token = (request.headers.authorization ?? "").replace(/^Bearer /, "");
    const subject = tokenSubject(token);
    if (this.#key === undefined || subject === undefined) return false;
    const { vehicleId } = subject;
    return verifyVehicleToken(token, { key: this.#key, vehicleId, tenant: this.#tenant, nowMs: Date.now() }).ok;
  }

  #reconcile(body: Uint8Array, response: ServerResponse): void {
    const envelopes = jsonOf(body);
    if (!Array.isArray(envelopes) || this.#key === undefined) throw new Error("reports are sent as a list");
    for (const envelope of envelopes) {
      const opened = openReconcileReport(envelope, this.#key);
      if (!opened.ok) throw new Error(`a report that does not verify: ${opened.problem} ${JSON.stringify(envelope)}`);
      if (opened.document.seq > this.#acknowledged) {
        this.#acknowledged = opened.document.seq;
        this.reports.push(opened.document);
      }
    }
    const receipts = envelopes.map((_, index) => ({ index, result: "stored", error: null }));
    answer(response, 200, { data: { receipts } }, this.#acknowledged);
    for (const news of this.#waiting) news();
    this.#waiting.clear();
  }
}

function shortly({ status, phase, reasonCodes, sequence }: ReconcileReport): unknown {
  return { status, phase, reasonCodes, sequence };
}

function answer(response: ServerResponse, status: number, body: object, acknowledged?: number): void {
  const headers =
    acknowledged === undefined || acknowledged === 0 ? {} : { "muto-acknowledged-seq": String(acknowledged) };
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify({ ...body, timestamp: new Date(Date.now()).toISOString() }));
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

function jsonOf(bytes: Uint8Array): unknown {
  const json = parseJson(bytes);
  if (!json.ok) throw new Error("a body that is not JSON");
  return json.value;
}
