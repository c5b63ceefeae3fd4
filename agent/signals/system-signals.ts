import { systemUdpNetwork } from "@muto/dds/udp-network";
import { systemWebSocket } from "../rosbridge/system-web-socket.ts";
import { openSignalReader, type OpenSignalReader, type SignalReaderOptions } from "./signal-reader.ts";

/** The vehicle's signals over its real network. */
export function openSignals(options: Omit<SignalReaderOptions, "webSocket" | "udp">): Promise<OpenSignalReader> {
  return openSignalReader({ ...options, webSocket: systemWebSocket(options.random), udp: systemUdpNetwork() });
}
