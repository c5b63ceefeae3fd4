import manifest from "./package.json" with { type: "json" };

/** One version for everything that ships together. */
export const VERSION: string = manifest.version;
