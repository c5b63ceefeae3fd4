// A controller: asks the planner for a speed five times a second and says so once the loop is closed.
const host = process.env.MUTO_PROBE_ADDRESS;
let closed = false;

const timer = setInterval(async () => {
  try {
    const response = await fetch(`http://${host}:7411/plan`, { signal: AbortSignal.timeout(500) });
    const { speedMps } = await response.json();
    if (!closed && speedMps >= 0) console.log("controller: control loop closed");
    closed = true;
  } catch {
    closed = false;
  }
}, 200);

process.on("SIGINT", () => {
  clearInterval(timer);
  console.log("controller: stopped");
});
