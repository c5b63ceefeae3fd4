import { processStand } from "./stand.ts";
import { runtimeSuite } from "./suite.ts";

runtimeSuite("process", async () => ({ ...processStand(), [Symbol.asyncDispose]: async () => {} }));
