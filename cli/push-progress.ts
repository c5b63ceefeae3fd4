import type { PushProgress } from "@muto/oci/stack-push";
import type { Io } from "./io.ts";
import { bytesText } from "./show.ts";

const WIDTH = 20;

/** Shows a push on standard error: one line for each blob; on a terminal the line of the present blob redraws itself. */
export function showProgress(io: Pick<Io, "error" | "errorTerminal">): (progress: PushProgress) => void {
  return (progress) => {
    const { state, sentBytes, sizeBytes, index, count, digest } = progress;
    const name = `${String(index).padStart(String(count).length)}/${count} ${digest.slice(0, 19)}`;
    const line = `${name} ${bytesText(sizeBytes).padStart(9)}`;
    if (state !== "sending") io.error(`${io.errorTerminal ? "\r\u001B[K" : ""}${line}  ${WORDS[state]}\n`);
    else if (io.errorTerminal && sizeBytes > 0) {
      const done = Math.floor((sentBytes / sizeBytes) * WIDTH);
      io.error(`\r\u001B[K${line}  [${"#".repeat(done)}${" ".repeat(WIDTH - done)}]`);
    }
  };
}

const WORDS = {
  present: "is there already",
  mounted: "taken from another repository",
  uploaded: "uploaded",
} as const;
