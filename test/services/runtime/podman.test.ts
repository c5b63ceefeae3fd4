import { startPodman } from "./engines.ts";
import { engineStand } from "./stand.ts";
import { runtimeSuite } from "./suite.ts";

runtimeSuite("podman", async () => {
  const engine = await startPodman();
  return { ...engineStand(engine), [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
});
