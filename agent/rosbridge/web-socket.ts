/** The way to a WebSocket server. A simulator replaces it; `system-web-socket.ts` is the real one. */
export interface WebSocketConnector {
  /** Begins to connect. It never throws: whatever goes wrong ends in `onClosed`, which is called exactly once. */
  connect(options: WebSocketOptions): WebSocketConnection;
}

export interface WebSocketOptions {
  /** `ws://` or `wss://`. */
  readonly url: string;
  /** Larger messages are not kept; only their beginning is handed on. */
  readonly messageBytesMax: number;
  readonly onOpen: () => void;
  readonly onMessage: (message: WebSocketMessage) => void;
  /** Any sign of life of the other side, an answer to `ping` included. */
  readonly onAlive: () => void;
  /** `reason` is a constant or the code of an error, never text from the other side. */
  readonly onClosed: (reason: string) => void;
}

export interface WebSocketMessage {
  readonly kind: "text" | "binary";
  /** The whole message, or the first {@link HEAD_BYTES} of one that is larger than the limit. */
  readonly bytes: Uint8Array;
  readonly isWhole: boolean;
}

export interface WebSocketConnection {
  /** Sends a text. Nothing happens when the connection is not open; it is closed when the other side does not read. */
  send(text: string): void;
  /** Asks the other side for a sign of life. */
  ping(): void;
  /** Ends the connection at once; `onClosed` follows. */
  close(): void;
}

export const HEAD_BYTES = 1_024;
