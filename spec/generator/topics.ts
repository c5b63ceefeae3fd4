import { parse } from "yaml";
import { ContractError, isObject, literal, textAt, toJson, type JsonObject } from "./json.ts";
import { lookUp, type SchemaTable } from "./schemas.ts";

export interface TopicEntry {
  readonly name: string;
  readonly pattern: string;
  readonly direction: "vehicle-to-cloud" | "cloud-to-vehicle";
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly payloadBytesMax: number;
  readonly message: string;
}

const FIELDS = ["name", "pattern", "direction", "qos", "retain", "payloadBytesMax", "message"];
const PATTERN = /^muto\/\{tenant\}\/vehicles\/\{vehicleId\}\/[a-z]+(\/[a-z]+)*$/;

/** Reads the fenced yaml blocks of mqtt-topics.md, one topic each. */
export function readTopics(markdown: string, table: SchemaTable): readonly TopicEntry[] {
  const blocks = [...markdown.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? "");
  if (blocks.length === 0) throw new ContractError("mqtt-topics.md holds no topic");
  return blocks.map((block, index) => {
    const where = `mqtt-topics.md, block ${index + 1}`;
    const parsed: unknown = parse(block, { uniqueKeys: true, strict: true });
    const entry = toJson(parsed, where);
    if (!isObject(entry)) throw new ContractError(`${where}: must be a mapping`);
    return readTopic(entry, table, where);
  });
}

function readTopic(entry: JsonObject, table: SchemaTable, where: string): TopicEntry {
  for (const key of Object.keys(entry))
    if (!FIELDS.includes(key)) throw new ContractError(`${where}: unknown field ${key}`);
  const { direction, qos, retain, payloadBytesMax } = entry;
  const pattern = textAt(entry, "pattern", where);
  const message = textAt(entry, "message", where);
  lookUp(table, message);
  if (!PATTERN.test(pattern)) throw new ContractError(`${where}: ${pattern} is not below the base of all topics`);
  if (direction !== "vehicle-to-cloud" && direction !== "cloud-to-vehicle")
    throw new ContractError(`${where}: unknown direction`);
  if (qos !== 0 && qos !== 1) throw new ContractError(`${where}: qos is 0 or 1`);
  if (typeof retain !== "boolean") throw new ContractError(`${where}: retain is true or false`);
  if (typeof payloadBytesMax !== "number") throw new ContractError(`${where}: payloadBytesMax is a number`);
  return { name: textAt(entry, "name", where), pattern, direction, qos, retain, payloadBytesMax, message };
}

export function topicsSource(topics: readonly TopicEntry[], table: SchemaTable): string {
  const names = topics.map(({ name }) => literal(name)).join(" | ");
  const messages = topics.map(({ name, message }) => `  readonly ${name}: messages.${message};`);
  const rows = topics.map((topic) => `  ${topic.name}: topicOf(${literal({ ...topic })}, PARAMS),`);
  return `import type * as messages from "./messages.ts";
import { topicOf, type Topic } from "../topic.ts";

export type TopicName = ${names};

/** What travels on each topic. */
export interface TopicMessages {
${messages.join("\n")}
}

const PARAMS = { tenant: ${literal(patternOf(table, "Tenant"))}, vehicleId: ${literal(patternOf(table, "VehicleId"))} };

export const TOPICS: { readonly [Name in TopicName]: Topic<Name> } = {
${rows.join("\n")}
};
`;
}

function patternOf(table: SchemaTable, name: string): string {
  return textAt(lookUp(table, name), "pattern", name);
}
