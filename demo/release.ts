import { existsSync } from "node:fs";
import { join } from "node:path";
import { writeLayout } from "./image.ts";
import { IMAGE_NODE, IMAGE_PROGRAMS, nodeImage } from "./node-image.ts";

/** The folder with the programs of the demonstration's stack: lidar, planner, controller. */
const programs = join(import.meta.dirname, "stacks", "autonomy-core", "bin");

/** The stack's image as an OCI layout in the folder, made at the first call. */
export function imageLayoutIn(folder: string): string {
  const layout = join(folder, "image");
  if (!existsSync(layout)) writeLayout(layout, nodeImage(programs));
  return layout;
}

/**
 * The stack of the demonstration: native, or of the image in the layout. `minScanHz` is the planner's own idea of a healthy lidar, which sends ten scans a
 * second: asked for more, the planner never becomes healthy.
 */
export function stackFile(version: string, minScanHz: number, imageLayout: string | undefined): object {
  const program = (name: string) => ({
    name,
    stop: { limitSec: 5 },
    ...(imageLayout === undefined
      ? { type: "native", archive: programs, argv: [process.execPath, `${name}.mjs`] }
      : { type: "oci", image: imageLayout, argv: [IMAGE_NODE, join(IMAGE_PROGRAMS, `${name}.mjs`)] }),
  });
  return {
    kind: "muto.stack/v1",
    name: "autonomy-core",
    version,
    compatibility: { vehicleModels: ["vehicle-v3", "vehicle-v4"], os: ["debian-12"], rosDistro: ["humble"] },
    resourceProfile: { diskMbMin: 1 },
    ros: { distro: "humble", domainId: 7 },
    healthModel: {
      // Seven vehicles start their containers on one computer.
      readinessTimeoutSec: imageLayout === undefined ? 6 : 20,
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
