import type { RunProgram } from "./run-program.ts";
import { unitName } from "./unit.ts";

const DEATH = "process has died [";
const READ_LIMIT_MS = 10_000;
const LINES_MAX = 20_000;
const CURSOR = /^-- cursor: (\S+)$/;

interface Reading {
  cursor: string | undefined;
  deaths: number;
  last: Promise<boolean>;
  /** Per text that was ever asked about: whether it was seen. */
  readonly texts: Map<string, boolean>;
}

/** Reads on in the journal of a unit, each line once: counts deaths of nodes, and looks for texts. */
export class JournalReader {
  readonly #run: RunProgram;
  readonly #readings = new Map<string, Reading>();

  constructor(run: RunProgram) {
    this.#run = run;
  }

  /** What `ros2 launch` said of deaths since the start; null when the journal cannot be read. */
  async deaths(instanceId: string): Promise<number | null> {
    const reading = this.#readingOf(instanceId);
    return (await this.#readOn(instanceId, reading)) ? reading.deaths : null;
  }

  async saw(instanceId: string, text: string): Promise<boolean | null> {
    const known = this.#readings.get(instanceId);
    if (known === undefined || !known.texts.has(text)) {
      // Asked for the first time: from the beginning again.
      this.#readings.set(instanceId, {
        cursor: undefined,
        deaths: 0,
        last: Promise.resolve(true),
        texts: new Map([...(known?.texts ?? []), [text, false]]),
      });
    }
    const reading = this.#readingOf(instanceId);
    return (await this.#readOn(instanceId, reading)) ? (reading.texts.get(text) ?? null) : null;
  }

  /** The newest output, at most so many bytes. */
  async tail(instanceId: string, bytesMax: number): Promise<Uint8Array> {
    const answer = await this.#run("journalctl", [...unitOutput(instanceId), "--lines=5000"], READ_LIMIT_MS);
    return answer.kind === "exited" ? new Uint8Array(Buffer.from(answer.stdout).subarray(-bytesMax)) : new Uint8Array();
  }

  forget(instanceId: string): void {
    this.#readings.delete(instanceId);
  }

  #readingOf(instanceId: string): Reading {
    const reading = this.#readings.get(instanceId) ?? {
      cursor: undefined,
      deaths: 0,
      last: Promise.resolve(true),
      texts: new Map<string, boolean>(),
    };
    this.#readings.set(instanceId, reading);
    return reading;
  }

  /** One after the other, or a line would be counted twice. */
  async #readOn(instanceId: string, reading: Reading): Promise<boolean> {
    reading.last = reading.last.then(async () => await this.#readNew(instanceId, reading));
    return await reading.last;
  }

  async #readNew(instanceId: string, reading: Reading): Promise<boolean> {
    const from = reading.cursor === undefined ? [] : [`--after-cursor=${reading.cursor}`];
    const args = [...unitOutput(instanceId), "--show-cursor", `--lines=${LINES_MAX}`, ...from];
    const answer = await this.#run("journalctl", args, READ_LIMIT_MS);
    if (answer.kind === "failed" || answer.code > 1) return false;
    for (const line of answer.stdout.split("\n")) {
      const [, cursor] = CURSOR.exec(line) ?? [];
      if (cursor !== undefined) {
        reading.cursor = cursor;
        continue;
      }
      reading.deaths += line.split(DEATH).length - 1;
      for (const [text, isSeen] of reading.texts) if (!isSeen && line.includes(text)) reading.texts.set(text, true);
    }
    return true;
  }
}

/** Only what the workload itself said: systemd's own words about the unit have no transport of a stream. */
function unitOutput(instanceId: string): readonly string[] {
  return ["--no-pager", "--quiet", "--output=cat", "_TRANSPORT=stdout", `_SYSTEMD_UNIT=${unitName(instanceId)}`];
}
