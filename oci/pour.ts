/** The writing side of a stream, of Node.js or of the tar library. */
export interface Sink {
  readonly destroyed: boolean;
  write(chunk: Uint8Array): boolean;
  end(last: null): unknown;
  destroy(error: Error): unknown;
}

/**
 * Writes a source into a sink as fast as that takes it, and stops reading when the sink is destroyed. Never rejects: what
 * goes wrong on the way in comes out of the sink's other end. `listen` tells when the sink may take more, or is closed.
 */
export async function pour(
  source: AsyncIterable<Uint8Array>,
  sink: Sink,
  listen: (wake: () => void) => void,
): Promise<void> {
  let wake = () => {};
  listen(() => wake());
  try {
    for await (const chunk of source) {
      if (sink.destroyed) return;
      const taken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (!sink.write(chunk)) await taken;
    }
    sink.end(null);
  } catch (error) {
    sink.destroy(error instanceof Error ? error : new Error("the source failed", { cause: error }));
  }
}
