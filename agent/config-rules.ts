import type { AgentConfig, SignalSource, SignalsConfig } from "@muto/spec";
import { graphProviderOf } from "./signals/graph-provider.ts";
import { rosProviderWarnings, wrongGraph, wrongRosProviders } from "./signals/provider-rules.ts";
import { isTimezone } from "./safety/window.ts";

/** What a schema cannot say about a configuration: its parts must fit each other and the computer. */
export interface Complaint {
  /** Dotted name of the setting; empty for the whole file. */
  readonly setting: string;
  readonly message: string;
}

/** Bytes of a Unix socket's path that the kernel takes, without the final zero. */
const SOCKET_PATH_BYTES_MAX = 107;

const SIGNAL_NAMES = [
  "speed",
  "yawRate",
  "mode",
  "battery",
  "parked",
  "hold",
  "metered",
] as const satisfies readonly Exclude<keyof SignalsConfig, "providers" | "graph" | "lockFile">[];

const PLAIN_PROTOCOLS = new Set(["http:", "mqtt:", "ws:"]);

/** Settings with which the agent must not start, because they cannot mean what they say. */
export function contradictionsIn(config: AgentConfig): readonly Complaint[] {
  return [
    ...(isTimezone(config.vehicle.timezone)
      ? []
      : [{ setting: "vehicle.timezone", message: `is no time zone of this computer: ${config.vehicle.timezone}` }]),
    ...wrongUrls(config),
    ...wrongSources(config.signals),
    ...wrongProviders(config.signals),
    ...wrongRosProviders(config.signals),
    ...wrongGraph(config.signals),
    ...wrongFloor(config),
    ...wrongSecrets(config),
    ...(config.changeInProgress.acknowledgementRequired && config.signals.providers.length === 0
      ? [
          {
            setting: "changeInProgress.acknowledgementRequired",
            message: "needs a signal provider to hear the answer from",
          },
        ]
      : []),
  ];
}

/** Settings that are allowed and that somebody should know about. */
export function warningsFor(config: AgentConfig): readonly Complaint[] {
  const { safety, signals, cloud, mqtt, registry } = config;
  const shut = "is none while the floor demands it, so no change starts without a technician's confirmation";
  const hasParked = signals.parked !== undefined && signals.parked !== "none";
  const lowered = "is false: the vehicle's own floor no longer demands it";
  const unused = signals.providers.filter(
    ({ name }) => !referencedIn(signals).has(name) && graphProviderOf(signals) !== name,
  );
  const bridges = signals.providers.filter((provider) => provider.kind === "rosbridge");
  return [
    ...(signals.speed === "none" && safety.requireStationary && !hasParked
      ? [{ setting: "signals.speed", message: shut }]
      : []),
    ...(signals.mode === "none" && safety.denyAutonomous ? [{ setting: "signals.mode", message: shut }] : []),
    ...(safety.requireStationary ? [] : [{ setting: "safety.requireStationary", message: lowered }]),
    ...(safety.denyAutonomous ? [] : [{ setting: "safety.denyAutonomous", message: lowered }]),
    ...unused.map(({ name }) => ({ setting: "signals.providers", message: `names ${name}, which no signal uses` })),
    ...rosProviderWarnings(signals),
    ...bridges.flatMap(({ url }) => unencrypted("signals.providers", url)),
    ...unencrypted("cloud.url", cloud.url),
    ...(mqtt === undefined ? [] : unencrypted("mqtt.url", mqtt.url)),
    ...(registry === undefined ? [] : unencrypted("registry.url", registry.url)),
  ];
}

function wrongUrls({ cloud, mqtt, registry }: AgentConfig): readonly Complaint[] {
  const web = ["http:", "https:"];
  return [
    ...wrongUrl("cloud.url", cloud.url, web),
    ...(mqtt === undefined ? [] : wrongUrl("mqtt.url", mqtt.url, ["mqtt:", "mqtts:", "ws:", "wss:"])),
    ...(registry === undefined ? [] : wrongUrl("registry.url", registry.url, web)),
  ];
}

function wrongUrl(setting: string, text: string, protocols: readonly string[]): readonly Complaint[] {
  const url = URL.parse(text);
  const names = protocols.map((protocol) => protocol.slice(0, -1)).join(" or ");
  if (url === null || !protocols.includes(url.protocol) || url.hostname === "") {
    return [{ setting, message: `must be a URL that begins with ${names}` }];
  }
  if (url.username !== "" || url.password !== "") {
    return [{ setting, message: "holds a user name or password; secrets come from files" }];
  }
  return url.search === "" && url.hash === "" ? [] : [{ setting, message: "must have neither query nor fragment" }];
}

function wrongSources(signals: SignalsConfig): readonly Complaint[] {
  const providers = new Set(signals.providers.map(({ name }) => name));
  return SIGNAL_NAMES.flatMap((signal) =>
    sourcesOf(signals[signal]).flatMap(({ provider }, index) =>
      providers.has(provider)
        ? []
        : [{ setting: `signals.${signal}[${index}].provider`, message: `is not among signals.providers: ${provider}` }],
    ),
  );
}

function wrongProviders({ providers }: SignalsConfig): readonly Complaint[] {
  const setting = (index: number, field: string) => `signals.providers[${index}].${field}`;
  return providers.flatMap((provider, index) => {
    const { name } = provider;
    const earlier = providers.slice(0, index);
    return [
      ...(earlier.some((other) => other.name === name)
        ? [{ setting: setting(index, "name"), message: `is used twice: ${name}` }]
        : []),
      ...("path" in provider ? wrongPath(provider, earlier, setting(index, "path")) : []),
      ...(provider.kind === "rosbridge" ? wrongUrl(setting(index, "url"), provider.url, ["ws:", "wss:"]) : []),
    ];
  });
}

function wrongPath(
  { kind, path }: { readonly kind: string; readonly path: string },
  earlier: SignalsConfig["providers"],
  setting: string,
): readonly Complaint[] {
  return [
    ...(earlier.some((other) => "path" in other && other.path === path)
      ? [{ setting, message: `is used twice: ${path}` }]
      : []),
    ...(kind === "socket" && Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX
      ? [{ setting, message: `is longer than ${SOCKET_PATH_BYTES_MAX} bytes: ${path}` }]
      : []),
  ];
}

function wrongFloor({ safety, signals }: AgentConfig): readonly Complaint[] {
  const mustBePositive = "must be above 0, because nothing is ever below it";
  const hasParked = signals.parked !== undefined && signals.parked !== "none";
  return [
    ...(safety.speedMpsMax > 0 ? [] : [{ setting: "safety.speedMpsMax", message: mustBePositive }]),
    ...(safety.yawRateRadpsMax > 0 ? [] : [{ setting: "safety.yawRateRadpsMax", message: mustBePositive }]),
    ...(safety.requireParked && !hasParked
      ? [{ setting: "safety.requireParked", message: "needs a provider in signals.parked" }]
      : []),
    ...(safety.batteryPctMin > 0 && signals.battery === "none"
      ? [{ setting: "safety.batteryPctMin", message: "needs a provider in signals.battery" }]
      : []),
  ];
}

function wrongSecrets({ registry, mqtt }: AgentConfig): readonly Complaint[] {
  const { usernameFile, passwordFile } = registry ?? {};
  return [
    ...((usernameFile === undefined) === (passwordFile === undefined)
      ? []
      : [{ setting: "registry", message: "needs usernameFile and passwordFile, or neither" }]),
    ...(mqtt?.username !== undefined && mqtt.passwordFile === undefined
      ? [{ setting: "mqtt.username", message: "needs mqtt.passwordFile; without both, the vehicle's key is used" }]
      : []),
  ];
}

/** Plain text is for the computer itself; anywhere else tokens and reports can be read on the way. */
function unencrypted(setting: string, text: string): readonly Complaint[] {
  const url = URL.parse(text);
  return url !== null && PLAIN_PROTOCOLS.has(url.protocol) && !isLoopback(url.hostname)
    ? [{ setting, message: "is not encrypted, and does not stay on this computer" }]
    : [];
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

function referencedIn(signals: SignalsConfig): ReadonlySet<string> {
  return new Set(SIGNAL_NAMES.flatMap((signal) => sourcesOf(signals[signal]).map(({ provider }) => provider)));
}

function sourcesOf(source: SignalSource | undefined) {
  return source === undefined || source === "none" ? [] : source;
}
