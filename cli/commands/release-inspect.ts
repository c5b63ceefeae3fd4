import type { RegistryClient } from "@muto/oci/client";
import { isDigest } from "@muto/oci/digest";
import { parseImageConfig } from "@muto/oci/image-config";
import type { Platform } from "@muto/oci/platform";
import { pullSmallBlob, pullStack } from "@muto/oci/stack-pull";
import type { DescribedStack } from "@muto/oci/stack-pull";
import { CommandFailed } from "../command.ts";
import type { Command, Input } from "../command.ts";
import type { Io } from "../io.ts";
import { openRegistry, registryFailed, registryOptions } from "../registry.ts";
import { openSession } from "../session.ts";
import { show } from "../show.ts";
import { buildFromFile, buildOptions } from "../stack-build.ts";
import { stackView, viewText } from "../stack-view.ts";
import type { StackView } from "../stack-view.ts";

export const inspect: Command = {
  words: ["release", "inspect"],
  summary: "Show what a stack would run and what a vehicle must allow, by digest, or from its file before it is pushed",
  details: [
    "  muto release inspect sha256:… --repository autonomy-core",
    "  muto release inspect stack.yaml",
    "A file is built exactly as release push would build it, and nothing is sent anywhere.",
  ].join("\n"),
  positionals: [{ name: "DIGEST|FILE", about: "sha256:… of the stack's OCI manifest, or the stack's file" }],
  options: { ...registryOptions, ...buildOptions },
  run: async (input, io) => {
    const what = input.positional("DIGEST|FILE");
    const view = isDigest(what) ? await inspectDigest(what, input, io) : await inspectFile(what, input, io);
    show(input, io, view, viewText);
    return 0;
  },
};

async function inspectFile(file: string, input: Input, io: Io): Promise<StackView> {
  await using local = await buildFromFile(file, { input, io });
  return stackView(local.built, new Map([...local.images].map(([digest, { platform }]) => [digest, platform])));
}

async function inspectDigest(digest: string, input: Input, io: Io): Promise<StackView> {
  const repository = input.text("repository");
  if (repository === undefined) {
    throw new CommandFailed("--repository is missing", { exitCode: 2, hint: "muto release inspect --help" });
  }
  const session = await openSession(input, io);
  const client = await openRegistry(session, input, io);
  const pulled = await pullStack(client, repository, digest, io.signal);
  if (pulled.ok) return stackView(pulled, await platformsOf(client, repository, pulled, io));
  if ("httpStatus" in pulled || pulled.problem === "not-found" || pulled.problem === "unreachable") {
    throw registryFailed(client, pulled);
  }
  const problems = "problems" in pulled ? (pulled.problems ?? []) : [];
  const lines = problems.map(({ path, message }) => `\n      ${path} ${message}`);
  throw new CommandFailed(`this is not a stack that a vehicle would take: ${pulled.problem}${lines.join("")}`);
}

/** What each image is for stands in its configuration alone. */
async function platformsOf(
  client: RegistryClient,
  repository: string,
  { images }: DescribedStack,
  io: Io,
): Promise<ReadonlyMap<string, Platform>> {
  const platforms = new Map<string, Platform>();
  for (const [digest, { config }] of images) {
    const pulled = await pullSmallBlob(client, repository, config, io.signal);
    if (!pulled.ok) throw registryFailed(client, pulled);
    const platform = parseImageConfig(pulled.bytes)?.platform;
    if (platform !== undefined) platforms.set(digest, platform);
  }
  return platforms;
}
