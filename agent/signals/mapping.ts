import type {
  AgentConfig,
  DdsProvider,
  MappedSignal,
  MessageDefinition,
  RosbridgeProvider,
  SignalMapping,
  SignalMappingInput,
} from "@muto/spec";
import { yawRateSource } from "../safety/hear.ts";
import type { SignalKey } from "../safety/signals.ts";
import { PRESETS } from "./presets/presets.ts";

/** What one provider listens to: each topic once, with everything that is read from it. */
export interface TopicPlan {
  readonly topic: string;
  /** `package/msg/Type` */
  readonly type: string;
  readonly latched: boolean;
  readonly mappings: readonly SignalMapping[];
}

export interface ProviderPlan {
  readonly topics: readonly TopicPlan[];
  readonly heartbeat: { readonly topic: string; readonly type: string } | undefined;
  /** The vehicle's own come last. */
  readonly messages: readonly MessageDefinition[];
}

export type RosProvider = RosbridgeProvider | DdsProvider;

/** The key of a signal line that a mapped signal is said under. */
export const KEY_OF = {
  speed: "speedMps",
  yawRate: "yawRateRadps",
  parked: "parked",
  mode: "mode",
  battery: "batteryPct",
  charging: "charging",
  metered: "metered",
  hold: "hold",
  changeAcknowledged: "changeAcknowledged",
} as const satisfies Record<MappedSignal, SignalKey>;

/**
 * Presets and own mappings of one provider, without what no signal of this vehicle asks of it. Topics that the vehicle declares
 * absent are left out of presets only: what it maps itself it has.
 */
export function planOf(signals: AgentConfig["signals"], provider: RosProvider): ProviderPlan {
  const used = usedSignals(signals, provider.name);
  const mappings = mappingsOf(provider).filter(({ signal }) => used.has(signal));
  const byTopic = Map.groupBy(mappings, ({ topic }) => topic);
  const topics = [...byTopic].map(([topic, parts]) => ({
    topic,
    type: parts[0]?.type ?? "",
    latched: parts.some(({ latched }) => latched),
    mappings: parts,
  }));
  const presets = provider.presets.map((name) => PRESETS[name]);
  const own = provider.kind === "rosbridge" ? provider.heartbeat : undefined;
  const beats = presets.flatMap(({ heartbeat }) => (heartbeat === undefined ? [] : [heartbeat]));
  return {
    topics,
    heartbeat: own ?? beats.find(({ topic }) => !provider.without.includes(topic)),
    messages: [
      ...presets.flatMap(({ messages }) => messages ?? []),
      ...(provider.kind === "dds" ? provider.messages : []),
    ],
  };
}

/** All mappings of a provider, whether a signal uses them or not. */
export function mappingsOf(provider: RosProvider): readonly SignalMapping[] {
  const absent = new Set(provider.without);
  const ready = provider.presets.flatMap((name) => PRESETS[name].mappings).filter(({ topic }) => !absent.has(topic));
  const answer = provider.kind === "rosbridge" ? provider.change?.acknowledgementTopic : undefined;
  const written: readonly SignalMappingInput[] = [...ready, ...(answer === undefined ? [] : [acknowledgement(answer)])];
  return [...written.map((mapping) => ({ scale: 1, offset: 0, latched: false, ...mapping })), ...provider.mappings];
}

function acknowledgement(topic: string): SignalMappingInput {
  return { signal: "changeAcknowledged", topic, type: STRING_TYPE, path: ["data"] };
}

export const STRING_TYPE = "std_msgs/msg/String";

/** The signals that the configuration asks of a provider. Acknowledging a change is always asked. */
export function usedSignals(signals: AgentConfig["signals"], provider: string): ReadonlySet<MappedSignal> {
  const names = (source: AgentConfig["signals"]["hold"]) =>
    source !== undefined && source !== "none" && source.some((ref) => ref.provider === provider);
  const used: readonly (readonly [MappedSignal, boolean])[] = [
    ["speed", names(signals.speed)],
    ["yawRate", names(yawRateSource(signals))],
    ["parked", names(signals.parked)],
    ["mode", names(signals.mode)],
    ["battery", names(signals.battery)],
    ["charging", names(signals.battery)],
    ["metered", names(signals.metered)],
    ["hold", names(signals.hold)],
    ["changeAcknowledged", true],
  ];
  return new Set(used.filter(([, isUsed]) => isUsed).map(([signal]) => signal));
}
