import type { Resources, StopRule } from "@muto/spec";

/** What becomes one transient unit. Paths are absolute, as systemd sees them. */
export interface UnitPlan {
  readonly instanceId: string;
  readonly description: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly archive: string;
  /** Where the archive is shown as well, and where the workload runs then. */
  readonly prefix: string | undefined;
  readonly paramsFolder: string | undefined;
  readonly resources: Resources;
  readonly stop: StopRule;
  /** Takes how it ended, as one line. */
  readonly exitFile: string;
}

export function unitName(instanceId: string): string {
  return `muto-${instanceId}.service`;
}

/** Paths that are written into properties as they are; others would need systemd's own quoting. */
const PLAIN_PATH = /^(\/[A-Za-z0-9_.+@-]+)+$/;

export function isPlainPath(path: string): boolean {
  return PLAIN_PATH.test(path);
}

/**
 * Arguments of systemd-run. The agent owns restarts; a stop signals the workload's own process, and after its limit everything
 * in the unit is killed. What a unit leaves to be learnt later it writes down itself: systemd forgets a transient unit that
 * ended well.
 */
export function systemdRunArguments(plan: UnitPlan): readonly string[] {
  const { archive, prefix, paramsFolder, resources, stop } = plan;
  const place = prefix ?? archive;
  const program = plan.program.startsWith(`${archive}/`) ? place + plan.program.slice(archive.length) : plan.program;
  const readOnly = [
    archive,
    ...(prefix === undefined ? [] : [`${archive}:${prefix}`]),
    ...(paramsFolder === undefined ? [] : [paramsFolder]),
  ];
  const properties = [
    `Description=${plan.description}`,
    `WorkingDirectory=${place}`,
    ...readOnly.map((path) => `BindReadOnlyPaths=${path}`),
    `KillSignal=${stop.signal}`,
    "KillMode=mixed",
    `TimeoutStopSec=${stop.limitSec}`,
    "Restart=no",
    "NoNewPrivileges=yes",
    "StandardInput=null",
    "StandardOutput=journal",
    "StandardError=journal",
    `ExecStopPost=/bin/sh -c '${EXIT_SCRIPT}' ${plan.exitFile} \${EXIT_CODE} \${EXIT_STATUS}`,
    ...(resources.memoryMb === undefined ? [] : [`MemoryMax=${resources.memoryMb}M`, "MemorySwapMax=0"]),
    ...(resources.cpus === undefined ? [] : [`CPUQuota=${Math.max(1, Math.round(resources.cpus * 100))}%`]),
    ...(resources.pids === undefined ? [] : [`TasksMax=${resources.pids}`]),
  ];
  return [
    "--quiet",
    "--no-ask-password",
    "--collect",
    "--service-type=exec",
    `--unit=${unitName(plan.instanceId)}`,
    ...properties.map((property) => `--property=${property}`),
    ...Object.entries(plan.env).map(([name, value]) => `--setenv=${name}=${value}`),
    "--",
    // systemd-run looks for the program where it runs itself, and there is nothing at the prefix.
    ...(program === plan.program ? [] : ["/bin/sh", "-c", literally('exec "$0" "$@"')]),
    program,
    ...plan.args.map(literally),
  ];
}

/** In one piece or not at all; the moment is in seconds. Twice the dollar sign, because systemd reads it before the shell does. */
const EXIT_SCRIPT = 'echo "$$1 $$2 $$(date +%s)" >"$$0~" && mv "$$0~" "$$0"';

/** systemd puts variables into arguments, unless the dollar sign is doubled. */
function literally(text: string): string {
  return text.replaceAll("$", "$$$$");
}

export interface UnitExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly atMs: number;
}

/** What a unit wrote down of its end; undefined for anything else. */
export function parseExit(text: string): UnitExit | undefined {
  const [, how, status = "", sec] = /^(exited|killed|dumped) ([A-Z0-9+-]{1,12}) (\d{1,12})\n$/.exec(text) ?? [];
  if (how === undefined) return undefined;
  const atMs = Number(sec) * 1000;
  if (how === "exited") return { code: Number(status), signal: null, atMs };
  return { code: null, signal: `SIG${status}`, atMs };
}

export interface UnitSeen {
  readonly isAlive: boolean;
  readonly pid: number;
}

/** `systemctl show` of several units: blocks of `Name=value` lines, by unit name. */
export function parseShow(text: string): ReadonlyMap<string, UnitSeen> {
  const units = new Map<string, UnitSeen>();
  for (const block of text.split("\n\n")) {
    const fields = new Map(
      block.split("\n").map((line) => {
        const at = line.indexOf("=");
        return [line.slice(0, at), line.slice(at + 1)];
      }),
    );
    const id = fields.get("Id");
    if (id === undefined) continue;
    const isAlive = ALIVE.has(fields.get("ActiveState") ?? "");
    units.set(id, { isAlive, pid: Number.parseInt(fields.get("MainPID") ?? "0", 10) || 0 });
  }
  return units;
}

const ALIVE: ReadonlySet<string> = new Set(["active", "activating", "deactivating", "reloading"]);
