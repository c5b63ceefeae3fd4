import type { StackManifestInput } from "@muto/spec";

/** Port that {@link server} listens on, at the vehicle's own loopback address. */
const PORT = 7400;

/* Programs are shell scripts with nothing but busybox, so that each runs natively and in a container from scratch. */

/** Runs until it is told to stop, and costs nothing; the mark makes one release differ from another. */
export function sleeper(mark: string): string {
  return `#!/bin/sh\necho up ${mark}\nexec sleep 1000000\n`;
}

/** Answers HTTP on the vehicle's own loopback address. */
export function server(mark: string): string {
  return [
    "#!/bin/sh",
    `# ${mark}`,
    'site="/tmp/muto-site-$MUTO_INSTANCE"',
    'mkdir -p "$site"',
    `echo ${mark} > "$site/ready"`,
    "echo serving",
    `exec busybox httpd -f -p "$MUTO_PROBE_ADDRESS:${PORT}" -h "$site"`,
    "",
  ].join("\n");
}

/** Probes of {@link server}, one of each kind; the workload is called "main". */
export const serverProbes: NonNullable<StackManifestInput["healthModel"]["probes"]> = [
  { kind: "process", name: "main-runs", workload: "main" },
  { kind: "tcp", name: "main-accepts", workload: "main", port: PORT },
  { kind: "http", name: "main-ready", workload: "main", port: PORT, path: "/ready" },
  { kind: "log", name: "main-says", workload: "main", text: "serving" },
  { kind: "log", name: "main-is-calm", workload: "main", text: "panic", seen: false },
];

/** A probe that never holds. */
export const neverMet = { kind: "log", name: "never-said", workload: "main", text: "this is never said" } as const;

/** Ends at once, and as `ros2 launch` does it: with 0. */
export const crasher = "#!/bin/sh\necho about to end\nexit 0\n";

/** What `ros2 launch` says and does when it respawns a node that dies at once: it stays up. */
export const storm = [
  "#!/bin/sh",
  "while true; do",
  "  echo \"[ERROR] [crasher-2]: process has died [pid 7, exit code 3, cmd '/opt/crasher'].\" >&2",
  "  sleep 0.3",
  "done",
  "",
].join("\n");

/** Takes no notice of being asked to stop, and has children that left its session. */
export const stubborn = [
  "#!/bin/sh",
  "trap '' INT TERM",
  "setsid sleep 1000001 &",
  "sleep 1000002 &",
  "while true; do sleep 1; done",
  "",
].join("\n");
