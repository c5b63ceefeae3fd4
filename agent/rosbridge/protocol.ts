import { parseJson } from "@muto/spec";
import type { WebSocketMessage } from "./web-socket.ts";

/** What a rosbridge server says (ROSBRIDGE_PROTOCOL.md of rosbridge_suite), as far as this client asks for it. */
export type FromServer =
  | { readonly op: "publish"; readonly topic: string; readonly message: TopicMessage }
  | { readonly op: "service_response"; readonly id: string; readonly result: boolean; readonly values: unknown }
  | { readonly op: "other" }
  /** Nothing that a rosbridge server says. */
  | { readonly op: "garbage" };

export type TopicMessage =
  | { readonly kind: "read"; readonly content: unknown }
  /** Asked for in raw form, or larger than the limit: only that it came counts. */
  | { readonly kind: "unread" }
  /** It names a topic and cannot be parsed, as when a server writes NaN as such. */
  | { readonly kind: "malformed" };

export type ToServer =
  | {
      readonly op: "subscribe";
      readonly id: string;
      readonly topic: string;
      readonly type: string;
      readonly throttle_rate: number;
      readonly queue_length: number;
      readonly compression: "none" | "cbor-raw";
    }
  | { readonly op: "unsubscribe"; readonly id: string; readonly topic: string }
  | {
      readonly op: "advertise";
      readonly id: string;
      readonly topic: string;
      readonly type: string;
      readonly latch: boolean;
      readonly queue_size: number;
    }
  | { readonly op: "publish"; readonly topic: string; readonly msg: object }
  | {
      readonly op: "call_service";
      readonly id: string;
      readonly service: string;
      readonly type: string;
      readonly args: object;
    };

/** Messages nest as their types do; nobody nests twenty messages. */
const DEPTH_MAX = 24;

/** The length of ROS names that are seen as such. */
const TOPIC_CHARS_MAX = 255;

export function readMessage({ kind, bytes, isWhole }: WebSocketMessage): FromServer {
  if (kind === "binary") {
    const topic = topicInCbor(bytes);
    return topic === undefined ? { op: "garbage" } : { op: "publish", topic, message: { kind: "unread" } };
  }
  const json = isWhole ? parseJson(bytes, { bytesMax: bytes.byteLength, depthMax: DEPTH_MAX }) : undefined;
  if (json?.ok === true) return readJson(json.value);
  const topic = topicInText(bytes);
  if (topic === undefined) return { op: "garbage" };
  return { op: "publish", topic, message: { kind: isWhole ? "malformed" : "unread" } };
}

function readJson(value: unknown): FromServer {
  if (!isRecord(value)) return { op: "garbage" };
  const { op, topic, msg, id, result, values } = value;
  if (op === "publish") {
    if (typeof topic !== "string") return { op: "garbage" };
    return { op, topic, message: { kind: "read", content: msg } };
  }
  if (op === "service_response" && typeof id === "string") return { op, id, result: result === true, values };
  return typeof op === "string" ? { op: "other" } : { op: "garbage" };
}

/** The topic of a message that is too large or broken to be parsed; servers write it before the content. */
function topicInText(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, HEAD_CHARS)).toString("latin1");
  if (!/"op"\s*:\s*"publish"/.test(head)) return undefined;
  return /"topic"\s*:\s*"([^"\\]{1,255})"/.exec(head)?.[1];
}

const HEAD_CHARS = 600;

const CBOR = { text: 3, map: 5, indefinite: 31 } as const;

/** The value of the key `topic` at the beginning of a CBOR map (RFC 8949) whose values before it are texts too. */
function topicInCbor(bytes: Uint8Array): string | undefined {
  const [first = 0] = bytes;
  if (first >> 5 !== CBOR.map) return undefined;
  const count = first & 0x1f;
  const cursor = { at: 1 };
  for (let left = count === CBOR.indefinite ? PAIRS_MAX : Math.min(count, PAIRS_MAX); left > 0; left -= 1) {
    const key = textInCbor(bytes, cursor);
    const value = key === undefined ? undefined : textInCbor(bytes, cursor);
    if (value === undefined) return undefined;
    if (key === "topic") return value;
  }
  return undefined;
}

const PAIRS_MAX = 4;

function textInCbor(bytes: Uint8Array, cursor: { at: number }): string | undefined {
  const head = bytes[cursor.at];
  if (head === undefined || head >> 5 !== CBOR.text) return undefined;
  const short = head & 0x1f;
  const long = short === 24 ? bytes[cursor.at + 1] : short < 24 ? short : undefined;
  if (long === undefined || long > TOPIC_CHARS_MAX) return undefined;
  const start = cursor.at + (short === 24 ? 2 : 1);
  if (start + long > bytes.byteLength) return undefined;
  cursor.at = start + long;
  return Buffer.from(bytes.subarray(start, start + long)).toString("utf8");
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
