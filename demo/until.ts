/** Looks again and again until there is something; undefined when the time is over. Nothing here sleeps for a fixed time and hopes. */
export async function until<T>(limitMs: number, look: () => Promise<T | undefined>): Promise<T | undefined> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) return undefined;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
