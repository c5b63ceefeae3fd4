/** An IPv4 address with a UDP port. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** The only way to the network. A simulator replaces it; `udp-network.ts` is the real one. */
export interface UdpNetwork {
  /** Opens a socket; rejects when the address or port cannot be had. */
  open(options: UdpSocketOptions): Promise<UdpSocket>;
}

export interface UdpSocketOptions {
  /** IPv4 address of the interface. Nothing leaves through another one. */
  readonly interfaceAddress: string;
  /** 0 chooses a free one. */
  readonly port: number;
  /** Joins this group on the interface, shares the port with other processes, and hears only what is sent to the group. */
  readonly multicastGroup?: string;
  /** Called for each datagram; `bytes` belongs to the callee. It must not throw. */
  readonly onDatagram: (bytes: Uint8Array, from: Address) => void;
}

export interface UdpSocket extends AsyncDisposable {
  readonly port: number;
  /**
   * Hands a datagram to the system, to a host or a group (time to live 1, heard on this computer too). Never throws: a
   * datagram that cannot be sent is lost, as datagrams may be. The promise resolves when the system has it or has refused it.
   */
  send(bytes: Uint8Array, to: Address): Promise<void>;
}
