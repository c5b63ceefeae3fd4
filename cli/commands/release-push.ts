import type { RegistryClient } from "@muto/oci/client";
import type { BuiltStack } from "@muto/oci/stack-build";
import { pushStackArtifact } from "@muto/oci/stack-push";
import type { PushFailure } from "@muto/oci/stack-push";
import { CommandFailed } from "../command.ts";
import type { Command } from "../command.ts";
import type { Io } from "../io.ts";
import { showProgress } from "../push-progress.ts";
import { openRegistry, registryFailed, registryOptions } from "../registry.ts";
import { keyOption, signAt, signerAt } from "../release-key.ts";
import { openSession } from "../session.ts";
import type { Session } from "../session.ts";
import { bytesText, show, signatureText } from "../show.ts";
import { buildFromFile, buildOptions } from "../stack-build.ts";

export const push: Command = {
  words: ["release", "push"],
  summary: "Build a stack from its file, push it as an OCI artifact, sign and register it",
  details: [
    "The file (YAML or JSON) is a muto.stack/v1 manifest in which, relative to the file,",
    "  archive: ./install                    a folder, or a tar.gz, of a native workload",
    "  image: ./image.tar                    an OCI layout (folder or tar), or what docker save wrote",
    "  image: HOST/REPOSITORY@sha256:…       an image in a registry; its layers are copied",
    "  params: [{ file: ./planner.yaml }]    a parameter file",
    "  muto release push stack.yaml --key release.key --create",
  ].join("\n"),
  positionals: [{ name: "FILE", about: "the stack's file" }],
  options: {
    ...registryOptions,
    ...buildOptions,
    ...keyOption,
    create: { about: "register the release with the control plane, too", type: "flag" },
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const client = await openRegistry(session, input, io);
    const signer = input.text("key") === undefined ? undefined : await signerAt(input.required("key"));
    await using local = await buildFromFile(input.positional("FILE"), { input, io, target: client });
    const { built } = local;
    const repository = input.text("repository") ?? built.stack.name;
    const tag = tagOf(built.stack.version);
    io.error(`built ${built.stack.name} ${built.stack.version}: ${sizeText(built)}\n`);
    await warnOfMovedTag(client, { repository, tag, built, io });
    const options = { tag, signal: io.signal, onProgress: showProgress(io) };
    const pushed = await pushStackArtifact({ client }, repository, built, options);
    if (!pushed.ok) throw failed(client, pushed, built);
    io.error(`pushed to ${client.origin}/${repository}, ${bytesText(pushed.uploadedBytes)} uploaded\n`);
    const { manifestDigest, uploadedBytes } = pushed;
    if (signer !== undefined) await signAt(client, repository, manifestDigest, signer, io);
    if (input.flag("create")) await register(session, { built, repository, io });
    show(input, io, { manifestDigest, repository, uploadedBytes }, () => `${manifestDigest}\n`);
    return 0;
  },
};

/** Versions may hold a plus sign (build metadata), which tags may not. */
function tagOf(version: string): string {
  return version.replaceAll("+", "_");
}

/** A tag is a name for people and moves; a version that stands for other content than before deserves a word. */
async function warnOfMovedTag(
  client: RegistryClient,
  at: { readonly repository: string; readonly tag: string; readonly built: BuiltStack; readonly io: Io },
): Promise<void> {
  const { repository, tag, built, io } = at;
  const found = await client.findManifest(repository, tag, io.signal);
  const before = found.ok ? found.digest : undefined;
  if (before === undefined || before === built.artifact.manifestDigest) return;
  io.error(`warning: ${repository}:${tag} was ${before}; a registered release of this version cannot change\n`);
}

function failed(client: RegistryClient, failure: PushFailure, built: BuiltStack): CommandFailed {
  if (failure.problem === "source-failed") {
    return new CommandFailed(`${failure.digest} cannot be copied: ${failure.detail ?? "its source failed"}`, {
      hint: "push again: what has arrived is not sent again",
    });
  }
  const { problem, httpStatus, digest } = failure;
  const isArtifact = digest === built.artifact.manifestDigest;
  if (isArtifact && httpStatus === 400) {
    return new CommandFailed(`${client.origin} does not take OCI artifacts (HTTP 400 for the manifest)`, {
      hint: "use a registry of the OCI distribution specification 1.1",
    });
  }
  return registryFailed(client, { problem, ...(httpStatus === undefined ? {} : { httpStatus }) });
}

async function register(
  session: Session,
  what: { readonly built: BuiltStack; readonly repository: string; readonly io: Io },
): Promise<void> {
  const { built, repository, io } = what;
  const { name, version } = built.stack;
  const { body } = await session.call("createRelease", {
    body: { stackName: name, version, manifestDigest: built.artifact.manifestDigest, repository },
  });
  io.error(`registered ${body.data.stackName} ${body.data.version}, signature ${signatureText(body.data)}\n`);
}

function sizeText({ artifact }: BuiltStack): string {
  const bytes = artifact.layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return `${artifact.layers.length === 1 ? "1 blob" : `${artifact.layers.length} blobs`}, ${bytesText(bytes)}`;
}
