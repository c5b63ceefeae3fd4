import { HEAD_BYTES, type WebSocketMessage } from "./web-socket.ts";

/** The frames of a server (RFC 6455, section 5), cut anywhere. Data that is not kept is not held in memory either. */
export interface FrameReader {
  /** False: the bytes are no frames of a server, and the connection must be ended. */
  read(chunk: Uint8Array): boolean;
}

export interface FrameHandlers {
  readonly messageBytesMax: number;
  readonly onMessage: (message: WebSocketMessage) => void;
  readonly onPing: (payload: Uint8Array) => void;
  readonly onClose: () => void;
}

export const OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

const CONTROL_BYTES_MAX = 125;

export function createFrameReader(handlers: FrameHandlers): FrameReader {
  let rest: Buffer = Buffer.alloc(0);
  let frame: Frame | undefined;
  let message: PartialMessage | undefined;

  const begin = (header: FrameHeader): boolean => {
    const { opcode, isFinal, payloadBytes } = header;
    if (opcode >= OPCODES.close) {
      const isKnown = opcode <= OPCODES.pong;
      if (!isKnown || !isFinal || payloadBytes > CONTROL_BYTES_MAX) return false;
      frame = { ...header, left: payloadBytes, into: partial("binary", CONTROL_BYTES_MAX) };
      return true;
    }
    if (opcode > OPCODES.binary || (opcode === OPCODES.continuation) !== (message !== undefined)) return false;
    message ??= partial(opcode === OPCODES.text ? "text" : "binary", handlers.messageBytesMax);
    frame = { ...header, left: payloadBytes, into: message };
    return true;
  };
  const end = ({ opcode, isFinal, into }: Frame) => {
    frame = undefined;
    if (opcode === OPCODES.ping) handlers.onPing(whole(into).bytes);
    else if (opcode === OPCODES.close) handlers.onClose();
    else if (opcode < OPCODES.close && isFinal) {
      message = undefined;
      handlers.onMessage(whole(into));
    }
  };
  return {
    read: (chunk) => {
      let bytes = rest.byteLength === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
      for (;;) {
        if (frame === undefined) {
          const header = headerOf(bytes);
          if (header === "incomplete") break;
          if (header === "wrong" || !begin(header)) return false;
          bytes = bytes.subarray(header.headerBytes);
        }
        if (frame === undefined) return false;
        const taken = bytes.subarray(0, frame.left);
        add(frame.into, taken);
        frame.left -= taken.byteLength;
        bytes = bytes.subarray(taken.byteLength);
        if (frame.left > 0) break;
        end(frame);
      }
      // Copied, so that a short rest does not keep a large chunk alive.
      rest = Buffer.from(bytes);
      return true;
    },
  };
}

interface FrameHeader {
  readonly isFinal: boolean;
  readonly opcode: number;
  readonly payloadBytes: number;
  readonly headerBytes: number;
}

interface Frame extends FrameHeader {
  left: number;
  readonly into: PartialMessage;
}

interface PartialMessage {
  readonly kind: "text" | "binary";
  readonly bytesMax: number;
  chunks: Buffer[];
  keptBytes: number;
  isWhole: boolean;
}

/** Servers do not mask, and without extensions the reserved bits are zero. */
function headerOf(bytes: Buffer): FrameHeader | "incomplete" | "wrong" {
  const [first, second] = bytes;
  if (first === undefined || second === undefined) return "incomplete";
  if ((first & 0x70) !== 0 || (second & 0x80) !== 0) return "wrong";
  const short = second & 0x7f;
  const headerBytes = short === 127 ? 10 : short === 126 ? 4 : 2;
  if (bytes.byteLength < headerBytes) return "incomplete";
  const long = short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short;
  if (!Number.isSafeInteger(long)) return "wrong";
  return { isFinal: (first & 0x80) !== 0, opcode: first & 0x0f, payloadBytes: long, headerBytes };
}

function partial(kind: "text" | "binary", bytesMax: number): PartialMessage {
  return { kind, bytesMax, chunks: [], keptBytes: 0, isWhole: true };
}

function add(message: PartialMessage, bytes: Buffer): void {
  if (!message.isWhole) return;
  message.chunks.push(Buffer.from(bytes));
  message.keptBytes += bytes.byteLength;
  if (message.keptBytes <= message.bytesMax) return;
  message.isWhole = false;
  message.chunks = [Buffer.concat(message.chunks).subarray(0, HEAD_BYTES)];
}

function whole({ kind, chunks, isWhole }: PartialMessage): WebSocketMessage {
  return { kind, isWhole, bytes: new Uint8Array(Buffer.concat(chunks)) };
}
