import { offeredQos } from "../discovery/qos.ts";
import type { Engine } from "../engine.ts";
import type { Graph, GraphParticipant, GraphPublisher, GraphTopic, TopicStatistics } from "../model.ts";
import { VENDOR } from "../wire/identifiers.ts";
import { ddsTopic, rosTopic, rosType } from "./names.ts";

/** What ROS knows of a domain at this moment; `nodes` are names by the writer that announced them. */
export function graphOf(engine: Engine, nodes: ReadonlyMap<string, readonly string[]>): Graph {
  const participants = [...engine.participants.values()];
  return {
    participants: participants.map(({ prefix, vendor, address, leaseMs, lastHeardMs }) => ({
      guidPrefix: prefix,
      vendor: vendorName(vendor),
      address,
      leaseMs,
      lastHeardMs,
    })),
    nodes: [...nodes]
      .filter(([writer]) => engine.hasWriter(writer))
      .flatMap(([writer, names]) => names.map((name) => ({ name, participant: writer.slice(0, PREFIX_DIGITS) })))
      .toSorted((a, b) => compare(a.name, b.name)),
    topics: topicsOf(engine),
  };
}

/** How a topic lives, by its ROS name. */
export function statisticsOf(
  engine: Engine,
  name: string,
  { nowMs, windowMs }: { readonly nowMs: number; readonly windowMs: number },
): TopicStatistics {
  const topic = ddsTopic(name);
  const writers = [...engine.participants.values()]
    .flatMap((participant) => [...participant.writers.values()])
    .filter((writer) => writer.topic === topic);
  const subscriptions = [...engine.subscriptions].filter(({ options }) => options.topic === topic);
  const received = subscriptions
    .map((subscription) => subscription.received(nowMs, windowMs))
    .toSorted((a, b) => b.samples - a.samples);
  return {
    name,
    publishers: writers.length,
    matched: writers.filter(({ guid }) => subscriptions.some((subscription) => subscription.inputOf(guid))).length,
    incompatible: [...new Set(writers.flatMap(({ guid }) => incompatible(engine, guid)))],
    received: received[0],
  };
}

const PREFIX_DIGITS = 24;

function topicsOf(engine: Engine): readonly GraphTopic[] {
  const topics = new Map<string, { name: string; type: string; publishers: GraphPublisher[] }>();
  for (const participant of engine.participants.values())
    for (const { guid, topic, type: ddsName, offer } of participant.writers.values()) {
      const [name, type] = [rosTopic(topic), rosType(ddsName)];
      if (name === undefined || type === undefined) continue;
      const known = topics.get(`${name} ${type}`) ?? { name, type, publishers: [] };
      known.publishers.push({ writer: guid, qos: offeredQos(offer), incompatible: incompatible(engine, guid) });
      topics.set(`${name} ${type}`, known);
    }
  return [...topics.values()].toSorted((a, b) => compare(a.name, b.name) || compare(a.type, b.type));
}

function incompatible(engine: Engine, writer: string): GraphPublisher["incompatible"] {
  return [...new Set([...engine.subscriptions].flatMap((subscription) => [...subscription.incompatibleWith(writer)]))];
}

function vendorName(vendor: number): GraphParticipant["vendor"] {
  if (vendor === VENDOR.cyclone) return "cyclone-dds";
  return vendor === VENDOR.fast ? "fast-dds" : "other";
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
