import { createServer } from "node:http";

/*
 * The floor that a control plane on Node.js stands on: an HTTP server that answers every poll with "nothing new" and asks
 * nobody. Prints its port.
 */
const server = createServer((request, response) => {
  response.writeHead(304, { etag: request.headers["if-none-match"] ?? '"0"' }).end();
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  console.log(address.port);
});
process.once("SIGTERM", () => {
  server.closeAllConnections();
  server.close();
});
