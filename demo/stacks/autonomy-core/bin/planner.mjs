// A planner: reads scans from the lidar, keeps the free distance ahead, and answers /health and /plan over HTTP.
// It is healthy when scans arrive at no less than the rate in PLANNER_MIN_SCAN_HZ.
import { createServer } from "node:http";
import { connect } from "node:net";
import { createInterface } from "node:readline";

const host = process.env.MUTO_PROBE_ADDRESS;
const minimumHz = Number(process.env.PLANNER_MIN_SCAN_HZ ?? "5");
let arrivals = [];
let freeDistance = 0;

function follow() {
  const socket = connect(7410, host);
  createInterface({ input: socket }).on("line", (line) => {
    const { ranges } = JSON.parse(line);
    freeDistance = Math.min(...ranges);
    arrivals = [...arrivals.slice(-19), performance.now()];
  });
  socket.on("error", () => {});
  socket.on("close", () => setTimeout(follow, 200).unref());
}
follow();

function scanHz() {
  const recent = arrivals.filter((at) => at > performance.now() - 1000);
  return recent.length;
}

const server = createServer((request, response) => {
  const healthy = scanHz() >= minimumHz;
  if (request.url === "/health")
    response.writeHead(healthy ? 200 : 503).end(JSON.stringify({ scanHz: scanHz(), minimumHz }));
  else if (request.url === "/plan")
    response.writeHead(200).end(JSON.stringify({ speedMps: healthy ? Math.min(2, freeDistance / 2) : 0 }));
  else response.writeHead(404).end();
});
server.listen(7411, host, () => console.log("planner: planning"));

process.on("SIGINT", () => {
  console.log("planner: stopped");
  process.exit(0);
});
