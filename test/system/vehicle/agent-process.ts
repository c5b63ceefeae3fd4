import { runAgent } from "@muto/agent/main";
import { openNativeRuntime } from "@muto/agent/runtime/native-runtime";

/** The real agent in a process of its own, as `muto agent --config FILE` runs it. */
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
const [, , configFile = ""] = process.argv;
const log = (line: string) => void process.stderr.write(line);
process.exitCode = await runAgent({
  configFile,
  signal: stop.signal,
  log,
  level: "debug",
  openNative: openNativeRuntime,
});
