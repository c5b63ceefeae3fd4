import { join } from "node:path";
import { timestamp } from "@muto/kit/clock";
import { DiskError } from "@muto/kit/disk";
import { removeLeftovers, writeDurably } from "@muto/kit/durable-file";
import { ulid } from "@muto/kit/ids";
import { createRegistryClient } from "@muto/oci/client";
import type { RegistryCredentials } from "@muto/oci/auth";
import { registryBase } from "@muto/oci/transport";
import type { AgentConfig, AgentView, Facts, HealthReport } from "@muto/spec";
import { MEDIA_TYPES } from "@muto/spec";
import { signEnvelope } from "@muto/trust/dsse";
import type { Signer } from "@muto/trust/keys";
import type { TrustRoots } from "@muto/trust/roots";
import { createVehicleToken } from "@muto/trust/vehicle-token";
import { openContentStore, type ContentStore } from "./cache/content-store.ts";
import { graphView } from "./check/view.ts";
import { cleanSets, protectedSets, setFolder } from "./cache/sets.ts";
import { openState } from "./cache/state.ts";
import { createTailKeeper } from "./effects/tails.ts";
import { createCloudClient } from "./link/cloud-client.ts";
import { makeEnrolment, type NoClaim } from "./link/enrolment.ts";
import { createLink, type EnrolmentState, type Link, type LinkOptions } from "./link/link.ts";
import { openOutbox, type Outbox, type ReportSealer } from "./link/outbox.ts";
import { createAgent, type Agent } from "./loop.ts";
import { createOfferVerifier } from "./offer-verifier.ts";
import type { AgentPorts } from "./ports.ts";
import type { AgentServices, SetFolders, StateKeeper } from "./services.ts";
import { AGENT_VERSION } from "./version.ts";

export interface AgentSettings {
  /** As `loadAgentConfig` returns it: defaults filled in, paths absolute. */
  readonly config: AgentConfig;
  readonly roots: TrustRoots;
  /** The vehicle's own key. */
  readonly signer: Signer;
  readonly registryCredentials?: RegistryCredentials;
  /** The last one ended because its storage had failed and works again: nothing that is read is believed to be durable. */
  readonly afterFault?: boolean;
}

/** `storage-recovered`: what could not be written can be written again; open the agent anew, `afterFault`. */
export type RunEnd = "stopped" | "storage-recovered";

export interface OpenAgent extends AsyncDisposable {
  readonly agent: Agent;
  readonly link: Link;
  /** For a technician beside the vehicle. */
  view(): Promise<AgentView>;
  /** Loop and link until the signal aborts; workloads go on running. Rejects on a bug only. */
  run(signal: AbortSignal): Promise<RunEnd>;
}

/** Output tails that wait on the vehicle; a fleet's operators look at the newest. */
const TAILS_MAX = 16;

/**
 * One agent over its ports: the real ones in `main.ts`, simulated ones by the hundred in a simulator. Opens what is durable in
 * `stateDir`; closing it signals no workload. Rejects with a DiskError when the disk refuses to be opened at all.
 */
export async function openAgent(ports: AgentPorts, settings: AgentSettings): Promise<OpenAgent> {
  const { config, roots } = settings;
  const { disk, clock, random, logger } = ports;
  const { stateDir, vehicle } = config;
  const place = (name: string) => join(stateDir, name);
  await disk.makeFolder(stateDir);
  await removeLeftovers(disk, stateDir);
  await using opening = new AsyncDisposableStack();
  const newInstallId = () => ulid(clock, random);
  const rewrite = settings.afterFault === true;
  const state = await openState({ disk, folder: stateDir, rewrite });
  opening.use(state.store);
  const opened = await openOutbox({ disk, folder: stateDir, seal: sealWith(settings.signer), newInstallId, rewrite });
  const outbox = opening.use(opened.outbox);
  if (state.found.kind !== "intact" && state.found.kind !== "created")
    logger.warn("state was mended", { found: state.found.kind });
  if (opened.found.kind === "damaged") logger.warn("outbox was damaged", { found: opened.found.kind });
  const content = await openContentStore(disk, place("content"));
  const tails = createTailKeeper(ports, place("tails"), {
    tailBytesMax: config.limits.outputTailBytes,
    tailsMax: TAILS_MAX,
  });
  const linkHolder: { link?: Link } = {};
  const services: AgentServices = {
    ...ports,
    config,
    bootId: await ports.boot.id(),
    store: state.store,
    content,
    registry: registryOf(ports, settings),
    sets: setFoldersOf(ports, content, state.store, place("sets")),
    reports: {
      append: async (report) => {
        const queued = await outbox.append(report);
        linkHolder.link?.reportQueued();
        return queued;
      },
    },
    verifier: createOfferVerifier(roots, vehicle.id),
  };
  const agent = createAgent(services, tails);
  const contact = watchContact(clock, settings.signer);
  const options = linkOptions(ports, settings, { agent, outbox, store: state.store });
  const link = createLink({
    ...options,
    tails,
    onEnrolment: contact.enrolled,
    onContact: (answer) => {
      contact.answered();
      options.onContact(answer);
    },
  });
  linkHolder.link = link;
  const closing = opening.move();
  return {
    agent,
    link,
    view: async () => {
      const health = await options.health();
      const graph = await graphView(ports.graph, config);
      const seen = { health, ...contact.view(), ...(graph === undefined ? {} : { graph }) };
      return { kind: "muto.agent-view/v1", ...seen, ...(await agent.view()) };
    },
    run: (signal) => {
      const isFaulted = () => state.store.fault !== undefined || outbox.fault !== undefined;
      return runAll(agent, link, (stop) => untilRecovered(ports, stateDir, isFaulted, stop), signal);
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

/** What the cloud last let this vehicle know of itself, for a technician. */
function watchContact(clock: AgentPorts["clock"], { publicKey: { keyid } }: Signer) {
  const last: { answeredMs?: number; state: AgentView["enrolment"]["state"] } = { state: "unknown" };
  return {
    answered: () => void (last.answeredMs = clock.monotonicMs()),
    enrolled: (state: EnrolmentState) => void (last.state = state),
    view: (): Pick<AgentView, "cloud" | "enrolment"> => {
      const { answeredMs, state } = last;
      const lastAnswerAgeMs = answeredMs === undefined ? null : Math.round(clock.monotonicMs() - answeredMs);
      return { cloud: { lastAnswerAgeMs }, enrolment: { state, keyid } };
    },
  };
}

/** When one of them ends by a bug, the others are ended too, so that whoever supervises the agent starts it afresh. */
async function runAll(
  agent: Agent,
  link: Link,
  recovery: (stop: AbortSignal) => Promise<boolean>,
  signal: AbortSignal,
): Promise<RunEnd> {
  const ending = new AbortController();
  const stop = AbortSignal.any([signal, ending.signal]);
  let recovered = false;
  const watch = async () => {
    recovered = await recovery(stop);
    ending.abort();
  };
  const parts = [agent.run(stop), link.run(stop), watch()].map((part) =>
    part.catch((error: unknown) => {
      ending.abort();
      throw error;
    }),
  );
  const results = await Promise.allSettled(parts);
  const failure = results.find((result) => result.status === "rejected");
  if (failure?.status === "rejected") throw failure.reason;
  return recovered && !signal.aborted ? "storage-recovered" : "stopped";
}

const STORAGE_RECHECK_MS = 60_000;

/**
 * After a storage fault the agent keeps up what runs and decides nothing. True once the disk takes a file again, durably; a
 * vehicle must not need a visit because its disk failed once.
 */
async function untilRecovered(
  { disk, clock, logger }: AgentPorts,
  stateDir: string,
  isFaulted: () => boolean,
  stop: AbortSignal,
): Promise<boolean> {
  const path = join(stateDir, "storage-check");
  while (!stop.aborted) {
    await clock.sleep(STORAGE_RECHECK_MS, stop);
    if (stop.aborted || !isFaulted()) continue;
    try {
      await writeDurably(disk, path, new TextEncoder().encode(timestamp(clock.wallMs())));
      await disk.remove(path);
      logger.info("storage works again");
      return true;
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      logger.warn("storage still refuses", { code: error.code });
    }
  }
  return false;
}

interface Wired {
  readonly agent: Agent;
  readonly outbox: Outbox;
  readonly store: StateKeeper;
}

function linkOptions(
  ports: AgentPorts,
  { config, roots, signer }: AgentSettings,
  wired: Wired,
): Omit<LinkOptions, "onEnrolment"> {
  const { disk, clock, random, logger, http, mqtt } = ports;
  const { agent, outbox, store } = wired;
  const { cloud, vehicle } = config;
  const { tenant } = roots;
  const makeToken = (nowMs: number) => createVehicleToken(signer, { vehicleId: vehicle.id, tenant, nowMs });
  const timeoutMs = cloud.requestTimeoutSec * 1000;
  const client = createCloudClient({
    url: cloud.url,
    http,
    clock,
    logger,
    timeoutMs,
    makeToken,
    vehicleId: vehicle.id,
  });
  const health = async (): Promise<HealthReport> => ({
    kind: "muto.health-report/v1",
    vehicleId: vehicle.id,
    installId: outbox.installId,
    at: timestamp(clock.wallMs()),
    agentVersion: AGENT_VERSION,
    facts: factsOf(config),
    ...(await agent.health()),
  });
  return {
    tenant,
    vehicleId: vehicle.id,
    cloudUrl: cloud.url,
    cloud: client,
    broker:
      mqtt === undefined
        ? undefined
        : {
            connector: mqtt,
            username: config.mqtt?.username ?? vehicle.id,
            password: passwordOf(ports, config, () => client.token()),
          },
    outbox,
    clock,
    random,
    logger,
    pollMs: cloud.pollSec * 1000,
    healthMs: cloud.healthSec * 1000,
    sequenceFloor: () => store.state.floors.sequence,
    isOfferTaken: () => agent.hasTakenOffer(),
    health,
    enrolment: () =>
      makeEnrolment({
        disk,
        clock,
        signer,
        tenant,
        vehicleId: vehicle.id,
        facts: factsOf(config),
        claimFile: cloud.claimFile,
        installId: () => outbox.installId,
        onNoClaim: sayOnce((path, problem) =>
          logger.warn("claim file holds no claim; an operator must accept this vehicle's key", { path, problem }),
        ),
      }),
    onContact: ({ offer, serverDateMs }) => agent.offer({ offer, serverDateMs }),
  };
}

/** The vehicle asks to be known again and again; what is wrong with its claim is worth one line until that changes. */
function sayOnce(say: (path: string, problem: NoClaim) => void): (path: string, problem: NoClaim) => void {
  const said = new Set<NoClaim>();
  return (path, problem) => {
    if (!said.has(problem)) say(path, problem);
    said.add(problem);
  };
}

/** From the file that the configuration names, read anew each time; else a short-lived token made with the vehicle's key. */
function passwordOf({ disk }: AgentPorts, { mqtt }: AgentConfig, token: () => Promise<string>): () => Promise<string> {
  const file = mqtt?.passwordFile;
  if (file === undefined) return token;
  return async () => new TextDecoder().decode(await disk.read(file)).trim();
}

function factsOf({ vehicle }: AgentConfig): Facts {
  const { os, rosDistro, arch, timezone } = vehicle;
  return { os, rosDistro, timezone, agentVersion: AGENT_VERSION, ...(arch === undefined ? {} : { arch }) };
}

/** The signature covers the number and the installation, so both are put in right before it is made (H19). */
function sealWith(signer: Signer): ReportSealer {
  return async ({ installId, seq, body }) => {
    const draft: unknown = JSON.parse(new TextDecoder().decode(body));
    if (typeof draft !== "object" || draft === null) throw new Error("a report in the outbox is no object");
    const payload = new TextEncoder().encode(JSON.stringify({ ...draft, installId, seq }));
    const envelope = await signEnvelope(MEDIA_TYPES.reconcileReport, payload, [signer]);
    return new TextEncoder().encode(JSON.stringify(envelope));
  };
}

function registryOf(ports: AgentPorts, { config, registryCredentials }: AgentSettings): AgentServices["registry"] {
  if (config.registry === undefined) return undefined;
  const base = registryBase(config.registry.url);
  if (!base.ok) throw new Error(`registry.url cannot be used: ${base.problem}`);
  return createRegistryClient(ports, {
    origin: base.origin,
    ...(registryCredentials === undefined ? {} : { credentials: registryCredentials }),
  });
}

function setFoldersOf({ disk }: AgentPorts, content: ContentStore, store: StateKeeper, setsFolder: string): SetFolders {
  return {
    folderOf: (digest) => setFolder(setsFolder, digest),
    freeBytes: () => disk.freeBytes(setsFolder).catch(fromParent(disk, setsFolder)),
    sweep: (keep, blobsOf) => {
      const protect = protectedSets(store.state);
      return cleanSets({ disk, content, setsFolder, keep: [...new Set([...keep, ...protect])], protect, blobsOf });
    },
  };
}

/** Before the first set there is no folder for sets; the disk is the same one. */
function fromParent(disk: AgentPorts["disk"], setsFolder: string): (error: unknown) => Promise<number> {
  return (error) => {
    if (error instanceof DiskError && error.code === "ENOENT") return disk.freeBytes(join(setsFolder, ".."));
    throw error;
  };
}
