import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createRegistry } from "./registry.ts";
import type { RegistryOptions, RegistryPorts } from "./registry.ts";

export interface ServedRegistry extends AsyncDisposable {
  /** `http://127.0.0.1:<port>`, the origin for clients. */
  readonly url: string;
}

/** A registry on a loopback port of its own (0 means any free one), for tests and desks; `muto up` mounts the handler instead. */
export async function serveRegistry(
  ports: RegistryPorts,
  options: RegistryOptions & { readonly port?: number },
): Promise<ServedRegistry> {
  const registry = await createRegistry(ports, options);
  const server = createServer((request, response) => {
    registry
      .handle(request, response)
      .then((ours) => ours || response.writeHead(404).end())
      .catch((error: unknown) => {
        ports.logger.error("registry request failed", { error });
        response.destroy();
      });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${portOf(server.address())}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await registry[Symbol.asyncDispose]();
    },
  };
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new Error("the server does not listen on a port");
  return address.port;
}
