import { once } from "node:events";
import { readBody } from "@muto/kit/http";
import type { HttpClient, HttpRequest, HttpResponse } from "@muto/kit/http";
import { HEADERS, OPERATIONS, parseEnvelope, parseReconcileReport, parseReportReceipts } from "@muto/spec";
import type { ReconcileReport } from "@muto/spec";

/** A report that the control plane has answered for, as the vehicle saw it. */
export interface AcknowledgedReport {
  readonly vehicleId: string;
  readonly installId: string;
  readonly seq: number;
}

/**
 * The network between a fleet and a control plane that dies. Keeps everything that was acknowledged; a request made while
 * nobody listens waits instead of failing, so that vehicles do not back off, and go on as soon as somebody is there.
 */
export interface Witness {
  readonly http: HttpClient;
  /** Resolves once so many more answers have been seen. */
  answers(count: number): Promise<void>;
  /** Each of them one by one: by a receipt, or by a poll's answer about everything up to a number. */
  acknowledged(): readonly AcknowledgedReport[];
  /** Receipts among them. */
  readonly receipts: number;
}

const ANSWER_BYTES_MAX = 8 * 1024 * 1024;

/** `alive` resolves when the control plane may listen. */
export function createWitness(network: HttpClient, alive: () => Promise<unknown>): Witness {
  const http = patient(network, alive);
  const waiting: { left: number; readonly resolve: () => void }[] = [];
  const single = new Map<string, AcknowledgedReport>();
  const upTo = new Map<string, AcknowledgedReport>();
  const counts = { receipts: 0 };
  const name = ({ vehicleId, installId, seq }: AcknowledgedReport) => `${vehicleId} ${installId} ${seq}`;
  return {
    get receipts() {
      return counts.receipts;
    },
    answers: async (count) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const one = { left: count, resolve };
      waiting.push(one);
      await promise;
      waiting.splice(waiting.indexOf(one), 1);
    },
    acknowledged: () => {
      const each = [...upTo.values()].flatMap((one) =>
        Array.from({ length: one.seq }, (_, index) => ({ ...one, seq: index + 1 })),
      );
      return [...new Map([...single.values(), ...each].map((one) => [name(one), one])).values()];
    },
    http: async (request) => {
      const response = await http(request);
      for (const one of waiting) if (--one.left <= 0) one.resolve();
      const url = new URL(request.url);
      if (url.pathname === OPERATIONS.getLatestDesired.path) {
        const one = polled(url, response);
        if (one !== undefined) upTo.set(`${one.vehicleId} ${one.installId}`, one);
        return response;
      }
      if (url.pathname !== OPERATIONS.postReconcileReports.path || response.status !== 200) return response;
      const answer = await readBody(response.body, ANSWER_BYTES_MAX);
      for (const one of posted(request, answer)) {
        counts.receipts++;
        single.set(name(one), one);
      }
      return { ...response, body: whole(answer) };
    },
  };
}

function patient(http: HttpClient, alive: () => Promise<unknown>): HttpClient {
  return async (request) => {
    for (;;) {
      await Promise.race([alive(), aborted(request.signal)]);
      try {
        return await http(request);
      } catch (error) {
        if (request.signal.aborted || !isRefused(error)) throw error;
      }
    }
  };
}

function aborted(signal: AbortSignal): Promise<unknown> {
  return signal.aborted ? Promise.resolve() : once(signal, "abort");
}

/** Nobody listened, so nobody can have done anything; any other failure leaves open how far the request came. */
function isRefused(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && "code" in cause && cause.code === "ECONNREFUSED";
}

function polled(url: URL, response: HttpResponse): AcknowledgedReport | undefined {
  const seq = Number(response.headers.get(HEADERS.mutoAcknowledgedSeq.toLowerCase()) ?? Number.NaN);
  const [vehicleId, installId] = [url.searchParams.get("vehicleId"), url.searchParams.get("installId")];
  return Number.isSafeInteger(seq) && vehicleId !== null && installId !== null
    ? { vehicleId, installId, seq }
    : undefined;
}

/** The reports of one request whose receipts say stored or duplicate. */
function posted(request: HttpRequest, answer: Uint8Array): readonly AcknowledgedReport[] {
  const parsed = parseReportReceipts(fieldOf(jsonOf(answer), "data"));
  if (!parsed.ok) throw new Error("receipts against the contract");
  const sent = reportsIn(request);
  return parsed.value.receipts.flatMap(({ index, result }) => {
    const report = sent[index];
    return report === undefined || result === "refused" ? [] : [report];
  });
}

function reportsIn({ body }: HttpRequest): readonly ReconcileReport[] {
  const envelopes = jsonOf(body ?? new Uint8Array());
  if (!Array.isArray(envelopes)) throw new Error("an agent posts its reports as an array");
  return envelopes.map((value: unknown) => {
    const envelope = parseEnvelope(value);
    if (!envelope.ok) throw new Error("an agent posted no envelope");
    const report = parseReconcileReport(jsonOf(Buffer.from(envelope.value.payload, "base64")));
    if (!report.ok) throw new Error("an agent posted no report");
    return report.value;
  });
}

function jsonOf(bytes: Uint8Array): unknown {
  return JSON.parse(Buffer.from(bytes).toString("utf8"));
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null
    ? Object.entries(value).find(([name]) => name === key)?.[1]
    : undefined;
}

async function* whole(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
