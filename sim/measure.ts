import type { Clock } from "@muto/kit/clock";
import type { HttpClient } from "@muto/kit/http";

/** What a fleet saw of the control plane's HTTP side. */
export interface Measure {
  /** The given client, observed. */
  readonly http: HttpClient;
  /** Of the kind of request, over everything so far. */
  summary(kind: RequestKind): RequestSummary;
}

export type RequestKind = "poll" | "report" | "health" | "other";

export interface RequestSummary {
  readonly requests: number;
  /** No answer at all, or a status of 500 and above. */
  readonly errors: number;
  /** Milliseconds until the headers of the answer. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export function createMeasure(http: HttpClient, clock: Clock): Measure {
  const seen = new Map<RequestKind, { durations: number[]; errors: number }>();
  const of = (kind: RequestKind) => {
    const known = seen.get(kind) ?? { durations: [], errors: 0 };
    seen.set(kind, known);
    return known;
  };
  return {
    http: async (request) => {
      const entry = of(kindOf(request.url));
      const startedMs = clock.monotonicMs();
      try {
        const response = await http(request);
        entry.durations.push(clock.monotonicMs() - startedMs);
        if (response.status >= 500) entry.errors++;
        return response;
      } catch (error) {
        // A request that was aborted because the fleet ends is no error of the control plane.
        if (!request.signal.aborted) entry.errors++;
        throw error;
      }
    },
    summary: (kind) => {
      const { durations, errors } = of(kind);
      const sorted = durations.toSorted((a, b) => a - b);
      const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
      return { requests: sorted.length + errors, errors, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: sorted.at(-1) ?? 0 };
    },
  };
}

function kindOf(url: string): RequestKind {
  const { pathname } = new URL(url);
  if (pathname.endsWith("/desired-states/latest")) return "poll";
  if (pathname.endsWith("/reports/reconcile")) return "report";
  return pathname.endsWith("/reports/health") ? "health" : "other";
}
