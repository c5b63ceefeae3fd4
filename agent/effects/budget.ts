import type { RegistryConfig } from "@muto/spec";
import type { AgentServices } from "../services.ts";

/** Thrown by {@link Budget.take} in the middle of a download when the day's bytes are used up; what was received stays. */
export class BudgetSpent extends Error {
  override readonly name = "BudgetSpent";
}

/** What the vehicle's own configuration lets a download cost: bytes a second, and bytes in any day. */
export interface Budget {
  /** Seconds until there is a budget again; 0 when there is one. */
  waitSec(): number;
  /** Waits until so many bytes may pass; throws {@link BudgetSpent} when they are too many for today. */
  take(bytes: number, signal: AbortSignal): Promise<void>;
  /** Makes durable what was used, so that a restart of the agent brings no new budget. */
  settle(): Promise<void>;
}

export type BudgetServices = Pick<AgentServices, "clock" | "store">;

const DAY_MS = 86_400_000;

export function openBudget(services: BudgetServices, registry: RegistryConfig | undefined): Budget {
  const { clock, store } = services;
  const { bytesPerSecMax, bytesPerDayMax } = registry ?? {};
  const begunMs = clock.monotonicMs();
  let taken = 0;

  const ageMs = () => clock.wallMs() - (store.state.spent?.sinceMs ?? 0);
  /** A clock that was set back must not stretch a day for ever. */
  const isSameDay = () => store.state.spent !== null && ageMs() >= 0 && ageMs() < DAY_MS;
  const usedToday = () => taken + (isSameDay() ? (store.state.spent?.bytes ?? 0) : 0);

  return {
    waitSec: () => {
      if (bytesPerDayMax === undefined || usedToday() < bytesPerDayMax) return 0;
      return Math.max(1, Math.ceil((DAY_MS - ageMs()) / 1000));
    },
    take: async (bytes, signal) => {
      taken += bytes;
      if (bytesPerDayMax !== undefined && usedToday() > bytesPerDayMax)
        throw new BudgetSpent("the day's bytes are used up");
      if (bytesPerSecMax === undefined) return;
      const dueMs = begunMs + (taken / bytesPerSecMax) * 1000;
      const waitMs = dueMs - clock.monotonicMs();
      if (waitMs > 0) await clock.sleep(waitMs, signal);
    },
    settle: async () => {
      if (bytesPerDayMax === undefined || taken === 0) return;
      await store.record({ kind: "spent", bytes: taken, atMs: clock.wallMs(), newDay: !isSameDay() });
      taken = 0;
    },
  };
}
