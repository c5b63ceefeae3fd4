import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseDocument } from "yaml";
import { systemDisk } from "@muto/kit/disk";
import type { RegistryClient } from "@muto/oci/client";
import { pushSignature } from "@muto/oci/signature-push";
import { buildStackArtifact } from "@muto/oci/stack-build";
import { pullStack } from "@muto/oci/stack-pull";
import { pushStackArtifact } from "@muto/oci/stack-push";
import type { BuiltStack } from "@muto/oci/stack-build";
import type { Release, StackManifest } from "@muto/spec";
import { signRelease } from "@muto/trust/cosign";
import { parsePrivateKey } from "@muto/trust/keys";
import type { Signer } from "@muto/trust/keys";
import { CommandFailed } from "../command.ts";
import type { Command } from "../command.ts";
import type { Io } from "../io.ts";
import { openRegistry, registryFailed, registryOptions } from "../registry.ts";
import { openSession } from "../session.ts";
import type { Session } from "../session.ts";
import { codesText, defined, pageOptions, pageQuery, pageText, show } from "../show.ts";
import { ago, details, table } from "../table.ts";

const stack = { name: "STACK", about: "name of the stack" } as const;
const version = { name: "VERSION", about: "version of the release" } as const;
const comment = { comment: { about: "why, for the audit log", type: "text" } } as const;
const key = { key: { about: "private release key; signs as cosign would", type: "text", value: "FILE" } } as const;

const push: Command = {
  words: ["release", "push"],
  summary: "Build a stack from its file, push it as an OCI artifact, sign and register it",
  details: [
    "The file (YAML or JSON) is a muto.stack/v1 manifest in which `archive` of each workload names a folder, relative to the file.",
    "  muto release push stack.yaml --key release.key --create",
  ].join("\n"),
  positionals: [{ name: "FILE", about: "the stack's file" }],
  options: {
    ...registryOptions,
    ...key,
    create: { about: "register the release with the control plane, too", type: "flag" },
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const client = await openRegistry(session, input, io);
    const signer = input.text("key") === undefined ? undefined : await signerAt(input.required("key"));
    const temporary = await mkdtemp(join(tmpdir(), "muto-push-"));
    try {
      const built = await build(resolve(input.positional("FILE")), temporary);
      const repository = input.text("repository") ?? built.stack.name;
      io.error(`built ${built.stack.name} ${built.stack.version}: ${sizeText(built)}\n`);
      const pushed = await pushStackArtifact({ client }, repository, built, {
        tag: built.stack.version,
        signal: io.signal,
      });
      if (!pushed.ok) throw registryFailed(client, pushed);
      io.error(`pushed to ${client.origin}/${repository}\n`);
      if (signer !== undefined) await signAt(client, repository, pushed.manifestDigest, signer, io);
      if (input.flag("create")) await register(session, { built, repository, io });
      show(
        input,
        io,
        { manifestDigest: pushed.manifestDigest, repository },
        ({ manifestDigest }) => `${manifestDigest}\n`,
      );
      return 0;
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  },
};

const sign: Command = {
  words: ["release", "sign"],
  summary: "Sign a stack's digest, exactly as cosign sign --key does",
  positionals: [{ name: "DIGEST", about: "sha256:… of the stack's OCI manifest" }],
  options: {
    ...registryOptions,
    key: { ...key.key, required: true },
    repository: { ...registryOptions.repository, required: true },
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const client = await openRegistry(session, input, io);
    await signAt(
      client,
      input.required("repository"),
      input.positional("DIGEST"),
      await signerAt(input.required("key")),
      io,
    );
    return 0;
  },
};

const create: Command = {
  words: ["release", "create"],
  summary: "Register a signed release; the control plane checks the signature and the manifest",
  positionals: [stack, version, { name: "DIGEST", about: "sha256:… of the stack's OCI manifest" }],
  options: { repository: registryOptions.repository },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("createRelease", {
      body: {
        stackName: input.positional("STACK"),
        version: input.positional("VERSION"),
        manifestDigest: input.positional("DIGEST"),
        ...defined({ repository: input.text("repository") }),
      },
    });
    show(input, io, body.data, (release) => releaseText(release, io.clock.wallMs()));
    return 0;
  },
};

const list: Command = {
  words: ["release", "list"],
  summary: "List releases",
  options: { stack: { about: "only of this stack", type: "text" }, ...pageOptions },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("listReleases", {
      query: { ...defined({ stack: input.text("stack") }), ...pageQuery(input) },
    });
    show(input, io, body, ({ data, metadata }) => {
      const rows = data.map((release) => [
        release.stackName,
        release.version,
        signatureText(release),
        ago(release.createdAt, io.clock.wallMs()),
        release.manifestDigest,
      ]);
      return `${table(["stack", "version", "signature", "created", "digest"], rows)}${pageText(metadata)}`;
    });
    return 0;
  },
};

const showOne: Command = {
  words: ["release", "show"],
  summary: "Show one release",
  positionals: [stack, version],
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("getRelease", {
      params: { stack: input.positional("STACK"), version: input.positional("VERSION") },
    });
    show(input, io, body.data, (release) => releaseText(release, io.clock.wallMs()));
    return 0;
  },
};

const inspect: Command = {
  words: ["release", "inspect"],
  summary: "Read a stack from a registry by its digest: what would run, and when it counts as ready",
  positionals: [{ name: "DIGEST", about: "sha256:… of the stack's OCI manifest" }],
  options: { ...registryOptions, repository: { ...registryOptions.repository, required: true } },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const client = await openRegistry(session, input, io);
    const pulled = await pullStack(client, input.required("repository"), input.positional("DIGEST"), io.signal);
    if (!pulled.ok) {
      if ("httpStatus" in pulled || pulled.problem === "not-found" || pulled.problem === "unreachable")
        throw new CommandFailed(`${client.origin}: ${pulled.problem}`);
      throw new CommandFailed(`this is not a stack that a vehicle would take: ${pulled.problem}`);
    }
    show(input, io, pulled.stack, stackText);
    return 0;
  },
};

const withdraw: Command = {
  words: ["release", "withdraw"],
  summary: "Never assign a release again; unfinished rollouts of it stop and roll back",
  positionals: [stack, version],
  options: comment,
  run: async (input, io) => {
    const session = await openSession(input, io);
    const params = { stack: input.positional("STACK"), version: input.positional("VERSION") };
    const { body } = await session.call("withdrawRelease", {
      params,
      body: defined({ comment: input.text("comment") }),
    });
    show(input, io, body.data, (release) => releaseText(release, io.clock.wallMs()));
    return 0;
  },
};

export const releaseCommands: readonly Command[] = [push, sign, create, list, showOne, inspect, withdraw];

async function build(file: string, outputFolder: string): Promise<BuiltStack> {
  const bytes = await systemDisk().read(file);
  if (bytes === undefined) throw new CommandFailed(`${file} does not exist`);
  const document = parseDocument(Buffer.from(bytes).toString("utf8"));
  const [wrong] = document.errors;
  if (wrong !== undefined) throw new CommandFailed(`${file} is neither YAML nor JSON: ${wrong.message.split("\n")[0]}`);
  const value: unknown = document.toJS();
  if (typeof value !== "object" || value === null) throw new CommandFailed(`${file} holds no stack manifest`);
  const manifest = Object.fromEntries(Object.entries(value));
  const built = await buildStackArtifact(systemDisk(), {
    manifest,
    folders: foldersOf(manifest, dirname(file)),
    outputFolder,
  });
  if (built.ok) return built.built;
  if (built.problem === "cannot-pack") throw new CommandFailed(`${built.path} cannot be packed: ${built.cause}`);
  const problems = (built.problems ?? []).map(({ path, message }) => `\n      ${path} ${message}`);
  throw new CommandFailed(`${file}: ${built.problem}${problems.join("")}`);
}

function foldersOf(manifest: Readonly<Record<string, unknown>>, base: string): ReadonlyMap<string, string> {
  const workloads: unknown = manifest["workloads"];
  const folders = new Map<string, string>();
  for (const workload of Array.isArray(workloads) ? workloads : []) {
    const entries = new Map<string, unknown>(
      typeof workload === "object" && workload !== null ? Object.entries(workload) : [],
    );
    const [name, archive] = [entries.get("name"), entries.get("archive")];
    if (typeof name === "string" && typeof archive === "string") folders.set(name, resolve(base, archive));
  }
  return folders;
}

async function signerAt(file: string): Promise<Signer> {
  const bytes = await systemDisk().read(resolve(file));
  if (bytes === undefined) throw new CommandFailed(`${file} does not exist`, { hint: "muto trust keygen release" });
  const parsed = parsePrivateKey(Buffer.from(bytes).toString("utf8"));
  if (!parsed.ok) throw new CommandFailed(`${file} is not a usable private key: ${parsed.problem}`);
  return parsed.signer;
}

async function signAt(
  client: RegistryClient,
  repository: string,
  manifestDigest: string,
  signer: Signer,
  io: Io,
): Promise<void> {
  const dockerReference = `${new URL(client.origin).host}/${repository}`;
  const signature = await signRelease(signer, { dockerReference, manifestDigest });
  const pushed = await pushSignature(client, { repository, manifestDigest, signature, signal: io.signal });
  if (!pushed.ok) throw registryFailed(client, pushed);
  io.error(`signed with key ${signer.publicKey.keyid.slice(0, 16)}…\n`);
}

async function register(
  session: Session,
  what: { readonly built: BuiltStack; readonly repository: string; readonly io: Io },
): Promise<void> {
  const { built, repository, io } = what;
  const { name, version: number } = built.stack;
  const { body } = await session.call("createRelease", {
    body: { stackName: name, version: number, manifestDigest: built.artifact.manifestDigest, repository },
  });
  io.error(`registered ${body.data.stackName} ${body.data.version}, signature ${signatureText(body.data)}\n`);
}

function sizeText(built: BuiltStack): string {
  const bytes = built.artifact.layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const count = built.artifact.layers.length === 1 ? "1 blob" : `${built.artifact.layers.length} blobs`;
  const size = bytes < 1_000_000 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
  return `${count}, ${size}`;
}

function signatureText(release: Release): string {
  const { signaturePresent, signatureVerified } = release.security;
  return signatureVerified ? "verified" : signaturePresent ? "NOT VERIFIED" : "none";
}

function releaseText(release: Release, nowMs: number): string {
  const { compatibility, withdrawn } = release;
  return details([
    ["release", `${release.stackName} ${release.version}`],
    ["digest", release.manifestDigest],
    ["repository", release.repository],
    [
      "signature",
      `${signatureText(release)}${release.security.signatureRef === null ? "" : `, ${release.security.signatureRef}`}`,
    ],
    ["models", codesText(compatibility.vehicleModels)],
    ["os", codesText(compatibility.os)],
    ["ROS", codesText(compatibility.rosDistro)],
    ["disk", `${release.resourceProfile.diskMbMin} MB`],
    ["ready within", `${release.healthModel.readinessTimeoutSec} s`],
    ["created", `${ago(release.createdAt, nowMs)} by ${release.createdBy.id}`],
    ...(withdrawn === null ? [] : [["WITHDRAWN", `${ago(withdrawn.at, nowMs)} by ${withdrawn.by.id}`] as const]),
  ]);
}

function stackText(manifest: StackManifest): string {
  const workloads = manifest.workloads.map((workload) => [
    workload.name,
    workload.type,
    (workload.argv ?? []).join(" "),
  ]);
  const probes = manifest.healthModel.probes.map((probe) => [probe.name, probe.kind, probe.workload]);
  return `${manifest.name} ${manifest.version}\n\n${table(["workload", "type", "argv"], workloads)}\n${table(["probe", "kind", "workload"], probes)}`;
}
