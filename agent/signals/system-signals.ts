import { systemUdpNetwork } from "@muto/dds/udp-network";
import { systemDisk } from "@muto/kit/disk";
import { systemWebSocket } from "../rosbridge/system-web-socket.ts";
import { openSignalReader, type OpenSignalReader, type SignalReaderOptions } from "./signal-reader.ts";

/** The vehicle's signals over its real network and file system. */
export function openSignals(
  options: Omit<SignalReaderOptions, "disk" | "webSocket" | "udp">,
): Promise<OpenSignalReader> {
  return openSignalReader({
    ...options,
    disk: systemDisk(),
    webSocket: systemWebSocket(options.random),
    udp: systemUdpNetwork(),
  });
}
