/**
 * Supervises one workload and outlives the agent that started it (H2). One file, no imports from the rest of the product,
 * plain JavaScript for any Node.js from 20 on: each run folder gets its own copy, so that an upgrade of the agent neither
 * changes nor deletes a supervisor that runs.
 *
 *   node supervisor.mjs start   starts the workload
 *   node supervisor.mjs adopt   the supervisor before this one died: watches what it left behind
 *
 * Standard input holds the spec as JSON, the working directory is the run folder. File descriptor 3 takes one line, `running` or `refused CODE`, and is closed.
 *
 *   maker           symbolic link `PID:START-TICKS:BOOT-ID`, there until a start has succeeded: the agent that is at it
 *   owner.N         symbolic link `PID:START-TICKS:BOOT-ID`, or `abandoned`: of two claims for one N exactly one succeeds
 *   spec.json       durable: what to run and how to stop it
 *   state.json      durable, once the workload runs: pid and start time (clock ticks since boot), boot id, isolation
 *   exit.json       durable, once nothing of the workload is left
 *   stop-requested  a stop has begun; whoever owns the folder carries it to its end
 *   output          standard output and error, written by the workload itself: it neither blocks nor dies with the supervisor
 *   output.1        the part before, when output grew too large
 *   deaths.json     how often the output said that a process has died, and how far it was read for that
 *   seen.json       which of the texts that the spec asks for have been seen in the output
 *   s               Unix socket, JSON lines: a greeting with the range of protocols, then answers to requests
 *                   {protocol, id, op: status|stop|forget|seen} and {event: "state"} whenever the state changes
 *
 * On a full disk a workload starts all the same (H8): names cost no blocks, and records that cannot be written now are
 * kept in memory, told over the socket and written when there is room.
 */
/* oxlint-disable max-lines -- one file is what makes it independent of the product around it */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:net";

const FOLDER = process.cwd();
const PROTOCOL_MIN = 1;
const PROTOCOL_MAX = 1;
const requestBytesMax = 65_536;
const connectionsMax = 16;
const namespaceLimitMs = 5_000;
const execLimitMs = 500;
const outputLookMs = 1_000;
const outputLookBusyMs = 100;
const exitWriteRetryMs = 1_000;
const forgottenLookMs = 1_000;
const complaintsMax = 100;
const exitCodeOfFault = 70;

/** How `ros2 launch` says that a node ended otherwise than well; its own exit code hides that. */
const DEATH = Buffer.from("process has died [");

/** What this computer runs by itself: its own machine code and that of its 32-bit ancestor. */
const ELF_MACHINES = { x64: [62, 3], arm64: [183, 40] };

/**
 * First process of the namespace: keeps the archive as it was verified, shows it at the fixed prefix too, where it was
 * built for one, and then does nothing but reap orphans.
 */
const INIT_SCRIPT =
  'show() { mount --bind "$1" "$2" && mount -o remount,bind,ro "$2"; }; show "$0" "$0"; ' +
  '[ -n "$2" ] && show "$2" "$2"; ' +
  '[ -n "$1" ] && show "$0" "$1" && echo prefixed; echo ready; exec >&-; ' +
  "while :; do sleep 2147483647 & wait $!; done";
/** Runs inside the namespace; setsid comes last, so that its exit code alone tells a refused exec. */
const ENTER_SCRIPT = 'cd -- "$0" || exit 126; unset OLDPWD; exec "$@"';

async function main(mode) {
  let complaints = 0;
  const complain = (error) => {
    if (complaints++ < complaintsMax) complainAbout(error);
  };
  // A fault in serving one client must not end the supervision.
  process.on("uncaughtException", complain);
  process.on("unhandledRejection", complain);
  const spec = JSON.parse(fs.readFileSync(0, "utf8"));
  if (!claim(mode)) return tell("refused OWNED");
  tryTo(() => writeDurably("spec.json", spec));
  const me = newInstance(spec, mode);
  // Sent to everything when the computer shuts down: then the supervisor is gone as soon as it has nothing left to do.
  process.on("SIGTERM", () => {
    me.leaving = true;
    if (me.phase === "ended") process.exit(0);
  });
  for (const signal of ["SIGINT", "SIGHUP"]) process.on(signal, () => {});
  await listen(me);
  if (mode === "adopt") adopt(me);
  else {
    const refused = await start(me);
    if (refused !== undefined) {
      tryTo(() => writeDurably("exit.json", { refused }));
      tell(`refused ${refused}`);
      process.exit(0);
    }
  }
  if (fs.existsSync("stop-requested")) void stop(me);
  tell("running");
}

function newInstance(spec, mode) {
  let begun = () => {};
  let mainEnded = () => {};
  return {
    spec,
    phase: "starting",
    begun: new Promise((resolve) => void (begun = resolve)),
    mainEnded: new Promise((resolve) => void (mainEnded = resolve)),
    markBegun: () => begun(),
    markMainEnded: () => mainEnded(),
    supervised: mode !== "adopt",
    stopping: false,
    leaving: false,
    isolation: "degraded",
    pid: undefined,
    startTicks: undefined,
    init: undefined,
    entrance: undefined,
    startedAtMs: Date.now(),
    exit: undefined,
    recorded: false,
    clients: new Set(),
    limits: [],
    output: openOutput(spec),
  };
}

// ── Starting ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Starts the workload; an operating system's error code when it could not be executed. */
async function start(me) {
  const { spec } = me;
  try {
    fs.accessSync(spec.cwd, fs.constants.X_OK);
    fs.accessSync(spec.program, fs.constants.X_OK);
    if (!fs.statSync(spec.program).isFile()) return "EACCES";
    if (!isExecutable(spec.program)) return "ENOEXEC";
  } catch (error) {
    return error.code;
  }
  const namespace = spec.isolation === "degraded" ? undefined : await makeNamespace(spec);
  if (namespace === undefined && spec.isolation === "required") return "ISOLATION_UNAVAILABLE";
  if (!makeLimits(me)) {
    if (namespace !== undefined) killExactly(namespace.init);
    return "RESOURCES_UNSUPPORTED";
  }
  const refused = namespace === undefined ? await startPlainly(me) : await startInside(me, namespace);
  if (refused !== undefined) {
    if (namespace !== undefined) killExactly(namespace.init);
    removeLimits(me);
    return refused;
  }
  if (me.phase === "starting") me.phase = "running";
  record(me);
  me.markBegun();
  push(me);
  tick(me);
  return undefined;
}

/** A program of this machine or a script that names its interpreter; anything else would be read as a shell script. */
function isExecutable(program) {
  const head = Buffer.alloc(20);
  const fd = fs.openSync(program, "r");
  try {
    fs.readSync(fd, head, 0, head.length, 0);
  } finally {
    fs.closeSync(fd);
  }
  if (head.toString("latin1", 0, 2) === "#!") return true;
  if (head.toString("latin1", 0, 4) !== "\u007fELF") return false;
  const machines = ELF_MACHINES[process.arch];
  return machines === undefined || machines.includes(head.readUInt16LE(18));
}

/** Its own process and mount namespace, held by a first process of ours; undefined where the kernel or our rights forbid it. */
async function makeNamespace(spec) {
  const [unshare, nsenter, setsid] = ["unshare", "nsenter", "setsid"].map(programPath);
  if (unshare === undefined || nsenter === undefined || setsid === undefined) return undefined;
  const asUser = process.getuid() === 0 ? [] : ["--user", "--map-current-user", "--keep-caps"];
  const flags = [...asUser, "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const holder = spawn(
    unshare,
    [...flags, "--", "/bin/sh", "-c", INIT_SCRIPT, spec.cwd, spec.prefix ?? "", spec.paramsFolder ?? ""],
    {
      detached: true,
      cwd: "/",
      stdio: ["ignore", "pipe", "ignore"],
      env: { PATH: SYSTEM_PATH, MUTO_RUN: FOLDER },
    },
  );
  const gone = new Promise((resolve) => {
    holder.once("exit", resolve);
    holder.once("error", resolve);
  });
  const lines = await within(
    namespaceLimitMs,
    Promise.race([textUntil(holder.stdout, "ready\n"), gone.then(() => "")]),
  );
  const pid = childrenOf(holder.pid)[0];
  const init = pid === undefined ? undefined : identityOf(pid);
  if (lines === undefined || !lines.endsWith("ready\n") || init === undefined) {
    if (holder.pid !== undefined) holder.kill("SIGKILL");
    await gone;
    return undefined;
  }
  return { nsenter, setsid, init, gone, asUser: asUser.length > 0, isPrefixed: lines.startsWith("prefixed\n") };
}

async function startInside(me, namespace) {
  const { spec, output } = me;
  const user = namespace.asUser ? ["--user", "--preserve-credentials"] : [];
  const flags = ["--target", String(namespace.init.pid), ...user, "--mount", "--pid"];
  const cwd = namespace.isPrefixed ? spec.prefix : spec.cwd;
  const program = spec.program.startsWith(`${spec.cwd}/`) ? cwd + spec.program.slice(spec.cwd.length) : spec.program;
  const command = ["/bin/sh", "-c", ENTER_SCRIPT, cwd, namespace.setsid, program, ...spec.args];
  const [first, ...rest] = limited(me, [namespace.nsenter, ...flags, "--", ...command]);
  const entrance = spawn(first, rest, {
    detached: true,
    cwd: "/",
    stdio: ["ignore", output.fd, output.fd],
    env: markedEnvironment(spec),
  });
  let exit;
  const exited = exitOf(entrance).then((found) => (exit = found));
  const seen = await executed(entrance.pid, fs.realpathSync(namespace.setsid), () => exit !== undefined);
  if (seen === undefined && (exit?.error !== undefined || refusedExec(exit, output))) {
    return exit.error ?? (exit.code === 127 ? "ENOENT" : "ENOEXEC");
  }
  me.isolation = "full";
  me.init = namespace.init;
  me.entrance = identityOf(entrance.pid);
  me.pid = seen?.pid ?? entrance.pid;
  me.startTicks = seen?.startTicks;
  void exited.then(async ({ code, signal }) => {
    // Somebody killed the entrance alone: what it waited for still runs, and its exit status is lost.
    const orphaned = seen !== undefined && isAlive(seen);
    if (orphaned) {
      me.supervised = false;
      push(me);
      await untilDead(seen);
    }
    await ended(me, orphaned ? null : code, orphaned ? null : signal, namespace.gone);
  });
  return undefined;
}

/**
 * In the first moments the process is sh, then setsid in a session of its own, then the workload. A process that is
 * ending has no program any more: whether setsid or the workload ended is then told by the exit code.
 */
async function executed(entrance, setsid, hasExited) {
  const giveUp = performance.now() + execLimitMs;
  while (entrance !== undefined && !hasExited()) {
    const pid = childrenOf(entrance)[0];
    const found = pid === undefined ? undefined : statOf(pid);
    if (found !== undefined && found.session === pid) {
      const program = linkTarget(`/proc/${pid}/exe`);
      if (performance.now() > giveUp || (program !== undefined && program !== setsid)) return { pid, ...found };
    }
    await delay(1);
  }
  return undefined;
}

function refusedExec(exit, output) {
  return (exit?.code === 126 || exit?.code === 127) && /^(setsid|\/bin\/sh|sh|nsenter): /.test(output.head());
}

async function startPlainly(me) {
  const { spec, output } = me;
  const stdio = ["ignore", output.fd, output.fd];
  const [first, ...rest] = limited(me, [spec.program, ...spec.args]);
  const child = spawn(first, rest, { detached: true, cwd: spec.cwd, stdio, env: markedEnvironment(spec) });
  const exited = exitOf(child);
  if (child.pid === undefined) return (await exited).error;
  me.pid = child.pid;
  me.startTicks = statOf(child.pid)?.startTicks;
  void exited.then(({ code, signal }) => ended(me, code, signal, undefined));
  return undefined;
}

/** Every process of the instance inherits the mark: the true path of the run folder, which no other instance has. */
function markedEnvironment(spec) {
  return { ...spec.env, MUTO_RUN: FOLDER };
}

/** Takes over from a supervisor that died. The exit status belongs to the parent process, so it is lost from then on. */
function adopt(me) {
  const state = readJson("state.json");
  me.isolation = state?.isolation ?? "degraded";
  me.init = state?.init ?? undefined;
  me.startedAtMs = state?.startedAtMs ?? me.startedAtMs;
  const workload = typeof state?.pid === "number" ? state : likelyWorkload();
  me.pid = workload?.pid;
  me.startTicks = workload?.startTicks;
  me.phase = "running";
  record(me);
  me.markBegun();
  tick(me);
  void untilDead(workload).then(() => ended(me, null, null, undefined));
}

/** Without a record (its supervisor died between the start and the record): the eldest leader of a session that bears our mark. */
function likelyWorkload() {
  const leaders = bearers(undefined).filter(({ pid, session }) => session === pid);
  const insiders = leaders.filter((found) => !isHolder(found, undefined));
  return insiders.toSorted((a, b) => a.startTicks - b.startTicks)[0];
}

/** The processes of ours that hold the namespace and the exit status; they end after the workload. */
function isHolder({ pid }, me) {
  return pid === me?.init?.pid || /^(unshare|nsenter)$/.test(textOf(`/proc/${pid}/comm`).trim());
}

// ── Limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Joins the control groups named before `--`, then becomes what follows: nothing of the workload runs outside of them. */
const JOIN_SCRIPT = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 126; shift; done; shift; exec "$@"';
const CGROUPS = "/sys/fs/cgroup";
const CPU_PERIOD_US = 100_000;

/**
 * Memory, processors and processes are held by control groups of the instance's own, of either version. False when one that
 * is asked for cannot be: limits of single processes would be none for what the workload forks.
 */
function makeLimits(me) {
  const wanted = limitFiles(me.spec);
  if (wanted.length === 0) return true;
  try {
    for (const { folder, file, value } of wanted) {
      fs.mkdirSync(folder, { recursive: true });
      fs.writeFileSync(`${folder}/${file}`, value);
    }
  } catch (error) {
    complainAbout(error);
    removeLimits(me);
    return false;
  }
  me.limits = [...new Set(wanted.map(({ folder }) => `${folder}/cgroup.procs`))];
  return true;
}

function limited(me, command) {
  return me.limits.length === 0 ? command : ["/bin/sh", "-c", JOIN_SCRIPT, "sh", ...me.limits, "--", ...command];
}

/** Also what an earlier supervisor made; a group goes only when nothing is left in it. */
function removeLimits(me) {
  for (const { folder } of limitFiles(me.spec)) tryTo(() => fs.rmdirSync(folder));
}

/** `folder` is a control group of this instance, `file` and `value` are what to write there. */
function limitFiles({ resources = {}, instanceId }) {
  const { memoryMb, cpus, pids } = resources;
  const bytes = memoryMb === undefined ? undefined : String(memoryMb * 1024 * 1024);
  const quota = cpus === undefined ? undefined : String(Math.max(1_000, Math.round(cpus * CPU_PERIOD_US)));
  const wanted = [
    { controller: "memory", v1: "memory.limit_in_bytes", v2: "memory.max", value: bytes },
    { controller: "cpu", v1: "cpu.cfs_quota_us", v2: "cpu.max", value: quota },
    { controller: "pids", v1: "pids.max", v2: "pids.max", value: pids === undefined ? undefined : String(pids) },
  ].filter(({ value }) => value !== undefined);
  if (wanted.length === 0) return [];
  const isUnified = fs.existsSync(`${CGROUPS}/cgroup.controllers`);
  const unified = isUnified ? delegated(wanted.map(({ controller }) => controller)) : undefined;
  return wanted.map(({ controller, v1, v2, value }) =>
    isUnified
      ? { folder: `${unified}/muto-${instanceId}`, file: v2, value }
      : { folder: `${CGROUPS}/${controller}${ownGroup(controller)}/muto-${instanceId}`, file: v1, value },
  );
}

/** Of version 2: a group whose children may have these controllers, ours or, where processes of ours are in the way, the root. */
function delegated(controllers) {
  const turnOn = controllers.map((controller) => `+${controller}`).join(" ");
  const groups = [`${CGROUPS}${ownGroup("")}`, CGROUPS];
  const own = groups.find((group) => tryTo(() => fs.writeFileSync(`${group}/cgroup.subtree_control`, turnOn)));
  return own ?? CGROUPS;
}

/** Path of this process below the mount of a controller, of version 1 by its name, of version 2 by the empty one. */
function ownGroup(controller) {
  const lines = textOf("/proc/self/cgroup")
    .split("\n")
    .map((line) => line.split(":"));
  const [, , path = "/"] = lines.find(([, names = ""]) => names.split(",").includes(controller)) ?? [];
  return path === "/" ? "" : path;
}

// ── Ending ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The declared signal to the workload alone, as a terminal or an engine would; then SIGTERM to all; then SIGKILL to all. */
async function stop(me) {
  if (me.stopping || me.phase === "ended") return;
  me.stopping = true;
  me.output.countNoMore();
  tryTo(() => fs.writeFileSync("stop-requested", ""));
  push(me);
  await me.begun;
  const { signal, limitMs, terminateLimitMs } = me.spec.stop;
  signalExactly(me, signal);
  // A process that was stopped takes no signal before it continues.
  signalExactly(me, "SIGCONT");
  if (await endsWithin(me, limitMs)) return;
  for (const who of bearers(me.pid).filter((found) => !isHolder(found, me))) {
    signalExactly(who, "SIGTERM");
    signalExactly(who, "SIGCONT");
  }
  if (await endsWithin(me, terminateLimitMs)) return;
  while (me.phase !== "ended") {
    killExactly(me.init);
    killExactly(me);
    rouseEntrance(me);
    if (await endsWithin(me, 100)) return;
  }
}

/** nsenter stops itself when the workload is stopped; it has to go on to tell how the workload ended. */
function rouseEntrance(me) {
  if (me.entrance !== undefined && !isAlive(me)) signalExactly(me.entrance, "SIGCONT");
}

async function endsWithin(me, limitMs) {
  return (
    (await within(
      limitMs,
      me.mainEnded.then(() => true),
    )) === true
  );
}

/** An instance has ended when nothing of it is left: only then may another take its place at the hardware. */
async function ended(me, code, signal, namespaceGone) {
  const atMs = Date.now();
  me.markMainEnded();
  await me.begun;
  killExactly(me.init);
  await namespaceGone;
  await sweep(me);
  removeLimits(me);
  me.output.look();
  me.exit = { requested: me.stopping, code, signal, atMs };
  me.phase = "ended";
  push(me);
  // A full disk must not lose the exit: the supervisor remembers it, and keeps trying.
  while (!tryTo(() => writeDurably("exit.json", { ...identity(me), exit: me.exit }))) {
    // Whoever removed the folder does not want to know.
    if (isFolderGone()) process.exit(0);
    await delay(exitWriteRetryMs);
  }
  if (me.leaving) process.exit(0);
}

/** Double forks and new sessions leave the process group, but not the environment. A namespace has done this already. */
async function sweep(me) {
  let emptyLooks = 0;
  // Without a namespace one empty look may have missed a child that was born during it.
  const emptyLooksNeeded = me.isolation === "full" ? 1 : 2;
  for (let pauseMs = 1; emptyLooks < emptyLooksNeeded; pauseMs = Math.min(pauseMs * 2, 200)) {
    const left = bearers(me.pid);
    emptyLooks = left.length === 0 && !isAlive(me.init) ? emptyLooks + 1 : 0;
    for (const who of [...left, me.init]) killExactly(who);
    if (left.length > 0) await delay(pauseMs);
  }
}

// ── Output ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * The workload writes the file itself, in append mode. The supervisor looks now and then: it searches what is new, and
 * when the file is too large copies its end to output.1 and empties it, at a moment without writing if there is one.
 */
function openOutput(spec) {
  const { segmentBytesMax } = spec.output;
  const fd = fs.openSync("output", "a+", 0o600);
  const seen = new Set(readJson("seen.json") ?? []);
  const wanted = spec.output.texts.map((text) => ({ text, bytes: Buffer.from(text) }));
  const carryBytes = Math.max(DEATH.length - 1, ...wanted.map(({ bytes }) => bytes.length - 1));
  const chunk = Buffer.alloc(65_536);
  // Where the supervisor before this one stopped counting; a file that is shorter now was emptied in between.
  const counted = readJson("deaths.json");
  let deaths = counted?.deaths ?? 0;
  let isCounting = true;
  let position = counted?.position <= fs.fstatSync(fd).size ? counted.position : 0;
  let carry = Buffer.alloc(0);

  const count = (window) => {
    // What lies whole within the carried part was counted before.
    let at = window.indexOf(DEATH, Math.max(0, carry.length - DEATH.length + 1));
    for (; at !== -1; at = window.indexOf(DEATH, at + DEATH.length)) deaths++;
  };
  const search = () => {
    const before = deaths;
    for (let read = 0; (read = fs.readSync(fd, chunk, 0, chunk.length, position)) > 0; position += read) {
      const missing = wanted.filter(({ text }) => !seen.has(text));
      const window = Buffer.concat([carry, chunk.subarray(0, read)]);
      if (isCounting) count(window);
      const found = missing.filter(({ bytes }) => window.includes(bytes));
      for (const { text } of found) seen.add(text);
      if (found.length > 0) tryTo(() => fs.writeFileSync("seen.json", JSON.stringify([...seen])));
      carry = Buffer.from(window.subarray(Math.max(0, window.length - carryBytes)));
    }
    if (deaths > before) noteDeaths();
  };
  const noteDeaths = () => tryTo(() => fs.writeFileSync("deaths.json", JSON.stringify({ deaths, position })));
  const shrink = () => {
    const isQuiet = position === fs.fstatSync(fd).size;
    if (!isQuiet && position < 4 * segmentBytesMax) return;
    const kept = Buffer.alloc(Math.min(position, segmentBytesMax));
    const read = fs.readSync(fd, kept, 0, kept.length, position - kept.length);
    fs.writeFileSync("output.1", kept.subarray(0, read), { mode: 0o600 });
    search();
    fs.ftruncateSync(fd, 0);
    position = 0;
    if (deaths > 0) noteDeaths();
  };
  return {
    fd,
    /** Returns how many bytes are new. */
    look: () => {
      const before = position;
      search();
      const grown = position - before;
      if (position > segmentBytesMax) shrink();
      return grown;
    },
    /** True or false since the start for a text of the spec; null for any other. */
    saw: (text) => (wanted.some((entry) => entry.text === text) ? seen.has(text) : null),
    /** Lines of `ros2 launch` about a node that died, since the start. */
    deaths: () => deaths,
    /** What dies from now on dies because it was asked to. */
    countNoMore: () => {
      tryTo(search);
      isCounting = false;
    },
    head: () => chunk.toString("utf8", 0, fs.readSync(fd, chunk, 0, 64, 0)),
  };
}

function tick(me) {
  let grown = 0;
  const deathsBefore = me.output.deaths();
  tryTo(() => (grown = me.output.look()));
  if (me.output.deaths() > deathsBefore) push(me);
  rouseEntrance(me);
  if (!me.recorded) record(me);
  if (me.phase === "ended") return whenForgotten();
  const busy = grown > me.spec.output.segmentBytesMax / 8;
  setTimeout(() => tick(me), busy ? outputLookBusyMs : outputLookMs).unref();
}

/** Nobody can ever ask about an instance whose folder was removed: its supervisor need not stay for that. */
function whenForgotten() {
  if (isFolderGone()) process.exit(0);
  setTimeout(whenForgotten, forgottenLookMs).unref();
}

function isFolderGone() {
  return linkTarget("/proc/self/cwd")?.endsWith(" (deleted)") === true;
}

// ── Serving the agent ───────────────────────────────────────────────────────────────────────────────────────────────

function listen(me) {
  const server = createServer((socket) => serve(me, socket));
  server.maxConnections = connectionsMax;
  fs.rmSync("s", { force: true });
  // Relative, because the path of a Unix socket may have no more than some hundred characters.
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen("s", resolve);
  });
}

function serve(me, socket) {
  const send = (message) => socket.write(`${JSON.stringify(message)}\n`);
  const forgetClient = () => me.clients.delete(send);
  let pending = "";
  socket.setEncoding("utf8");
  socket.on("error", forgetClient);
  socket.on("close", forgetClient);
  socket.on("data", (text) => {
    const lines = (pending + text).split("\n");
    pending = lines.pop() ?? "";
    if (pending.length > requestBytesMax) return socket.destroy();
    for (const line of lines) {
      try {
        const request = JSON.parse(line);
        send({ id: request.id, ...answer(me, request) });
        if (request.op === "forget" && me.phase === "ended") socket.end(() => process.exit(0));
      } catch {
        return socket.destroy();
      }
    }
    return undefined;
  });
  me.clients.add(send);
  send({ muto: "supervisor", protocolMin: PROTOCOL_MIN, protocolMax: PROTOCOL_MAX, state: stateOf(me) });
}

function answer(me, { protocol, op, text }) {
  if (!(protocol >= PROTOCOL_MIN && protocol <= PROTOCOL_MAX)) return { ok: false, code: "UNKNOWN_PROTOCOL" };
  switch (op) {
    case "status":
      return { ok: true, state: stateOf(me) };
    case "stop":
      void stop(me);
      return { ok: true };
    case "forget":
      return me.phase === "ended" ? { ok: true } : { ok: false, code: "STILL_RUNNING" };
    case "seen":
      me.output.look();
      return { ok: true, seen: me.output.saw(text) };
    default:
      return { ok: false, code: "UNKNOWN_OPERATION" };
  }
}

function push(me) {
  for (const send of me.clients) send({ event: "state", state: stateOf(me) });
}

function identity({ spec: { instanceId, set, workload, configHash }, isolation, startedAtMs }) {
  return { instanceId, set, workload, configHash, bootId: bootId(), isolation, startedAtMs };
}

function stateOf(me) {
  const { pid = null, startTicks = null, init = null, supervised, stopping, phase, exit = null } = me;
  const deaths = me.output.deaths();
  return { ...identity(me), phase, stopping, supervised, pid, startTicks, init, deaths, exit };
}

function tell(line) {
  // Whoever started us may be gone; the run folder says the same.
  tryTo(() => fs.writeSync(3, `${line}\n`));
  tryTo(() => fs.closeSync(3));
}

// ── Run folder ──────────────────────────────────────────────────────────────────────────────────────────────────────

function record(me) {
  me.recorded = tryTo(() => writeDurably("state.json", stateOf(me)));
}

/** Nothing starts in a folder that somebody owned before; adoption needs the last owner dead. */
function claim(mode) {
  const owners = fs.readdirSync(".").flatMap((name) => /^owner\.(\d+)$/.exec(name)?.[1] ?? []);
  const last = Math.max(0, ...owners.map(Number));
  if (mode === "adopt" ? isAlive(ownerOf(last)) : last > 0) return false;
  try {
    fs.symlinkSync(`${process.pid}:${statOf(process.pid)?.startTicks}:${bootId()}`, `owner.${last + 1}`);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

function ownerOf(generation) {
  const [pid, startTicks, boot] = linkTarget(`owner.${generation}`)?.split(":") ?? [];
  return { pid: Number(pid), startTicks: Number(startTicks), bootId: boot };
}

function writeDurably(path, value) {
  const temporary = `${path}~`;
  const fd = fs.openSync(temporary, "w", 0o600);
  try {
    fs.writeSync(fd, JSON.stringify(value));
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  fs.renameSync(temporary, path);
  const folder = fs.openSync(".", "r");
  try {
    fs.fsyncSync(folder);
  } finally {
    fs.closeSync(folder);
  }
}

function readJson(path) {
  try {
    return JSON.parse(fs.readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

// ── Processes ───────────────────────────────────────────────────────────────────────────────────────────────────────

const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function programPath(name) {
  return SYSTEM_PATH.split(":")
    .map((folder) => `${folder}/${name}`)
    .find((path) => fs.existsSync(path));
}

/** Parent, group, session and start time of a process that has not ended; undefined otherwise. */
function statOf(pid) {
  const text = textOf(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (fields.length < 20 || fields[0] === "Z" || fields[0] === "X") return undefined;
  const [parent, group, session] = fields.slice(1, 4).map(Number);
  return { parent, group, session, startTicks: Number(fields[19]) };
}

function identityOf(pid) {
  const startTicks = statOf(pid)?.startTicks;
  return startTicks === undefined ? undefined : { pid, startTicks };
}

/** A process id alone proves nothing: ids are used again. Together with the start time it names one process of this boot. */
function isAlive(who) {
  if (typeof who?.pid !== "number" || typeof who.startTicks !== "number") return false;
  if (who.bootId !== undefined && who.bootId !== bootId()) return false;
  return statOf(who.pid)?.startTicks === who.startTicks;
}

function signalExactly(who, signal) {
  if (isAlive(who)) tryTo(() => process.kill(who.pid, signal));
}

function killExactly(who) {
  signalExactly(who, "SIGKILL");
}

async function untilDead(who) {
  while (isAlive(who)) await delay(200);
}

/** Every living process that bears the run's mark in its environment, or belongs to the workload's session or group. */
function bearers(leader) {
  const mark = Buffer.from(`MUTO_RUN=${FOLDER}\0`);
  return pids().flatMap((pid) => {
    if (pid === process.pid) return [];
    const stat = statOf(pid);
    if (stat === undefined) return [];
    const related = leader !== undefined && (stat.session === leader || stat.group === leader);
    return related || environmentOf(pid).includes(mark) ? [{ pid, ...stat }] : [];
  });
}

function pids() {
  return fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function childrenOf(pid) {
  if (pid === undefined) return [];
  const path = `/proc/${pid}/task/${pid}/children`;
  // Not every kernel is built with the list of children.
  if (!fs.existsSync(path)) return pids().filter((child) => statOf(child)?.parent === pid);
  return textOf(path).split(" ").filter(Boolean).map(Number);
}

function environmentOf(pid) {
  try {
    return fs.readFileSync(`/proc/${pid}/environ`);
  } catch {
    return Buffer.alloc(0);
  }
}

function linkTarget(path) {
  try {
    return fs.readlinkSync(path);
  } catch {
    return undefined;
  }
}

function textOf(path) {
  try {
    return fs.readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function bootId() {
  return textOf("/proc/sys/kernel/random/boot_id").trim();
}

function exitOf(child) {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ error: error.code ?? "EIO", code: null, signal: null }));
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
}

// ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────────────

function delay(ms) {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}

/** What the promise resolves to, or undefined after the limit. */
function within(limitMs, promise) {
  let timer;
  const limit = new Promise((resolve) => void (timer = setTimeout(resolve, limitMs)));
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

async function textUntil(stream, end) {
  let text = "";
  for await (const chunk of stream) {
    text += String(chunk);
    if (text.endsWith(end)) break;
  }
  return text;
}

function tryTo(action) {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

/** Written at once: what a process says as its last word must not wait for the next turn of its loop. */
function complainAbout(error) {
  tryTo(() => fs.writeSync(2, `${error instanceof Error ? error.stack : String(error)}\n`));
}

try {
  await main(process.argv[2] ?? "start");
} catch (error) {
  // Nothing runs yet, or nothing that is known of: whoever asked finds out, stops what there is, and tries again.
  complainAbout(error);
  process.exit(exitCodeOfFault);
}
