import { join } from "node:path";

/** The folder with the programs of the demonstration's stack: lidar, planner, controller. */
const programs = join(import.meta.dirname, "stacks", "autonomy-core", "bin");

/**
 * The stack of the demonstration. `minScanHz` is the planner's own idea of a healthy lidar, which sends ten scans a
 * second: asked for more, the planner never becomes healthy.
 */
export function stackFile(version: string, minScanHz: number): object {
  const program = (name: string) => ({
    name,
    type: "native",
    archive: programs,
    argv: [process.execPath, `${name}.mjs`],
    stop: { limitSec: 5 },
  });
  return {
    kind: "muto.stack/v1",
    name: "autonomy-core",
    version,
    compatibility: { vehicleModels: ["vehicle-v3", "vehicle-v4"], os: ["debian-12"], rosDistro: ["humble"] },
    resourceProfile: { diskMbMin: 1 },
    ros: { distro: "humble", domainId: 7 },
    healthModel: {
      readinessTimeoutSec: 6,
      stableForSec: 0.5,
      probationSec: 1,
      maxRestarts: 2,
      windowSec: 30,
      probes: [
        { kind: "process", name: "lidar-up", workload: "lidar" },
        { kind: "tcp", name: "lidar-serves", workload: "lidar", port: 7410 },
        { kind: "http", name: "planner-healthy", workload: "planner", port: 7411, path: "/health" },
        { kind: "log", name: "loop-closed", workload: "controller", text: "control loop closed" },
      ],
    },
    workloads: [
      program("lidar"),
      {
        ...program("planner"),
        env: { PLANNER_MIN_SCAN_HZ: String(minScanHz) },
        dependsOn: [{ workload: "lidar", condition: "ready" }],
      },
      { ...program("controller"), dependsOn: [{ workload: "planner", condition: "started" }] },
    ],
  };
}
