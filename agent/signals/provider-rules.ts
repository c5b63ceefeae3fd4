import { compilePathDecoder } from "@muto/dds/cdr/decode";
import type { DdsProvider, RosbridgeProvider, SignalMapping, SignalsConfig } from "@muto/spec";
import { ableToShowGraph } from "./graph-provider.ts";
import { mappingsOf, planOf, usedSignals, type RosProvider } from "./mapping.ts";
import { definitionsOf } from "./message-types.ts";

interface Complaint {
  readonly setting: string;
  readonly message: string;
}

/** What cannot be meant about providers of topics, beyond what the schema says. */
export function wrongRosProviders(signals: SignalsConfig): readonly Complaint[] {
  return signals.providers.flatMap((provider, index) => {
    if (provider.kind === "file" || provider.kind === "socket") return [];
    const setting = `signals.providers[${index}]`;
    return [
      ...provider.mappings.flatMap((mapping, at) => wrongMapping(mapping, `${setting}.mappings[${at}]`)),
      ...wrongTopics(signals, provider, setting),
      ...unmapped(signals, provider),
      ...(provider.kind === "rosbridge" ? wrongChange(provider, setting) : unreadable(signals, provider, setting)),
    ];
  });
}

/** The graph is shown by one provider, and everybody knows which. */
export function wrongGraph(signals: SignalsConfig): readonly Complaint[] {
  const able = ableToShowGraph(signals);
  if (signals.graph !== undefined && !able.includes(signals.graph)) {
    return [{ setting: "signals.graph", message: `is no provider of kind rosbridge or dds: ${signals.graph}` }];
  }
  if (signals.graph !== undefined || able.length < 2) return [];
  return [{ setting: "signals.graph", message: `must say which one shows the ROS graph: ${able.join(" or ")}` }];
}

/** Allowed, and probably not meant. */
export function rosProviderWarnings(signals: SignalsConfig): readonly Complaint[] {
  return signals.providers.flatMap((provider, index) => {
    if (provider.kind !== "rosbridge") return [];
    const plan = planOf(signals, provider);
    const latched = plan.topics.filter((topic) => topic.latched).map(({ topic }) => topic);
    if (latched.length === 0 || plan.heartbeat !== undefined) return [];
    const message = `is missing, so latched topics go stale soon after they were received: ${latched.join(", ")}`;
    return [{ setting: `signals.providers[${index}].heartbeat`, message }];
  });
}

function wrongMapping(
  { signal, values, path, scale, rawMin = -Infinity, rawMax = Infinity }: SignalMapping,
  setting: string,
): readonly Complaint[] {
  const said = (values ?? []).map(({ means }) => means);
  const listed = (values ?? []).flatMap(({ when }) => when.map(String));
  const isNumber = signal === "speed" || signal === "yawRate" || signal === "battery";
  const isText = signal === "changeAcknowledged";
  const complaints = (isWrong: boolean, field: string, message: string): readonly Complaint[] =>
    isWrong ? [{ setting: `${setting}.${field}`, message }] : [];
  return [
    ...complaints((isNumber || isText) && values !== undefined, "values", `mean nothing for ${signal}`),
    ...complaints(signal === "battery" && path.length > 1, "path", "must be one field for battery"),
    ...complaints(isText && path.length > 1, "path", `must be one field for ${signal}`),
    ...complaints(scale === 0, "scale", "is 0, so every value would be the same"),
    ...complaints(!(rawMin < rawMax), "rawMin", "must be below rawMax"),
    ...complaints(new Set(listed).size < listed.length, "values", "name the same value twice"),
    ...complaints(signal === "mode" && values === undefined, "values", "must say what the numbers mean"),
    ...complaints(
      signal === "mode" && said.some((word) => typeof word === "boolean"),
      "values",
      "must be modes or clear",
    ),
    ...complaints(
      !isNumber && !isText && signal !== "mode" && said.some((word) => typeof word !== "boolean" && word !== "clear"),
      "values",
      `must be true, false or clear for ${signal}`,
    ),
    ...complaints(
      !isNumber && !isText && values === undefined && path.length > 1,
      "values",
      "must say what several fields mean together",
    ),
  ];
}

function wrongTopics(signals: SignalsConfig, provider: RosProvider, setting: string): readonly Complaint[] {
  return planOf(signals, provider).topics.flatMap(({ topic, mappings }) => {
    const types = [...new Set(mappings.map(({ type }) => type))];
    if (types.length === 1) return [];
    return [{ setting: `${setting}.mappings`, message: `give ${topic} several types: ${types.join(", ")}` }];
  });
}

/** A signal that names a provider which maps nothing to it would be missing for ever. */
function unmapped(signals: SignalsConfig, provider: RosProvider): readonly Complaint[] {
  const mapped = new Set(mappingsOf(provider).map(({ signal }) => signal));
  const optional = new Set(["charging", "changeAcknowledged"]);
  return [...usedSignals(signals, provider.name)]
    .filter((signal) => !mapped.has(signal) && !optional.has(signal))
    .map((signal) => {
      const isImplied = signal === "yawRate" && signals.yawRate === undefined;
      const asked = isImplied ? "is left out and so asked of" : "names";
      return { setting: `signals.${signal}`, message: `${asked} ${provider.name}, which maps no topic to it` };
    });
}

function unreadable(signals: SignalsConfig, provider: DdsProvider, setting: string): readonly Complaint[] {
  const { topics, messages } = planOf(signals, provider);
  const definitions = definitionsOf(messages);
  return topics.flatMap(({ topic, type, mappings }) => {
    const paths = mappings.flatMap(({ path }) => path);
    const compiled = compilePathDecoder(type, paths, definitions);
    if (compiled.ok) return [];
    const { problem } = compiled;
    const what =
      "path" in problem ? `has no field ${problem.path}` : `cannot be read (${problem.code}: ${problem.type})`;
    return [{ setting: `${setting}.messages`, message: `${topic}: ${type} ${what}` }];
  });
}

function wrongChange({ change }: RosbridgeProvider, setting: string): readonly Complaint[] {
  if (change === undefined || change.topic !== undefined || change.service !== undefined) return [];
  return [{ setting: `${setting}.change`, message: "needs a topic or a service, so that somebody is told" }];
}
