import type { Clock } from "@muto/kit/clock";
import type { HttpClient, HttpRequest } from "@muto/kit/http";

/** What a fleet saw of the control plane's HTTP side. */
export interface Measure {
  /** The given client, observed. */
  readonly http: HttpClient;
  /** Forgets durations and counts, so that what follows stands by itself. When each vehicle was answered last is kept. */
  restart(): void;
  /** Of the kind of request, since the beginning or the last restart. */
  summary(kind: RequestKind): RequestSummary;
  /**
   * How regularly the vehicles' polls were answered since the beginning or the last restart, this moment included. `gapMsMax`
   * is how long a vehicle may be without an answer.
   */
  punctuality(gapMsMax: number): Punctuality;
}

export type RequestKind = "poll" | "report" | "health" | "other";

export interface RequestSummary {
  readonly requests: number;
  /** No answer at all, a refusal for asking too often, or a status of 500 and above. */
  readonly errors: number;
  /** Milliseconds until the headers of the answer. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface Punctuality {
  /** That were answered at least once. */
  readonly vehicles: number;
  /** Gaps between two answers that were too long, each counted as many times as an answer fell out. */
  readonly missed: number;
  readonly longestGapMs: number;
}

const TOO_MANY_REQUESTS = 429;

interface Seen {
  readonly durations: number[];
  refused: number;
  unanswered: number;
}

interface Answers {
  lastMs: number;
  readonly gapsMs: number[];
}

export function createMeasure(http: HttpClient, clock: Clock): Measure {
  const seen = new Map<RequestKind, Seen>();
  const polls = new Map<string, Answers>();
  const of = (kind: RequestKind) => {
    const known = seen.get(kind) ?? { durations: [], refused: 0, unanswered: 0 };
    seen.set(kind, known);
    return known;
  };
  const answered = (vehicleId: string) => {
    const nowMs = clock.monotonicMs();
    const known = polls.get(vehicleId);
    if (known === undefined) polls.set(vehicleId, { lastMs: nowMs, gapsMs: [] });
    else {
      known.gapsMs.push(nowMs - known.lastMs);
      known.lastMs = nowMs;
    }
  };
  const observed = async (request: HttpRequest) => {
    const url = new URL(request.url);
    const kind = kindOf(url.pathname);
    const entry = of(kind);
    const startedMs = clock.monotonicMs();
    try {
      const response = await http(request);
      entry.durations.push(clock.monotonicMs() - startedMs);
      if (response.status >= 500 || response.status === TOO_MANY_REQUESTS) entry.refused++;
      else if (kind === "poll") answered(url.searchParams.get("vehicleId") ?? "");
      return response;
    } catch (error) {
      // A request that was aborted because the fleet ends is no error of the control plane.
      if (!request.signal.aborted) entry.unanswered++;
      throw error;
    }
  };
  return {
    http: observed,
    restart: () => {
      seen.clear();
      for (const { gapsMs } of polls.values()) gapsMs.length = 0;
    },
    summary: (kind) => {
      const { durations, refused, unanswered } = of(kind);
      const sorted = durations.toSorted((a, b) => a - b);
      return {
        requests: durations.length + unanswered,
        errors: refused + unanswered,
        p50Ms: percentile(sorted, 0.5),
        p99Ms: percentile(sorted, 0.99),
        maxMs: sorted.at(-1) ?? 0,
      };
    },
    punctuality: (gapMsMax) => {
      const nowMs = clock.monotonicMs();
      const gaps = [...polls.values()].flatMap(({ gapsMs, lastMs }) => [...gapsMs, nowMs - lastMs]);
      return {
        vehicles: polls.size,
        missed: gaps.reduce((sum, gapMs) => sum + Math.floor(gapMs / gapMsMax), 0),
        longestGapMs: gaps.reduce((longest, gapMs) => Math.max(longest, gapMs), 0),
      };
    },
  };
}

/** Of values in ascending order; 0 when there are none. */
export function percentile(ascending: readonly number[], share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))] ?? 0;
}

function kindOf(path: string): RequestKind {
  if (path.endsWith("/desired-states/latest")) return "poll";
  if (path.endsWith("/reports/reconcile")) return "report";
  return path.endsWith("/reports/health") ? "health" : "other";
}
