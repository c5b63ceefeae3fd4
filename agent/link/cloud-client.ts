import {
  HEADERS,
  parseEnrolmentAnswer,
  parseLatestDesired,
  parseReportReceipts,
  type AssignmentOffer,
  type EnrolmentAnswer,
  type Envelope,
  type HealthReport,
  type Parsed,
  type ReportReceipt,
} from "@muto/spec";
import { CloudAsker, fieldOf, type CloudAnswer, type CloudFailure, type CloudOrigin } from "./cloud-request.ts";

/** Everything that the agent asks of the cloud. Each answer is bounded and parsed; nothing in it is believed before it is verified. */
export interface CloudClient {
  pollLatest(known: PollKnown, signal: AbortSignal): Promise<Polled>;
  /** At most 100 envelopes, as their JSON bytes. The receipts are in the order of the envelopes. */
  postReconcile(envelopes: readonly Uint8Array[], signal: AbortSignal): Promise<Posted>;
  postHealth(report: HealthReport, signal: AbortSignal): Promise<Delivered>;
  putAttachment(digest: string, bytes: Uint8Array, signal: AbortSignal): Promise<Delivered>;
  enroll(envelope: Envelope, signal: AbortSignal): Promise<Enrolled>;
  /** A fresh token; also the password at the broker. */
  token(): Promise<string>;
}

export interface PollKnown {
  /** Highest sequence that this vehicle has accepted; the cloud never issues a lower one. */
  readonly sequenceFloor: number;
  /** Of the outbox, so that the answer says which of its reports are stored. */
  readonly installId: string;
  /** Of the last answer. */
  readonly etag: string | undefined;
}

/** `acknowledgedSeq`: every report of the installation up to this number is stored; null when none is. */
interface Contact {
  readonly acknowledgedSeq: number | null;
  readonly serverDateMs: number | undefined;
}

export type Polled =
  | ({
      readonly kind: "latest";
      readonly assignment: AssignmentOffer | null;
      readonly etag: string | undefined;
    } & Contact)
  | ({ readonly kind: "unchanged" } & Contact)
  | CloudFailure;

export type Posted = { readonly kind: "answered"; readonly receipts: readonly ReportReceipt[] } | CloudFailure;

export type Delivered = { readonly kind: "delivered" } | CloudFailure;

export type Enrolled = { readonly kind: "answered"; readonly answer: EnrolmentAnswer } | CloudFailure;

/** As many as the contract takes in one request. */
export const REPORTS_PER_POST_MAX = 100;

const MALFORMED: CloudFailure = { kind: "unavailable", retryAfterMs: null };
const ETAG_CHARACTERS_MAX = 200;

export function createCloudClient(options: CloudOrigin & { readonly vehicleId: string }): CloudClient {
  const { vehicleId } = options;
  const asker = new CloudAsker(options);
  return {
    token: () => asker.token(),

    pollLatest: async ({ sequenceFloor, installId, etag }, signal) => {
      const query = { vehicleId, sequenceFloor, installId };
      const headers = etag === undefined ? {} : { [HEADERS.ifNoneMatch]: etag };
      const answer = await asker.ask({ operationId: "getLatestDesired", params: {}, query, headers, signal });
      return polled(answer, etag !== undefined);
    },

    postReconcile: async (envelopes, signal) => {
      const body = jsonArray(envelopes);
      const answer = await asker.ask({ operationId: "postReconcileReports", params: {}, query: {}, body, signal });
      if (answer.kind !== "answered") return answer;
      const parsed = dataOf(answer, parseReportReceipts);
      // Receipts that are not exactly one for each report, in order, could make the outbox forget what was never stored.
      const isComplete = parsed?.receipts.every(({ index }, position) => index === position) === true;
      if (parsed === undefined || !isComplete || parsed.receipts.length !== envelopes.length) return MALFORMED;
      return { kind: "answered", receipts: parsed.receipts };
    },

    postHealth: async (report, signal) => {
      const body = new TextEncoder().encode(JSON.stringify(report));
      return delivered(await asker.ask({ operationId: "postHealthReports", params: {}, query: {}, body, signal }));
    },

    putAttachment: async (digest, body, signal) =>
      delivered(await asker.ask({ operationId: "putAttachment", params: { digest }, query: {}, body, signal })),

    enroll: async (envelope, signal) => {
      const body = new TextEncoder().encode(JSON.stringify(envelope));
      const answer = await asker.ask({ operationId: "enroll", params: {}, query: {}, body, signal });
      if (answer.kind !== "answered") return answer;
      const parsed = dataOf(answer, parseEnrolmentAnswer);
      return parsed?.vehicleId === vehicleId ? { kind: "answered", answer: parsed } : MALFORMED;
    },
  };
}

function polled(answer: CloudAnswer, wasConditional: boolean): Polled {
  if (answer.kind !== "answered") return answer;
  const { status, headers, serverDateMs } = answer;
  const contact = { acknowledgedSeq: acknowledgedIn(headers), serverDateMs };
  if (status === 304) return wasConditional ? { kind: "unchanged", ...contact } : MALFORMED;
  const latest = dataOf(answer, parseLatestDesired);
  if (latest === undefined) return MALFORMED;
  const etag = headers.get(HEADERS.etag.toLowerCase());
  const isUsable = etag !== undefined && etag.length <= ETAG_CHARACTERS_MAX;
  return { kind: "latest", assignment: latest.assignment, etag: isUsable ? etag : undefined, ...contact };
}

function acknowledgedIn(headers: ReadonlyMap<string, string>): number | null {
  const text = headers.get(HEADERS.mutoAcknowledgedSeq.toLowerCase()) ?? "";
  const seq = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(seq) ? seq : null;
}

function delivered(answer: CloudAnswer): Delivered {
  return answer.kind === "answered" ? { kind: "delivered" } : answer;
}

/** What is in the envelope of every success, parsed; undefined when it is not what the contract says. */
function dataOf<T>(
  { body }: Extract<CloudAnswer, { kind: "answered" }>,
  parse: (value: unknown) => Parsed<T>,
): T | undefined {
  const parsed = parse(fieldOf(body, "data"));
  return parsed.ok ? parsed.value : undefined;
}

function jsonArray(documents: readonly Uint8Array[]): Uint8Array {
  const parts = documents.flatMap((document, index) => [Buffer.from(index === 0 ? "[" : ","), document]);
  return new Uint8Array(Buffer.concat([...parts, Buffer.from(documents.length === 0 ? "[]" : "]")]));
}
