import { benchDdsFuzz } from "./dds-fuzz.ts";
import { benchDds } from "./dds.ts";
import { benchFleet } from "./fleet.ts";
import { benchIdle } from "./idle.ts";

/** `npm run bench -- NAME [OPTIONS]`: measures one thing on this machine and fails when what it saw was not right. */
const benches: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = {
  dds: benchDds,
  "dds-fuzz": benchDdsFuzz,
  fleet: benchFleet,
  idle: benchIdle,
};

const [name = "", ...args] = process.argv.slice(2);
const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
if (bench === undefined) {
  console.error(`usage: npm run bench -- ${Object.keys(benches).join(" | ")} [OPTIONS]`);
  process.exitCode = 2;
} else process.exitCode = await bench(args);
