import { createHash } from "node:crypto";
import { request as requestPlain, type ClientRequest } from "node:http";
import { request as requestTls } from "node:https";
import type { Duplex } from "node:stream";
import type { Random } from "@muto/kit/random";
import { createFrameReader, OPCODES } from "./web-socket-frames.ts";
import type { WebSocketConnector, WebSocketOptions } from "./web-socket.ts";

/** RFC 6455, section 1.3. */
const HANDSHAKE_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const UNREAD_BYTES_MAX = 262_144;

/**
 * WebSockets on Node's own HTTP client. Node's built-in WebSocket keeps messages of up to 128 MiB and cannot ask whether the
 * other side still lives; on a vehicle a picture that somebody put on a topic must not fill the memory, and a computer whose
 * cable was pulled must be missed.
 */
export function systemWebSocket(random: Random): WebSocketConnector {
  return {
    connect: (options) => {
      const closing = createClosing(options);
      const key = Buffer.from(random.bytes(16)).toString("base64");
      const request = beginHandshake(options.url, key);
      let socket: Duplex | undefined;
      request.on("error", (error) => closing.close(codeOf(error)));
      request.on("response", (response) => {
        response.resume();
        closing.close("HTTP_ANSWER");
      });
      request.on("upgrade", (response, opened, head) => {
        if (closing.isClosed() || response.headers["sec-websocket-accept"] !== acceptOf(key)) {
          opened.destroy();
          return closing.close("BAD_HANDSHAKE");
        }
        socket = opened;
        serve(opened, head, options, closing, random);
        options.onOpen();
      });
      closing.onClose(() => {
        socket?.destroy();
        request.destroy();
      });
      request.end();
      const write = (opcode: number, payload: Uint8Array) => {
        if (socket === undefined || closing.isClosed()) return;
        if (socket.writableLength > UNREAD_BYTES_MAX) closing.close("NOT_READING");
        else socket.write(maskedFrame(opcode, payload, random.bytes(4)));
      };
      return {
        send: (text) => write(OPCODES.text, Buffer.from(text)),
        ping: () => write(OPCODES.ping, new Uint8Array()),
        close: () => closing.close("CLOSED"),
      };
    },
  };
}

interface Closing {
  isClosed(): boolean;
  close(reason: string): void;
  onClose(callback: () => void): void;
}

/** Closed once, whoever is first: this side, the other side, or the network. */
function createClosing({ onClosed }: WebSocketOptions): Closing {
  let isClosed = false;
  const callbacks: (() => void)[] = [];
  return {
    isClosed: () => isClosed,
    onClose: (callback) => callbacks.push(callback),
    close: (reason) => {
      if (isClosed) return;
      isClosed = true;
      for (const callback of callbacks) callback();
      // Later, so that nobody is told within his own call.
      queueMicrotask(() => onClosed(reason));
    },
  };
}

function beginHandshake(url: string, key: string): ClientRequest {
  const target = new URL(url.replace(/^ws/, "http"));
  const open = target.protocol === "https:" ? requestTls : requestPlain;
  return open(target, {
    agent: false,
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": key,
    },
  });
}

function serve(socket: Duplex, head: Buffer, options: WebSocketOptions, closing: Closing, random: Random): void {
  const reader = createFrameReader({
    messageBytesMax: options.messageBytesMax,
    onMessage: (message) => {
      if (!closing.isClosed()) options.onMessage(message);
    },
    onPing: (payload) => {
      if (socket.writableLength > UNREAD_BYTES_MAX) closing.close("NOT_READING");
      else socket.write(maskedFrame(OPCODES.pong, payload, random.bytes(4)));
    },
    onClose: () => closing.close("CLOSED_BY_SERVER"),
  });
  const take = (chunk: Buffer) => {
    if (closing.isClosed()) return;
    options.onAlive();
    if (!reader.read(chunk)) closing.close("BAD_FRAME");
  };
  socket.on("data", take);
  socket.on("error", (error) => closing.close(codeOf(error)));
  socket.on("close", () => closing.close("CLOSED_BY_SERVER"));
  if (head.byteLength > 0) queueMicrotask(() => take(head));
}

/** RFC 6455, section 5.3: what a client sends is masked. */
function maskedFrame(opcode: number, payload: Uint8Array, mask: Uint8Array): Uint8Array {
  const { byteLength } = payload;
  const header = Buffer.alloc(byteLength < 126 ? 2 : byteLength < 65_536 ? 4 : 10);
  header[0] = 0x80 | opcode;
  header[1] = 0x80 | (byteLength < 126 ? byteLength : byteLength < 65_536 ? 126 : 127);
  if (header.byteLength === 4) header.writeUInt16BE(byteLength, 2);
  if (header.byteLength === 10) header.writeBigUInt64BE(BigInt(byteLength), 2);
  const masked = payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  return Buffer.concat([header, mask, masked]);
}

function acceptOf(key: string): string {
  return createHash("sha1").update(`${key}${HANDSHAKE_GUID}`).digest("base64");
}

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : "UNKNOWN";
}
