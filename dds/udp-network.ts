import { createSocket, type Socket } from "node:dgram";
import type { Address, UdpNetwork, UdpSocket, UdpSocketOptions } from "./network.ts";

/** Room for bursts; the kernel grants what its own limit allows. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** UDP of the operating system. Multicast goes through the given interface only, with a time to live of 1. */
export function systemUdpNetwork(): UdpNetwork {
  return { open: async (options) => await openSocket(options) };
}

async function openSocket(options: UdpSocketOptions): Promise<UdpSocket> {
  const { interfaceAddress, port, multicastGroup, onDatagram } = options;
  const socket = createSocket({
    type: "udp4",
    reuseAddr: multicastGroup !== undefined,
    recvBufferSize: RECEIVE_BUFFER_BYTES,
  });
  // Bound to the group itself, so that unicast to the shared port is left to those whose port it is.
  await bound(socket, port, multicastGroup ?? interfaceAddress);
  try {
    if (multicastGroup !== undefined) socket.addMembership(multicastGroup, interfaceAddress);
    socket.setMulticastInterface(interfaceAddress);
    socket.setMulticastLoopback(true);
    socket.setMulticastTTL(1);
  } catch (cause) {
    await closed(socket);
    throw new Error(`no multicast on ${interfaceAddress}`, { cause });
  }
  // Errors of a bound socket are those of single datagrams, which may be lost.
  socket.on("error", () => {});
  socket.on("message", (bytes, { address, port: fromPort }) => onDatagram(bytes, { host: address, port: fromPort }));
  let isOpen = true;
  return {
    port: socket.address().port,
    send: async (bytes, to) => {
      if (isOpen) await sent(socket, bytes, to);
    },
    [Symbol.asyncDispose]: async () => {
      if (!isOpen) return;
      isOpen = false;
      await closed(socket);
    },
  };
}

function bound(socket: Socket, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: Error) => {
      socket.close();
      reject(new Error(`cannot bind UDP ${address}:${port}`, { cause }));
    };
    socket.once("error", onError);
    socket.bind({ port, address }, () => {
      socket.off("error", onError);
      resolve();
    });
  });
}

function sent(socket: Socket, bytes: Uint8Array, { host, port }: Address): Promise<void> {
  return new Promise((resolve) => {
    // What the kernel refuses (no route, buffer full) is lost like any datagram.
    socket.send(bytes, port, host, () => resolve());
  });
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.close(() => resolve());
  });
}
