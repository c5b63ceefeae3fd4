import { openParticipant } from "@muto/dds/participant";
import type { UdpNetwork } from "@muto/dds/network";
import { systemUdpNetwork } from "@muto/dds/udp-network";
import { systemClock, type Clock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import { startPeer } from "../test/services/dds/peer-process.ts";

/*
 * One receiver of the bench, a process of its own in a network of its own: PEER SECONDS muto | bare. Starts the peer, lets it settle,
 * measures, and prints one line of JSON. The bare one joins the domain likewise, and then does nothing but receive: its clock stands
 * still, and datagrams are counted where node:dgram hands them over.
 */

const SETTLE_MS = 2_000;
const RATE_HZ = 1_000;

const [program = "", seconds = "10", mode = "muto"] = process.argv.slice(2);
const real = systemClock();
const state = { bare: false, datagrams: 0, bytes: 0, samples: 0 };

const system = systemUdpNetwork();
const network: UdpNetwork = {
  open: async ({ onDatagram, ...options }) =>
    await system.open({
      ...options,
      onDatagram: (bytes, from) => {
        state.datagrams++;
        state.bytes += bytes.byteLength;
        if (!state.bare) onDatagram(bytes, from);
      },
    }),
};
const clock: Clock = {
  ...real,
  sleep: async (ms, signal) => {
    if (state.bare) await new Promise((resolve) => signal?.addEventListener("abort", resolve, { once: true }));
    else await real.sleep(ms, signal);
  },
};

await using _peer = await startPeer(program, [`bulk=${RATE_HZ}`]);
await using participant = await openParticipant({
  domainId: 0,
  network,
  clock,
  random: systemRandom(),
  logger: silentLogger,
});
participant.subscribe({ topic: "/bulk", type: "std_msgs/msg/String", onSample: () => void state.samples++ });
await real.sleep(SETTLE_MS);
state.bare = mode === "bare";
const before = { ...state, cpu: process.cpuUsage(), atMs: real.monotonicMs() };
await real.sleep(Number(seconds) * 1_000);
const cpu = process.cpuUsage(before.cpu);
const wallMs = real.monotonicMs() - before.atMs;
process.stdout.write(
  `${JSON.stringify({
    cpuShare: (cpu.user + cpu.system) / 1_000 / wallMs,
    datagramsPerSec: ((state.datagrams - before.datagrams) * 1_000) / wallMs,
    samplesPerSec: ((state.samples - before.samples) * 1_000) / wallMs,
    bytesPerDatagram: (state.bytes - before.bytes) / (state.datagrams - before.datagrams),
    lost: participant.counters().lost,
    rssMb: process.memoryUsage().rss / 2 ** 20,
  })}\n`,
);
