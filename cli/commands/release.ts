import type { Release } from "@muto/spec";
import type { Command } from "../command.ts";
import { openRegistry, registryOptions } from "../registry.ts";
import { keyOption, signAt, signerAt } from "../release-key.ts";
import { openSession } from "../session.ts";
import { codesText, defined, pageOptions, pageQuery, pageText, show, signatureText } from "../show.ts";
import { ago, details, table } from "../table.ts";
import { inspect } from "./release-inspect.ts";
import { push } from "./release-push.ts";

const stack = { name: "STACK", about: "name of the stack" } as const;
const version = { name: "VERSION", about: "version of the release" } as const;
const comment = { comment: { about: "why, for the audit log", type: "text" } } as const;

const sign: Command = {
  words: ["release", "sign"],
  summary: "Sign a stack's digest, exactly as cosign sign --key does",
  positionals: [{ name: "DIGEST", about: "sha256:… of the stack's OCI manifest" }],
  options: {
    ...registryOptions,
    key: { ...keyOption.key, required: true },
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
