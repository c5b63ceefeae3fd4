import type { ApplyWindow } from "@muto/spec";

const MINUTES_PER_HOUR = 60;

export type WindowJudgement =
  /** `localTime` as HH:MM on the vehicle's wall. */
  | { readonly kind: "inside" | "outside"; readonly localTime: string }
  /** No such time zone, or no such instant. */
  | { readonly kind: "unknown" };

/**
 * Whether the vehicle's wall clock shows a time in [startLocal, endLocal); a window whose end is before its start crosses
 * midnight. Only the time on the wall counts, so hours that a clock change skips never occur and hours that it repeats
 * occur twice (H21). A window without length holds no time.
 */
export function judgeWindow(window: ApplyWindow, timezone: string, wallMs: number): WindowJudgement {
  const localTime = localTimeOf(timezone, wallMs);
  if (localTime === undefined) return { kind: "unknown" };
  const now = minutesOf(localTime);
  const start = minutesOf(window.startLocal);
  const end = minutesOf(window.endLocal);
  const inside = start <= end ? start <= now && now < end : now >= start || now < end;
  return { kind: inside ? "inside" : "outside", localTime };
}

/** True for names of the IANA time zone database that this computer knows. */
export function isTimezone(name: string): boolean {
  return formatterFor(name) !== undefined;
}

/** HH:MM on a wall in that zone, from the time zone data of the JavaScript engine. */
function localTimeOf(timezone: string, wallMs: number): string | undefined {
  const formatter = formatterFor(timezone);
  if (formatter === undefined || Number.isNaN(new Date(wallMs).getTime())) return undefined;
  const parts = new Map(formatter.formatToParts(new Date(wallMs)).map(({ type, value }) => [type, value]));
  return `${parts.get("hour")}:${parts.get("minute")}`;
}

function formatterFor(timezone: string): Intl.DateTimeFormat | undefined {
  try {
    return new Intl.DateTimeFormat("en-GB", {
      timeZone: timezone,
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    });
  } catch {
    return undefined;
  }
}

function minutesOf(localTime: string): number {
  const [hours, minutes] = localTime.split(":").map(Number);
  return (hours ?? Number.NaN) * MINUTES_PER_HOUR + (minutes ?? Number.NaN);
}
