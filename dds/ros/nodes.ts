import { compileDecoder, type MessageDecoder } from "../cdr/decode.ts";
import type { CdrRecord, CdrValue } from "../cdr/value.ts";
import { LIMITS } from "../limits.ts";
import { discoveryMessages } from "../messages/interfaces.ts";
import { nodeName } from "./names.ts";

/**
 * The nodes that a participant announces on `ros_discovery_info`; undefined when the message is of neither known form. The form is
 * not announced: Gids have 16 bytes since Iron and 24 before. Only the right one uses up the message.
 */
export function readNodes(payload: Uint8Array): readonly string[] | undefined {
  for (const decoder of DECODERS) {
    const decoded = decoder.decode(payload);
    if (!decoded.ok || decoded.bytesLeft > PADDING_BYTES_MAX) continue;
    const nodes = decoded.value["node_entities_info_seq"];
    if (!Array.isArray(nodes) || nodes.length > LIMITS.nodesPerParticipantMax) continue;
    const names = nodes.map(nameOf);
    if (names.every((name) => name !== undefined)) return names;
  }
  return undefined;
}

const PADDING_BYTES_MAX = 3;
const DECODERS: readonly MessageDecoder[] = ([16, 24] as const).map((gidBytes) => {
  const compiled = compileDecoder("rmw_dds_common/msg/ParticipantEntitiesInfo", discoveryMessages(gidBytes));
  if (!compiled.ok) throw new TypeError("the definition is our own");
  return compiled.decoder;
});

function nameOf(node: CdrValue): string | undefined {
  const { node_namespace: namespace, node_name: name } = isRecord(node) ? node : {};
  return typeof namespace === "string" && typeof name === "string" ? nodeName(namespace, name) : undefined;
}

function isRecord(value: CdrValue): value is CdrRecord {
  return typeof value === "object" && !Array.isArray(value) && !(value instanceof Uint8Array);
}
