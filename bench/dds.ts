import { execFile } from "node:child_process";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { table } from "@muto/cli/table";
import { buildPeer } from "../test/services/dds/build-peers.ts";
import { inOwnNetwork } from "../test/services/dds/own-network.ts";

/*
 * What it costs to hear a thousand samples of one kilobyte per second from a real Cyclone DDS process, beside what the same datagrams
 * cost a socket that does nothing with them.
 */

const CPU_SHARE_MAX = 0.15;
const SAMPLES_PER_SEC_MIN = 950;

interface Figures {
  readonly cpuShare: number;
  readonly datagramsPerSec: number;
  readonly samplesPerSec: number;
  readonly bytesPerDatagram: number;
  readonly lost: number;
  readonly rssMb: number;
}

export async function benchDds(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: { seconds: { type: "string" } } });
  const seconds = Number(values.seconds ?? 10);
  if (!(seconds > 0 && seconds <= 15)) throw new Error("--seconds is a number above 0, at most 15");
  const peer = await buildPeer("cyclone");
  const bare = await receive(peer, seconds, "bare");
  const muto = await receive(peer, seconds, "muto");
  const rows = Object.entries({ "bare node:dgram": bare, subscriber: muto }).map(([name, figures]) => [
    name,
    `${(figures.cpuShare * 100).toFixed(1)} %`,
    ...[figures.datagramsPerSec, figures.samplesPerSec, figures.bytesPerDatagram, figures.rssMb].map((figure) =>
      figure.toFixed(0),
    ),
  ]);
  console.log(table(["receiver", "CPU of a core", "datagrams/s", "samples/s", "bytes each", "MB"], rows));
  console.log(`the subscriber costs ${(muto.cpuShare / bare.cpuShare).toFixed(1)} times the bare socket`);
  const problems = [
    ...(muto.cpuShare <= CPU_SHARE_MAX ? [] : [`more than ${CPU_SHARE_MAX * 100} % of a core`]),
    ...(muto.samplesPerSec >= SAMPLES_PER_SEC_MIN ? [] : [`only ${muto.samplesPerSec.toFixed(0)} samples per second`]),
    ...(bare.datagramsPerSec >= SAMPLES_PER_SEC_MIN ? [] : ["the bare socket did not get the same datagrams"]),
  ];
  for (const problem of problems) console.log(`FAILED: ${problem}`);
  return problems.length === 0 ? 0 : 1;
}

async function receive(peer: string, seconds: number, mode: "bare" | "muto"): Promise<Figures> {
  const receiver = [
    "--disable-warning=ExperimentalWarning",
    join(import.meta.dirname, "dds-receiver.ts"),
    peer,
    String(seconds),
    mode,
  ];
  const [program, ...args] = inOwnNetwork(process.execPath, ...receiver);
  const { stdout } = await promisify(execFile)(program, args, { timeout: (seconds + 30) * 1_000 });
  const figures: Figures = JSON.parse(stdout);
  return figures;
}
