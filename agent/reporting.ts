import { timestamp } from "@muto/kit/clock";
import { ulid } from "@muto/kit/ids";
import type { DueReport } from "./reconcile/report.ts";
import type { AgentServices } from "./services.ts";

export type ReportServices = Pick<AgentServices, "clock" | "random" | "bootId" | "config" | "reports" | "logger">;

/** Puts a report into the durable outbox; false when it has no room, and then the same report is due again. */
export async function sendReport(services: ReportServices, { draft, key, terminal }: DueReport): Promise<boolean> {
  const { clock, random, bootId, config, reports, logger } = services;
  const reportId = ulid(clock, random);
  const at = timestamp(clock.wallMs());
  const vehicleId = config.vehicle.id;
  // The outbox adds installation and number when it sends the report for the first time.
  const report = { kind: "muto.reconcile-report/v1", vehicleId, ...draft, reportId, bootId, at } as const;
  const body = new TextEncoder().encode(JSON.stringify(report));
  const queued = await reports.append({ reportId, terminal, mergeKey: key, body });
  if (queued === "full") logger.warn("outbox is full", { reportId });
  return queued !== "full";
}
