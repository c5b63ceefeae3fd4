import { execFile, spawn } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { connectAsync } from "mqtt";
import { programOf } from "./install.ts";
import { freePort } from "./postgres.ts";

const execute = promisify(execFile);
const READY_TIMEOUT_MS = 15_000;

/** A Mosquitto broker of our own with password file and pattern ACLs, as docs and deploy describe it, without persistence. */
export interface MosquittoServer extends AsyncDisposable {
  readonly url: string;
  passwordOf(username: string): string;
  /** Ends it and starts it anew: sessions and retained messages are gone. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

export async function startMosquitto(options: {
  tenant: string;
  usernames: readonly string[];
}): Promise<MosquittoServer> {
  const binary = await programOf({ packageName: "mosquitto", paths: ["/usr/sbin/mosquitto"] });
  const folder = await mkdtemp(join(tmpdir(), "muto-mosquitto-"));
  await chmod(folder, 0o755);
  const port = await freePort();
  const base = `muto/${options.tenant}/vehicles`;
  const passwordOf = (username: string) => `password-of-${username}`;
  const files = { config: join(folder, "conf"), acl: join(folder, "acl"), passwords: join(folder, "passwords") };
  await writeFile(
    files.passwords,
    [...options.usernames, "muto-cloud"].map((name) => `${name}:${passwordOf(name)}\n`).join(""),
  );
  await execute(join(dirname(dirname(binary)), "bin", "mosquitto_passwd"), ["-U", files.passwords]);
  const vehicleRights = ["write", "write", "write", "read"].map((right, index) => {
    const topic = ["presence", "reports/reconcile", "reports/health", "desired/notify"][index] ?? "";
    return `pattern ${right} ${base}/%u/${topic}`;
  });
  const cloudRights = [
    `topic read ${base}/+/presence`,
    `topic read ${base}/+/reports/#`,
    `topic write ${base}/+/desired/notify`,
  ];
  await writeFile(files.acl, ["user muto-cloud", ...cloudRights, "", ...vehicleRights, ""].join("\n"));
  await writeFile(
    files.config,
    [
      `listener ${port} 127.0.0.1`,
      "allow_anonymous false",
      `password_file ${files.passwords}`,
      `acl_file ${files.acl}`,
      "persistence false",
      "message_size_limit 400000",
      "log_type error",
      "",
    ].join("\n"),
  );
  for (const file of Object.values(files)) await chmod(file, 0o644);
  const url = `mqtt://127.0.0.1:${port}`;
  const start = async () => {
    const child = spawn(binary, ["-c", files.config], { stdio: "ignore" });
    await ready(url, passwordOf("muto-cloud"));
    return child;
  };
  let server: Awaited<ReturnType<typeof start>> | undefined = await start();
  const stop = async () => {
    const running = server;
    server = undefined;
    if (running === undefined) return;
    await new Promise<void>((resolve) => {
      running.once("exit", () => resolve());
      running.kill("SIGKILL");
    });
  };
  return {
    url,
    passwordOf,
    stop,
    start: async () => {
      server ??= await start();
    },
    restart: async () => {
      await stop();
      server = await start();
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function ready(url: string, password: string): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    try {
      const client = await connectAsync(url, {
        username: "muto-cloud",
        password,
        reconnectPeriod: 0,
        connectTimeout: 2_000,
      });
      await client.endAsync();
      return;
    } catch (cause) {
      if (performance.now() > deadline) throw new Error("Mosquitto did not become ready", { cause });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
