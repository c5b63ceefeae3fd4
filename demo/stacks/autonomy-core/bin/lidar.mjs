// A lidar driver: serves scans as JSON lines over TCP, ten a second, until it is told to stop.
import { createServer } from "node:net";

const PORT = 7410;
const RATE_HZ = 10;
const clients = new Set();
let scan = 0;

const server = createServer((socket) => {
  clients.add(socket);
  socket.on("error", () => socket.destroy());
  socket.on("close", () => clients.delete(socket));
});
server.listen(PORT, process.env.MUTO_PROBE_ADDRESS, () => console.log("lidar: serving scans"));

const timer = setInterval(() => {
  scan++;
  const ranges = Array.from({ length: 16 }, (_, beam) => 5 + 3 * Math.sin(scan / 20 + beam));
  for (const client of clients) client.write(`${JSON.stringify({ scan, ranges })}\n`);
}, 1000 / RATE_HZ);

process.on("SIGINT", () => {
  clearInterval(timer);
  for (const client of clients) client.destroy();
  server.close(() => console.log("lidar: stopped"));
});
