/** Capped exponential back-off with full jitter: uniform in [half, whole] of the capped delay. `attempt` counts from 0. */
export function backoffMs(options: { attempt: number; baseMs: number; maxMs: number; fraction: number }): number {
  const { attempt, baseMs, maxMs, fraction } = options;
  const whole = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(whole / 2 + (whole / 2) * fraction);
}
