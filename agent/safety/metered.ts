import type { SignalsConfig } from "@muto/spec";
import { isAbsent, readSource } from "./readings.ts";
import type { Instant, SignalSamples } from "./signals.ts";

/**
 * Whether downloads are suspended because the connection costs money. As with every signal, any provider that says so wins,
 * and a required one that is silent counts as saying so; a vehicle that would rather pay marks it optional.
 */
export function isMetered(signals: SignalsConfig, samples: SignalSamples, now: Instant): boolean {
  if (isAbsent(signals.metered)) return false;
  const { seen, missed } = readSource("metered", signals.metered, samples, now);
  const isRequired = signals.metered.some(({ optional }) => !optional);
  return seen.some(({ value }) => value) || (isRequired && missed.length > 0);
}
