import type { SignalSamples } from "./signals.ts";

/** Whether any provider's newest answer is this change's id. An id is used once, so an old answer cannot be mistaken for it. */
export function isAcknowledged(samples: SignalSamples, changeId: string): boolean {
  return [...samples.providers.values()].some((provider) => provider.samples.changeAcknowledged?.value === changeId);
}
