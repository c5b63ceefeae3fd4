/** Numbers about this process in the Prometheus text format (version 0.0.4). */
export interface Metrics {
  /** Adds to a counter; labels are few and bounded (operation ids, statuses), never ids of vehicles. */
  count(name: CounterName, labels?: Labels, by?: number): void;
  /** One observation of a duration in seconds. */
  observe(name: DurationName, labels: Labels, seconds: number): void;
  /** Everything, with gauges that are read at this moment. */
  render(gauges: readonly Gauge[]): string;
}

export type Labels = Readonly<Record<string, string>>;

export interface Gauge {
  readonly name: string;
  readonly help: string;
  readonly samples: readonly { readonly labels: Labels; readonly value: number }[];
}

const COUNTERS = {
  muto_http_requests_total: "HTTP requests by operation and status.",
  muto_reports_total: "Reconcile reports by result.",
  muto_health_reports_total: "Health reports by result.",
  muto_assignments_served_total: "Assignments handed out at polls, by answer.",
  muto_event_stream_resets_total: "Clients of the live feed that were too far behind.",
} as const;
export type CounterName = keyof typeof COUNTERS;

const DURATIONS = {
  muto_http_request_duration_seconds: "Time from the first byte of a request to the end of its answer.",
} as const;
export type DurationName = keyof typeof DURATIONS;

const BUCKETS_SEC = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

interface Histogram {
  readonly labels: Labels;
  readonly counts: number[];
  sum: number;
  total: number;
}

export function createMetrics(): Metrics {
  const counters = new Map<CounterName, Map<string, { readonly labels: Labels; value: number }>>();
  const durations = new Map<DurationName, Map<string, Histogram>>();
  return {
    count: (name, labels = {}, by = 1) => {
      const series = within(counters, name);
      const key = labelText(labels);
      const known = series.get(key);
      if (known === undefined) series.set(key, { labels, value: by });
      else known.value += by;
    },
    observe: (name, labels, seconds) => {
      const series = within(durations, name);
      const key = labelText(labels);
      const known = series.get(key) ?? { labels, counts: BUCKETS_SEC.map(() => 0), sum: 0, total: 0 };
      series.set(key, known);
      const bucket = BUCKETS_SEC.findIndex((limit) => seconds <= limit);
      if (bucket !== -1) known.counts[bucket] = (known.counts[bucket] ?? 0) + 1;
      known.sum += seconds;
      known.total += 1;
    },
    render: (gauges) => {
      const lines: string[] = [];
      for (const [name, series] of counters) {
        lines.push(...heading(name, COUNTERS[name], "counter"));
        for (const { labels, value } of series.values()) lines.push(sample(name, labels, value));
      }
      for (const [name, series] of durations) {
        lines.push(...heading(name, DURATIONS[name], "histogram"));
        for (const histogram of series.values()) lines.push(...histogramLines(name, histogram));
      }
      for (const { name, help, samples } of gauges) {
        lines.push(...heading(name, help, "gauge"));
        for (const { labels, value } of samples) lines.push(sample(name, labels, value));
      }
      return `${lines.join("\n")}\n`;
    },
  };
}

function histogramLines(name: string, { labels, counts, sum, total }: Histogram): readonly string[] {
  let below = 0;
  const buckets = BUCKETS_SEC.map((limit, index) => {
    below += counts[index] ?? 0;
    return sample(`${name}_bucket`, { ...labels, le: String(limit) }, below);
  });
  return [
    ...buckets,
    sample(`${name}_bucket`, { ...labels, le: "+Inf" }, total),
    sample(`${name}_sum`, labels, sum),
    sample(`${name}_count`, labels, total),
  ];
}

function heading(name: string, help: string, type: string): readonly string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

function sample(name: string, labels: Labels, value: number): string {
  return `${name}${labelText(labels)} ${value}`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function within<Name, Series>(all: Map<Name, Map<string, Series>>, name: Name): Map<string, Series> {
  const known = all.get(name) ?? new Map<string, Series>();
  all.set(name, known);
  return known;
}
