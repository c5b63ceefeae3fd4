import type { Cloud } from "../world/cloud.ts";

/** A control plane that dies at any moment and comes back. */
export interface Mortal {
  /** Resolves when a process serves, at once if one does. */
  serving(): Promise<void>;
  /** Starts it; resolves to whether it lived long enough to serve. */
  start(): Promise<boolean>;
  kill(): Promise<void>;
}

/** Of a control plane that serves. */
export function mortal(cloud: Cloud): Mortal {
  // One promise from one process that served to the next that does, however many die in between.
  let waiting = Promise.withResolvers<void>();
  let isServing = true;
  let lives = 0;
  waiting.resolve();
  return {
    serving: async () => await waiting.promise,
    start: async () => {
      const life = ++lives;
      const serves = await cloud.start();
      if (serves && life === lives) {
        isServing = true;
        waiting.resolve();
      }
      return serves;
    },
    kill: async () => {
      lives++;
      if (isServing) waiting = Promise.withResolvers();
      isServing = false;
      await cloud.kill();
    },
  };
}
