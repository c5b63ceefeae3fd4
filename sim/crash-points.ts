import { seededRandom } from "@muto/kit/random";
import { SimulatedDisk } from "./disk.ts";
import type { DiskFault, DiskOperation, SimulatedDiskOptions } from "./disk.ts";

/**
 * Runs a scenario again and again and lets the computer die before each of its disk operations in turn; then looks at every
 * disk that may be found afterwards. A crash inside an operation leaves nothing that a crash before it or after it does not.
 */
export interface CrashScenario<Told> {
  /** Brings a new disk into the state where the scenario begins. */
  readonly prepare?: (disk: SimulatedDisk) => Promise<void>;
  /** Notes in `told` what it has been told, as soon as it has. */
  readonly run: (disk: SimulatedDisk, told: Told) => Promise<void>;
  readonly nothingTold: () => Told;
  /** Recovers and asserts. `cause` says which crash this is, for the message of a failure. */
  readonly check: (disk: SimulatedDisk, told: Told, cause: string) => Promise<void>;
  /** Durable states looked at per crash point, at most. */
  readonly statesMax: number;
  readonly disk?: Pick<SimulatedDiskOptions, "capacityBytes">;
}

export interface CrashFigures {
  readonly points: number;
  readonly states: number;
  /** Points at which there were more states than `statesMax`. */
  readonly sampledPoints: number;
}

export async function crashEverywhere<Told>(scenario: CrashScenario<Told>): Promise<CrashFigures> {
  const figures = { points: 0, states: 0, sampledPoints: 0 };
  for (let point = 0; ; point++) {
    const { finished, states, exhaustive } = await crashBefore(scenario, point, undefined);
    figures.points += 1;
    figures.states += states;
    if (!exhaustive) figures.sampledPoints += 1;
    if (finished) return figures;
  }
}

/** The same with one fault at each operation in turn, and the power cut at the end of the scenario. */
export async function failEverywhere<Told>(scenario: CrashScenario<Told>, fault: DiskFault): Promise<CrashFigures> {
  const figures = { points: 0, states: 0, sampledPoints: 0 };
  for (let point = 0; ; point++) {
    const { reached, states, exhaustive } = await crashBefore(scenario, point, fault);
    figures.points += 1;
    figures.states += states;
    if (!exhaustive) figures.sampledPoints += 1;
    if (!reached) return figures;
  }
}

async function crashBefore<Told>(scenario: CrashScenario<Told>, point: number, fault: DiskFault | undefined) {
  const random = seededRandom(point + 1);
  let armed = false;
  let begin = 0;
  let reached: DiskOperation | undefined;
  const { promise: died, resolve: die } = Promise.withResolvers<"died">();
  const disk = new SimulatedDisk({
    ...scenario.disk,
    fault: (operation) => {
      if (!armed || operation.index < begin + point) return undefined;
      reached ??= operation;
      if (fault !== undefined) return operation.index === begin + point ? fault : undefined;
      die("died");
      return { kind: "hang" };
    },
  });
  await scenario.prepare?.(disk);
  armed = true;
  begin = disk.operations;
  const told = scenario.nothingTold();
  const ended = await Promise.race([scenario.run(disk, told).then(() => "finished" as const), died]);
  armed = false;
  const cause = `${fault?.kind ?? "crash"} at operation ${point} (${reached?.kind ?? "end"} ${reached?.path ?? ""})`;
  const { disks, exhaustive } = disk.crashed(scenario.statesMax, random, scenario.disk);
  let states = 0;
  for (const found of disks) {
    states += 1;
    await scenario.check(found, told, `${cause}, power cut, state ${states}`);
  }
  disk.kill();
  await scenario.check(disk, told, `${cause}, process killed`);
  return { finished: ended === "finished", reached: reached !== undefined, states: states + 1, exhaustive };
}
