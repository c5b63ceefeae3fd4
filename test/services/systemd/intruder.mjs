/*
 * What a thief who has taken over the agent's process would try. It runs in the agent's place, under the very unit, and
 * writes what came of each attempt into the agent's own folder.
 */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";

const results = {};
const attempt = (name, action) => {
  try {
    const value = action();
    results[name] = value === undefined ? "done" : String(value);
  } catch (error) {
    results[name] = error.code ?? error.message;
  }
};
const execute = (program, ...args) => {
  const { error, status, signal } = spawnSync(program, args, { encoding: "utf8" });
  if (error !== undefined) throw error;
  // The loader may start, but must not get the program that it is given into memory.
  if (status !== 0) throw new Error(`ended with ${status ?? signal}`);
  return "ran 0";
};

// Its own business goes on.
attempt("own: writes its state", () => fs.writeFileSync("/var/lib/muto/own", "x"));
attempt("own: reads its configuration", () => fs.readFileSync("/etc/muto/agent.yaml").length > 0);
attempt("own: reads the boot id", () => fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").length > 0);
attempt("own: listens for signals", () => {
  net.createServer().listen("/run/muto/own.sock").unref();
});

attempt("execute a shell", () => execute("/bin/sh", "-c", "true"));
attempt("execute a program of the system", () => execute("/usr/bin/true"));
attempt("execute through the loader", () => execute("/lib64/ld-linux-x86-64.so.2", "/usr/bin/true"));
attempt("execute what it wrote itself", () => {
  fs.copyFileSync("/usr/lib/muto/node", "/var/lib/muto/tool");
  fs.chmodSync("/var/lib/muto/tool", 0o755);
  return execute("/var/lib/muto/tool", "--version");
});
attempt("execute what it wrote to the temporary folder", () => {
  fs.copyFileSync("/usr/lib/muto/node", "/tmp/tool");
  fs.chmodSync("/tmp/tool", 0o755);
  return execute("/tmp/tool", "--version");
});
attempt("load a library it wrote itself", () => {
  fs.copyFileSync("/lib/x86_64-linux-gnu/libc.so.6", "/var/lib/muto/lib.node");
  process.dlopen({ exports: {} }, "/var/lib/muto/lib.node");
});
attempt("change its program", () => fs.writeFileSync("/usr/lib/muto/muto-agent.mjs", ""));
attempt("change its configuration", () => fs.appendFileSync("/etc/muto/agent.yaml", "#"));
attempt("write to the system", () => fs.writeFileSync("/etc/cron.d/thief", ""));
attempt("write to a home", () => fs.writeFileSync("/home/somebody/thief", ""));
attempt("read passwords", () => fs.readFileSync("/etc/shadow"));
attempt("read a home", () => fs.readdirSync("/home/somebody"));
attempt("read another program's state", () => fs.readFileSync("/var/lib/neighbour/secret"));
attempt("read another process's environment", () => fs.readFileSync("/proc/1/environ"));
attempt("see other processes", () => {
  const others = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const seen = others.filter((pid) => fs.existsSync(`/proc/${pid}/cmdline`));
  if (seen.length === 0) throw new Error("nobody");
});
attempt("open a device", () => fs.openSync("/dev/mem", "r"));
attempt("become root", () => process.setuid(0));
attempt("join another group", () => process.setgroups([0]));
attempt("leave a file that runs as its owner", () => {
  fs.writeFileSync("/var/lib/muto/setuid", "");
  fs.chmodSync("/var/lib/muto/setuid", 0o4755);
});
attempt("change the kernel's settings", () => fs.writeFileSync("/proc/sys/kernel/hostname", "thief"));
attempt("raise its own priority", () => os.setPriority(-20));

fs.writeFileSync("/var/lib/muto/attempts.json~", JSON.stringify(results));
fs.renameSync("/var/lib/muto/attempts.json~", "/var/lib/muto/attempts.json");
setInterval(() => {}, 1000);
