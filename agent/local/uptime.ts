import { uptime } from "node:os";

/** Milliseconds since the computer's boot, sleep included; the same in every process, unlike a process's monotonic clock. */
export type Uptime = () => number;

export function systemUptime(): Uptime {
  return () => uptime() * 1000;
}
