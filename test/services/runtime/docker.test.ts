import { startDocker } from "./engines.ts";
import { engineStand } from "./stand.ts";
import { runtimeSuite } from "./suite.ts";

runtimeSuite("docker", async () => {
  const engine = await startDocker({ liveRestore: true });
  return { ...engineStand(engine), [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
});
