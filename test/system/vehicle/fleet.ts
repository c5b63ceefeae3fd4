import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { renameSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile, chmod } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { systemHttp } from "@muto/kit/http";
import { ulid } from "@muto/kit/ids";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import { createRegistryClient } from "@muto/oci/client";
import { serveRegistry, type ServedRegistry } from "@muto/oci/registry/serve";
import { buildStackArtifact } from "@muto/oci/stack-build";
import { pushStackArtifact } from "@muto/oci/stack-push";
import type { AgentConfigInput, Assignment, AssignmentOffer, Policy, SignalLine } from "@muto/spec";
import { signRelease } from "@muto/trust/cosign";
import { signAssignment } from "@muto/trust/documents";
import { generateKey, type Signer } from "@muto/trust/keys";
import { startStubCloud, type StubCloud } from "./stub-cloud.ts";

const TENANT = "default";
const VEHICLE = "vehicle-v3-0142";
const REPOSITORY = "stacks/autonomy-core";

/** One real vehicle: an agent process with real workloads, a real registry, and a stub of the cloud with real signatures. */
export interface Fleet extends AsyncDisposable {
  readonly cloud: StubCloud;
  readonly folder: string;
  readonly stateDir: string;
  readonly ports: { readonly control: number };
  release(options: ReleaseOptions): Promise<Release>;
  assign(release: Release, changes?: Partial<Assignment>): Promise<AssignmentOffer>;
  startAgent(): Promise<RunningAgent>;
  /** What the vehicle's own gateway says from now on, several times a second; undefined for nothing. */
  say(line: SignalLine | undefined): void;
}

export interface Release {
  readonly version: string;
  readonly manifestDigest: string;
}

export interface ReleaseOptions {
  readonly version: string;
  /** JavaScript of the one workload; `PORT` is the port that its probe asks. */
  readonly program: string;
  readonly health?: Readonly<Record<string, unknown>>;
}

export interface RunningAgent {
  readonly log: readonly string[];
  /** Kills the process without a word to it. */
  kill(): Promise<void>;
  /** Asks it to end; the exit code. */
  stop(): Promise<number | null>;
}

/** Answers on its port with its version. */
export const SERVES = `
require("node:http").createServer((_, response) => response.end(process.env.MUTO_SET)).listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGINT", () => process.exit(0));
`;

export async function startFleet(changes: Partial<AgentConfigInput> = {}): Promise<Fleet> {
  const folder = await mkdtemp(join(tmpdir(), "muto-vehicle-"));
  const stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const registry = stack.use(
    await serveRegistry(
      { disk: systemDisk(), clock: systemClock(), random: systemRandom(), logger: silentLogger },
      { folder: join(folder, "registry") },
    ),
  );
  const cloud = stack.use(await startStubCloud(TENANT));
  const keys = { release: (await generateKey("ed25519")).signer, online: (await generateKey("ed25519")).signer };
  const stateDir = join(folder, "state");
  const ports = { control: await freePort() };
  const agents = new Set<ChildProcess>();
  // Workloads outlive their agent on purpose, so a test ends them itself.
  stack.defer(() => endWorkloads(stateDir));
  stack.defer(async () => {
    for (const child of agents) await ended(child, "SIGKILL");
  });
  await writeFile(join(folder, "trust.json"), JSON.stringify(trustFile(keys)));
  await writeFile(join(folder, "agent.json"), JSON.stringify(configOf({ cloud, registry, stateDir, changes })));
  const gateway = stack.use(startGateway(folder));
  let sequence = 0;
  return {
    cloud,
    folder,
    stateDir,
    ports,
    release: (options) => publish({ folder, registry, port: ports.control }, options),
    assign: async (release, own = {}) => {
      sequence += 1;
      const offer = await offerOf(release, sequence, keys, own);
      cloud.offer(offer);
      return offer;
    },
    startAgent: async () => startAgent(folder, agents),
    say: gateway.say,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** A gateway that repeats its line, as real ones do: a file that nobody writes any more is no signal. */
function startGateway(folder: string): Disposable & { say: (line: SignalLine | undefined) => void } {
  let saying: SignalLine | undefined;
  const path = join(folder, "signals.json");
  const write = () => {
    if (saying === undefined) return;
    writeFileSync(`${path}.new`, `${JSON.stringify(saying)}\n`);
    renameSync(`${path}.new`, path);
  };
  const timer = setInterval(write, 100);
  return { say: (line) => void (saying = line), [Symbol.dispose]: () => clearInterval(timer) };
}

async function startAgent(folder: string, agents: Set<ChildProcess>): Promise<RunningAgent> {
  const args = [join(import.meta.dirname, "agent-process.ts"), join(folder, "agent.json")];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  agents.add(child);
  child.once("exit", () => agents.delete(child));
  const log: string[] = [];
  let rest = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    log.push(...lines);
  });
  return { log, kill: () => ended(child, "SIGKILL").then(() => {}), stop: () => ended(child, "SIGTERM") };
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
  return child.exitCode;
}

async function publish(
  { folder, registry, port }: { readonly folder: string; readonly registry: ServedRegistry; readonly port: number },
  { version, program, health = {} }: ReleaseOptions,
): Promise<Release> {
  const source = join(folder, "source", version);
  const output = join(folder, "built");
  await mkdir(source, { recursive: true });
  await mkdir(output, { recursive: true });
  const script = join(source, "control");
  await writeFile(script, `#!${process.execPath}\n${program}`);
  await chmod(script, 0o755);
  const built = await buildStackArtifact(systemDisk(), {
    manifest: {
      kind: "muto.stack/v1",
      name: "autonomy-core",
      version,
      compatibility: { vehicleModels: ["vehicle-v3"], os: ["ubuntu-22.04"], rosDistro: ["humble"] },
      resourceProfile: { diskMbMin: 1 },
      healthModel: {
        readinessTimeoutSec: 5,
        probationSec: 1,
        maxRestarts: 2,
        windowSec: 60,
        probes: [{ kind: "http", name: "answers", workload: "control", port, path: "/" }],
        ...health,
      },
      workloads: [
        { name: "control", type: "native", argv: ["control"], env: { PORT: String(port) }, stop: { limitSec: 5 } },
      ],
    },
    folders: new Map([["control", source]]),
    outputFolder: output,
  });
  if (!built.ok) throw new Error(`the release cannot be built: ${JSON.stringify(built)}`);
  const client = createRegistryClient({ http: systemHttp(), clock: systemClock() }, { origin: registry.url });
  const pushed = await pushStackArtifact({ client }, REPOSITORY, built.built);
  if (!pushed.ok) throw new Error(`the release cannot be pushed: ${pushed.problem}`);
  return { version, manifestDigest: pushed.manifestDigest };
}

async function offerOf(
  { version, manifestDigest }: Release,
  sequence: number,
  keys: { readonly release: Signer; readonly online: Signer },
  changes: Partial<Assignment>,
): Promise<AssignmentOffer> {
  const now = Date.now();
  const policy: Policy = { requireVehicleStationary: true, denyIfAutonomousMode: true, requireBatteryPctMin: 0 };
  const assignment: Assignment = {
    kind: "muto.assignment/v1",
    tenant: TENANT,
    vehicleId: VEHICLE,
    sequence,
    desiredStateRevision: `dsr_${ulid(systemClock(), systemRandom())}`,
    issuedAt: new Date(now).toISOString(),
    acceptBefore: new Date(now + 86_400_000).toISOString(),
    startBefore: new Date(now + 86_400_000).toISOString(),
    start: "allowed",
    retry: false,
    stack: { name: "autonomy-core", version, manifestDigest },
    repository: REPOSITORY,
    policy,
    correlationId: "11111111-1111-4111-8111-111111111111",
    ...changes,
  };
  const signature = await signRelease(keys.release, { dockerReference: `registry/${REPOSITORY}`, manifestDigest });
  return { envelope: await signAssignment(assignment, [keys.online]), releaseSignatures: [signature] };
}

function configOf(made: {
  readonly cloud: StubCloud;
  readonly registry: ServedRegistry;
  readonly stateDir: string;
  readonly changes: Partial<AgentConfigInput>;
}): AgentConfigInput {
  const gateway = [{ provider: "gateway", freshForSec: 2 }];
  return {
    kind: "muto.agent/v1",
    vehicle: { id: VEHICLE, model: "vehicle-v3", os: "ubuntu-22.04", rosDistro: "humble", timezone: "Europe/Berlin" },
    cloud: { url: made.cloud.url, pollSec: 0.3, healthSec: 1, requestTimeoutSec: 5 },
    registry: { url: made.registry.url },
    stateDir: made.stateDir,
    trustFile: "trust.json",
    safety: { standstillSec: 0, diskReserveMb: 0 },
    signals: {
      speed: gateway,
      mode: gateway,
      battery: "none",
      providers: [{ name: "gateway", kind: "file", path: "signals.json" }],
    },
    changeInProgress: { file: "change.json" },
    ...made.changes,
  };
}

function trustFile(keys: { readonly release: Signer; readonly online: Signer }): object {
  const role = ({ publicKey: { keyid, algorithm, pem } }: Signer) => ({
    threshold: 1,
    keys: [{ keyid, algorithm, publicKey: pem }],
  });
  return {
    kind: "muto.trust/v1",
    tenant: TENANT,
    roles: { release: role(keys.release), assignment: role(keys.online) },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Through the agent's own runtime, which knows them by proof and not by process id alone. */
async function endWorkloads(stateDir: string): Promise<void> {
  const { ProcessRuntime } = await import("@muto/agent/runtime/process-runtime");
  const bootId = new TextDecoder().decode(await systemDisk().read("/proc/sys/kernel/random/boot_id")).trim();
  await using runtime = new ProcessRuntime({
    disk: systemDisk(),
    clock: systemClock(),
    logger: silentLogger,
    runs: join(stateDir, "runs"),
    bootId,
    nodePath: process.execPath,
    host: {},
  });
  for (const { instanceId, state } of await runtime.inspect())
    if (state.kind === "running") await runtime.stop(instanceId);
}
