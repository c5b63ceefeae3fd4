import { parseJson, parseSignalLine, type SignalLine } from "@muto/spec";
import type { MalformedKeys } from "../safety/signals.ts";

/** A line of signals is a few hundred bytes; anything near this is no signal. */
export const LINE_BYTES_MAX = 4_096;

const LINE_DEPTH_MAX = 4;

/** One line without its line end; whatever is not a line of the contract is malformed, and that closes gates. */
export function parseLine(bytes: Uint8Array): SignalLine | "malformed" {
  const json = parseJson(bytes, { bytesMax: LINE_BYTES_MAX, depthMax: LINE_DEPTH_MAX });
  if (!json.ok) return "malformed";
  const line = parseSignalLine(json.value);
  return line.ok ? line.value : "malformed";
}

/** Called with every line that is heard, in order. */
export type OnLine = (line: SignalLine | "malformed") => void;

/** What a provider of topics is heard to say: a line, or keys for which something came that cannot be understood. */
export type Heard = SignalLine | "malformed" | MalformedKeys;

/** Called with everything that is heard, in order; `ageMs` says how long ago it was true at the latest (0 when left out). */
export type OnHeard = (heard: Heard, ageMs?: number) => void;
