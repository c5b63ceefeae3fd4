import { resolve } from "node:path";
import { systemDisk } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import { parseJson, parseTrustFile } from "@muto/spec";
import type { TrustFile, TrustRole } from "@muto/spec";
import { generateKey, parsePublicKey } from "@muto/trust/keys";
import { CommandFailed } from "../command.ts";
import type { Command } from "../command.ts";
import { show } from "../show.ts";
import { table } from "../table.ts";

const OWNER_ONLY = 0o600;
const algorithms = ["ed25519", "ecdsa-p256"] as const;

const keygen: Command = {
  words: ["trust", "keygen"],
  summary: "Make a key pair: FILE.key for whoever signs, FILE.pub for trust files",
  details: "Ed25519 for assignments and for muto release sign; ecdsa-p256 for keys that cosign uses too.",
  positionals: [{ name: "FILE", about: "path without its ending" }],
  options: { algorithm: { about: "ed25519 unless told", type: "text", choices: algorithms } },
  run: async (input, io) => {
    const disk = systemDisk();
    const base = resolve(input.positional("FILE"));
    const algorithm = algorithms.find((one) => one === input.text("algorithm")) ?? "ed25519";
    for (const file of [`${base}.key`, `${base}.pub`]) {
      if ((await disk.stat(file)) !== undefined) throw new CommandFailed(`${file} exists; a key is never overwritten`);
    }
    const made = await generateKey(algorithm);
    await writeDurably(disk, `${base}.key`, Buffer.from(made.privatePem), { permissions: OWNER_ONLY });
    await writeDurably(disk, `${base}.pub`, Buffer.from(made.signer.publicKey.pem));
    show(
      input,
      io,
      { keyid: made.signer.publicKey.keyid, algorithm, privateKey: `${base}.key`, publicKey: `${base}.pub` },
      (key) => {
        return `${key.privateKey}  keep it to yourself\n${key.publicKey}  for trust files; fingerprint ${key.keyid}\n`;
      },
    );
    return 0;
  },
};

const create: Command = {
  words: ["trust", "create"],
  summary: "Write a trust file, the vehicle's own list of keys for the two roles",
  details: "muto trust create trust.json --release-key release.pub --assignment-key assignment.pub",
  positionals: [{ name: "FILE", about: "where to write it" }],
  options: {
    tenant: { about: "tenant that it is for (default)", type: "text" },
    "release-key": { about: "public key of a releaser", type: "list", value: "FILE" },
    "assignment-key": { about: "public key of the control plane", type: "list", value: "FILE" },
    "release-threshold": { about: "how many release keys must sign (1)", type: "number" },
  },
  run: async (input, io) => {
    const disk = systemDisk();
    const file = resolve(input.positional("FILE"));
    if ((await disk.stat(file)) !== undefined) throw new CommandFailed(`${file} exists; move it away first`);
    const draft: TrustFile = {
      kind: "muto.trust/v1",
      tenant: input.text("tenant") ?? "default",
      roles: {
        release: await role(input.list("release-key"), input.number("release-threshold") ?? 1),
        assignment: await role(input.list("assignment-key"), 1),
      },
    };
    const parsed = parseTrustFile(draft);
    const [problem] = parsed.ok ? [] : parsed.problems;
    if (problem !== undefined)
      throw new CommandFailed(`${problem.path} ${problem.message}`, { hint: "muto trust create --help" });
    await writeDurably(disk, file, Buffer.from(`${JSON.stringify(draft, null, 2)}\n`));
    show(input, io, draft, trustText);
    return 0;
  },
};

const showOne: Command = {
  words: ["trust", "show"],
  summary: "Show the keys of a trust file",
  positionals: [{ name: "FILE", about: "the trust file" }],
  run: async (input, io) => {
    const file = resolve(input.positional("FILE"));
    const bytes = await systemDisk().read(file);
    if (bytes === undefined) throw new CommandFailed(`${file} does not exist`);
    const json = parseJson(bytes);
    const parsed = json.ok ? parseTrustFile(json.value) : json;
    if (!parsed.ok) {
      const [problem] = parsed.problems;
      throw new CommandFailed(`${file} is not a trust file: ${problem?.path ?? ""} ${problem?.message ?? ""}`);
    }
    show(input, io, parsed.value, trustText);
    return 0;
  },
};

export const trustCommands: readonly Command[] = [keygen, create, showOne];

async function role(files: readonly string[], threshold: number): Promise<TrustRole> {
  const keys = await Promise.all(
    files.map(async (file) => {
      const bytes = await systemDisk().read(resolve(file));
      if (bytes === undefined) throw new CommandFailed(`${file} does not exist`);
      const parsed = parsePublicKey(Buffer.from(bytes).toString("utf8"));
      if (!parsed.ok) throw new CommandFailed(`${file} is not a usable public key: ${parsed.problem}`);
      return { keyid: parsed.key.keyid, algorithm: parsed.key.algorithm, publicKey: parsed.key.pem };
    }),
  );
  return { threshold, keys };
}

function trustText(trust: TrustFile): string {
  const rows = (["release", "assignment"] as const).flatMap((name) =>
    trust.roles[name].keys.map(({ keyid, algorithm }) => [
      name,
      `${trust.roles[name].threshold} of ${trust.roles[name].keys.length}`,
      algorithm,
      keyid,
    ]),
  );
  return `tenant ${trust.tenant}\n\n${table(["role", "needed", "algorithm", "fingerprint"], rows)}`;
}
