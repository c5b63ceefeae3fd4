import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { askForView } from "@muto/agent/check/view-server";
import { generateKey } from "@muto/trust/keys";
import { bundle } from "../../../scripts/bundle.ts";
import { root as repository } from "../../../scripts/process.ts";
import { eventually } from "../../system/world/eventually.ts";
import { bootMachine, type Machine } from "./machine.ts";

const UNIT = "muto-agent.service";
/** From 0, nothing exposed, to 10; measured 1.3. */
const EXPOSURE_MAX = 2;

const CONFIG = {
  kind: "muto.agent/v1",
  vehicle: { id: "confined-1", model: "vehicle-v3", os: "debian-12", rosDistro: "humble", timezone: "UTC" },
  cloud: { url: "http://127.0.0.1:1" },
  stateDir: "/var/lib/muto",
  trustFile: "/etc/muto/trust.json",
  runtime: { adapter: "none", oci: { socket: "/run/podman/podman.sock" } },
  signals: {
    speed: [{ provider: "gateway" }],
    mode: [{ provider: "gateway" }],
    battery: "none",
    providers: [{ name: "gateway", kind: "socket", path: "/run/muto/signals.sock" }],
  },
};

async function trustFile(): Promise<string> {
  const role = async (algorithm: "ed25519" | "ecdsa-p256") => {
    const { publicKey } = (await generateKey(algorithm)).signer;
    return { threshold: 1, keys: [{ keyid: publicKey.keyid, algorithm, publicKey: publicKey.pem }] };
  };
  const roles = { assignment: await role("ed25519"), release: await role("ecdsa-p256") };
  return JSON.stringify({ kind: "muto.trust/v1", tenant: "default", roles });
}

describe("the confined agent under systemd", () => {
  let machine: Machine;
  before(async () => {
    const [agent, trust] = [await bundle("agent/confined.ts"), await trustFile()];
    machine = await bootMachine((root) => {
      const place = (path: string) => {
        const full = join(root, path);
        mkdirSync(join(full, ".."), { recursive: true });
        return full;
      };
      copyFileSync(process.execPath, place("usr/lib/muto/node"));
      writeFileSync(place("usr/lib/muto/muto-agent.mjs"), agent.code);
      copyFileSync(join(import.meta.dirname, "intruder.mjs"), place("usr/lib/muto/intruder.mjs"));
      writeFileSync(place("etc/muto/agent.yaml"), JSON.stringify(CONFIG));
      writeFileSync(place("etc/muto/trust.json"), trust);
      writeFileSync(place("var/lib/neighbour/secret"), "x", { mode: 0o644 });
      writeFileSync(place("home/somebody/letter"), "x", { mode: 0o644 });
      copyFileSync(join(repository, "deploy", "systemd", UNIT), place(`etc/systemd/system/${UNIT}`));
    });
    await succeed("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "muto");
  });
  after(async () => {
    await machine[Symbol.asyncDispose]();
  });

  async function succeed(program: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await machine.run(program, ...args);
    assert.equal(code, 0, `${program} ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  test("runs as an unprivileged user, and tells a technician what it sees", async () => {
    await succeed("systemctl", "start", UNIT);
    const view = await eventually("the agent's view", async () => await askForView(join(machine.root, "var/lib/muto")));
    assert.equal(view.health.vehicleId, "confined-1");
    const pid = (await succeed("systemctl", "show", "--property=MainPID", "--value", UNIT)).trim();
    const status = await succeed("cat", `/proc/${pid}/status`);
    const uid = (await succeed("id", "-u", "muto")).trim();
    assert.match(status, new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}`, "m"));
    assert.match(status, /^CapBnd:\s+0+$/m);
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    const restarts = (await succeed("systemctl", "show", "--property=NRestarts", "--value", UNIT)).trim();
    assert.equal(restarts, "0");
    await succeed("systemctl", "stop", UNIT);
  });

  test("whoever takes over its process can execute nothing, reach nothing outside its folders, and gain nothing", async () => {
    const dropIn = join(machine.root, `etc/systemd/system/${UNIT}.d`);
    mkdirSync(dropIn);
    const command = "ExecStart=/usr/lib/muto/node /usr/lib/muto/intruder.mjs";
    writeFileSync(join(dropIn, "intruder.conf"), `[Service]\nExecStart=\n${command}\n`);
    await succeed("systemctl", "daemon-reload");
    await succeed("systemctl", "start", UNIT);
    const attempts: Record<string, string> = await eventually("the attempts", async () => {
      const { code, stdout } = await machine.run("cat", "/var/lib/muto/attempts.json");
      return code === 0 ? JSON.parse(stdout) : undefined;
    });
    const own = Object.entries(attempts).filter(([name]) => name.startsWith("own: "));
    const others = Object.entries(attempts).filter(([name]) => !name.startsWith("own: "));
    assert.deepEqual(
      own.filter(([, result]) => result !== "done" && result !== "true"),
      [],
      "its own business goes on",
    );
    assert.equal(own.length, 4);
    assert.deepEqual(
      others.filter(([, result]) => /^(done|true|ran )/.test(result)),
      [],
    );
    assert.equal(
      others.length,
      (readFileSync(join(import.meta.dirname, "intruder.mjs"), "utf8").match(/^attempt\("(?!own)/gm) ?? []).length,
    );
    const refusals = new Set(others.map(([, result]) => result));
    assert.ok(refusals.has("EACCES") && refusals.has("EROFS") && refusals.has("EPERM"), [...refusals].join(" "));
    await succeed("systemctl", "stop", UNIT);
  });

  test("systemd itself finds little to object to", async () => {
    const said = await succeed("systemd-analyze", "security", "--no-pager", UNIT);
    const [, level] = /Overall exposure level for muto-agent\.service: ([\d.]+)/.exec(said) ?? [];
    assert.ok(Number(level) > 0 && Number(level) <= EXPOSURE_MAX, said.split("\n").slice(-3).join("\n"));
  });
});
