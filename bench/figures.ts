/** What the kernel says of a process at one moment. */
export interface Sample {
  readonly atMs: number;
  /** User and system time since the process began. */
  readonly cpuMs: number;
  readonly rssMb: number;
}

/** What a process cost between its first sample and its last. */
export interface Load {
  /** Of one core; 1 is a whole core. */
  readonly cpuShare: number;
  readonly rssMbMax: number;
}

/** Linux gives times in /proc in hundredths of a second, whatever the kernel's own tick is (proc(5), USER_HZ). */
const TICK_MS = 10;

/** Fields 14 and 15 of /proc/PID/stat; the name in field 2 may hold spaces and parentheses. */
export function cpuMsOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11]) + Number(fields[12]);
  if (!Number.isFinite(ticks)) throw new Error("this is no /proc/PID/stat");
  return ticks * TICK_MS;
}

/** VmRSS of /proc/PID/status, in megabytes. */
export function rssMbOf(status: string): number {
  const kilobytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  if (!Number.isFinite(kilobytes)) throw new Error("this is no /proc/PID/status");
  return kilobytes / 1024;
}

export function loadOf(samples: readonly Sample[]): Load {
  const [first] = samples;
  const last = samples.at(-1);
  if (first === undefined || last === undefined || last.atMs <= first.atMs) return { cpuShare: 0, rssMbMax: 0 };
  return {
    cpuShare: (last.cpuMs - first.cpuMs) / (last.atMs - first.atMs),
    rssMbMax: Math.max(...samples.map(({ rssMb }) => rssMb)),
  };
}

/** Answers that no client should ever have got, from the control plane's own metrics: 5xx, and 429 to well-behaved vehicles. */
export function badAnswers(metrics: string): number {
  const counted = /^muto_http_requests_total\{[^}]*status="(?:5\d\d|429)"[^}]*\} (\d+)$/gm;
  return [...metrics.matchAll(counted)].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** Vehicles that were not seen within the bound. */
export function unseen(lastSeen: readonly (string | null)[], nowMs: number, ageMsMax: number): number {
  return lastSeen.filter((at) => at === null || nowMs - Date.parse(at) > ageMsMax).length;
}
