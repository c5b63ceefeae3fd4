import { constants } from "node:os";
import type { InstanceState } from "../../ports.ts";
import type { ContainerSeen } from "./engine-answers.ts";

/**
 * How a container ended. A process that a signal killed shows as 128 and its number, which is also how an engine shows its own
 * SIGKILL and one for lack of memory; codes beyond the known signals are codes.
 */
export function endOf(
  container: Pick<ContainerSeen, "exitCode" | "finishedAtMs">,
  { requested, byOutage }: { readonly requested: boolean; readonly byOutage: boolean },
): Extract<InstanceState, { kind: "ended" }> {
  const { exitCode, finishedAtMs } = container;
  const signal = signalNumbered(exitCode - 128);
  return {
    kind: "ended",
    requested,
    ...(byOutage ? { byOutage } : {}),
    code: signal === undefined ? exitCode : null,
    signal: signal ?? null,
    atMs: finishedAtMs ?? 0,
  };
}

function signalNumbered(wanted: number): string | undefined {
  return Object.entries(constants.signals).find(([, number]) => number === wanted)?.[0];
}
