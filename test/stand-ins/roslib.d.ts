/** What the tests use of roslib, whose own declarations cannot be resolved by Node's rules. */
declare module "roslib" {
  import type { EventEmitter } from "node:events";

  export class Ros extends EventEmitter {
    connect(url: string): Promise<void>;
    close(): void;
    getNodes(callback: (nodes: readonly string[]) => void, failed?: (error: string) => void): void;
  }

  export class Topic<Message> {
    constructor(options: {
      readonly ros: Ros;
      readonly name: string;
      readonly messageType: string;
      readonly compression?: string;
      readonly throttle_rate?: number;
      readonly queue_length?: number;
    });
    subscribe(callback: (message: Message) => void): void;
    publish(message: Message): void;
  }

  export class Service {
    constructor(options: { readonly ros: Ros; readonly name: string; readonly serviceType: string });
    callService(request: object, callback: (answer: unknown) => void, failed: (error: string) => void): void;
  }
}
