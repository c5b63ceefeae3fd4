const LOOK_EVERY_MS = 150;
const LIMIT_MS = 60_000;

/**
 * Waits for something to become true of records or processes, and returns what was found. Throws when it does not happen
 * within the limit, with whatever `explain` knows of how things stand instead.
 */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  options: { readonly limitMs?: number; readonly explain?: () => Promise<string> } = {},
): Promise<T> {
  const { limitMs = LIMIT_MS, explain } = options;
  const deadlineMs = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadlineMs) break;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  throw new Error(`not within ${limitMs / 1000} s: ${what}\n${(await explain?.()) ?? ""}`);
}
