import { renameSync, writeFileSync } from "node:fs";
import type { SignalLine } from "@muto/spec";

const INTERVAL_MS = 300;

/** The gateway of one simulated vehicle: writes its signals into a file several times a second, as a real one would. */
export interface Gateway extends Disposable {
  /** Undefined falls silent. */
  say(line: Omit<SignalLine, "kind"> | undefined): void;
}

export const parked: Omit<SignalLine, "kind"> = {
  speedMps: 0,
  yawRateRadps: 0,
  parked: true,
  mode: "manual",
  batteryPct: 84,
  charging: false,
};

export function openGateway(file: string): Gateway {
  let current: Omit<SignalLine, "kind"> | undefined;
  const write = () => {
    if (current === undefined) return;
    writeFileSync(`${file}.next`, `${JSON.stringify({ kind: "muto.signals/v1", ...current })}\n`);
    renameSync(`${file}.next`, file);
  };
  const timer = setInterval(write, INTERVAL_MS);
  return {
    say: (line) => {
      current = line;
      write();
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
