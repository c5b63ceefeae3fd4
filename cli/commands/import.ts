import { join, resolve } from "node:path";
import { stringify, parse } from "yaml";
import { writeDurably } from "@muto/kit/durable-file";
import { systemDisk } from "@muto/kit/disk";
import type { Disk } from "@muto/kit/disk";
import { CommandFailed } from "../command.ts";
import type { Command, Input } from "../command.ts";
import { importArchive } from "../import/archive.ts";
import { readDefinition } from "../import/definition.ts";
import type { Definition } from "../import/definition.ts";
import { Findings } from "../import/findings.ts";
import { launchFileOf } from "../import/launch.ts";
import { show } from "../show.ts";

const importStack: Command = {
  words: ["import"],
  summary: "Make a stack's file of a stack/json or stack/archive definition of the earlier Eclipse Muto",
  details: [
    "Writes a folder with stack.yaml, which release push takes, and what it names. What cannot be carried over is listed.",
    "  muto import talker-listener.json --distro humble",
    "  muto release push talker-listener/stack.yaml --key release.key --create",
  ].join("\n"),
  positionals: [{ name: "FILE", about: "the definition, JSON or YAML; also a Symphony solution that holds one" }],
  options: {
    distro: { about: "ROS distribution of the vehicles; its setup.bash below /opt/ros is sourced", type: "text" },
    setup: { about: "setup file that is sourced before the program, in this order", type: "list", value: "FILE" },
    name: { about: "name of the stack; default the definition's own", type: "text" },
    version: { about: "version of the stack; default 1.0.0", type: "text" },
    into: { about: "folder to write; default the stack's name", type: "text", value: "FOLDER" },
    archive: { about: "the archive, where the definition only says where it lies", type: "text", value: "FILE" },
    graph: { about: "probe every node in the ROS graph; vehicles need a dds or rosbridge provider", type: "flag" },
    strict: { about: "write nothing and end with 1 when anything cannot be carried over", type: "flag" },
  },
  run: async (input, io) => {
    const disk = systemDisk();
    const definition = readDefinition(await readValue(disk, input.positional("FILE")));
    const setup = setupFiles(input);
    const name = stackName(input, definition);
    const folder = resolve(input.text("into") ?? name);
    if ((await disk.stat(folder)) !== undefined && (await disk.list(folder)).length > 0) {
      throw new CommandFailed(`${folder} is not empty`, { hint: "--into ANOTHER-FOLDER" });
    }
    const findings = new Findings();
    const partial = `${folder}.partial`;
    await disk.remove(partial);
    await disk.makeFolder(partial);
    try {
      const workload = await importedWorkload(disk, { definition, input, findings, folder: partial, setup });
      await writeText(disk, join(partial, "stack.yaml"), stackText({ name, input, setup, ...workload }));
      for (const { place, message } of findings.list) io.error(`warning: ${place || "/"} ${message}\n`);
      if (findings.list.length > 0 && input.flag("strict")) {
        throw new CommandFailed(`not everything can be carried over, so nothing was written`, {
          hint: "correct the definition, or leave --strict out",
        });
      }
      await disk.remove(folder);
      await disk.rename(partial, folder);
    } finally {
      await disk.remove(partial);
    }
    const file = join(folder, "stack.yaml");
    io.error(`next: muto release inspect ${file}\n`);
    show(input, io, { file, findings: findings.list }, () => `${file}\n`);
    return 0;
  },
};

export const importCommands: readonly Command[] = [importStack];

interface ImportedWorkload {
  /** Folder of the archive, relative to the stack's file. */
  readonly archive: string;
  readonly argv: readonly string[];
  readonly launchArguments: Readonly<Record<string, string>>;
  /** Setup files inside the archive. */
  readonly ownSetup: readonly string[];
  /** Full names of its nodes. */
  readonly nodes: readonly string[];
}

async function importedWorkload(
  disk: Disk,
  from: {
    readonly definition: Definition;
    readonly input: Input;
    readonly findings: Findings;
    readonly folder: string;
    readonly setup: readonly string[];
  },
): Promise<ImportedWorkload> {
  const { definition, input, findings, folder } = from;
  if (definition.kind === "json") {
    if (input.text("archive") !== undefined) {
      throw new CommandFailed("--archive is for stack/archive", { exitCode: 2 });
    }
    const { file, nodes } = launchFileOf(definition.launch, definition.place, findings);
    if (nodes.length === 0 && file.launch.length === 0) throw new CommandFailed("the definition launches nothing");
    await disk.makeFolder(join(folder, "launch"));
    await writeText(disk, join(folder, "launch", "stack.launch.yaml"), stringify(file, { lineWidth: 0 }));
    const argv = ["ros2", "launch", "stack.launch.yaml"];
    return { archive: "./launch", argv, launchArguments: {}, ownSetup: [], nodes };
  }
  const given = input.text("archive");
  const bytes = given === undefined ? undefined : await disk.read(resolve(given));
  if (given !== undefined && bytes === undefined) throw new CommandFailed(`${given} does not exist`);
  const workspace = join(folder, "workspace");
  const imported = await importArchive(definition.launch, { disk, given: bytes, folder: workspace }, findings);
  const { root, argv, launchArguments, setup } = imported;
  return {
    archive: root === "" ? "./workspace" : `./workspace/${root}`,
    argv,
    launchArguments,
    ownSetup: setup,
    nodes: [],
  };
}

function setupFiles(input: Input): readonly string[] {
  const distro = input.text("distro");
  if (distro !== undefined && !/^[a-z]{3,32}$/.test(distro)) {
    throw new CommandFailed(`${distro} is no ROS distribution`, { exitCode: 2, hint: "--distro humble" });
  }
  const given = input.list("setup");
  if (distro === undefined && given.length === 0) {
    throw new CommandFailed("which ROS do the vehicles have?", {
      exitCode: 2,
      hint: "--distro humble   (or --setup /opt/ros/humble/setup.bash)",
    });
  }
  return [...(distro === undefined ? [] : [`/opt/ros/${distro}/setup.bash`]), ...given];
}

function stackName(input: Input, { name }: Definition): string {
  const slug = (input.text("name") ?? name ?? "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .replaceAll(/^[^a-z0-9]+|-+$/g, "")
    .slice(0, 63);
  if (slug === "") throw new CommandFailed("the stack has no name", { exitCode: 2, hint: "--name NAME" });
  return slug;
}

function stackText(
  from: ImportedWorkload & { readonly name: string; readonly input: Input; readonly setup: readonly string[] },
): string {
  const { name, input, archive, argv, launchArguments, ownSetup, nodes } = from;
  const distro = input.text("distro");
  const stack = {
    kind: "muto.stack/v1",
    name,
    version: input.text("version") ?? "1.0.0",
    compatibility: { vehicleModels: [], os: [], rosDistro: distro === undefined ? [] : [distro] },
    resourceProfile: { diskMbMin: 100 },
    ...(distro === undefined ? {} : { ros: { distro } }),
    healthModel: {
      readinessTimeoutSec: 120,
      stableForSec: 5,
      probes: [
        { kind: "process", name: "up", workload: "stack", liveness: true },
        // ros2 launch goes on, and ends with 0, when a node has died.
        { kind: "log", name: "no-node-died", workload: "stack", text: "process has died", seen: false, liveness: true },
        ...(input.flag("graph") ? nodes.map(nodeProbe) : []),
      ],
    },
    workloads: [
      {
        name: "stack",
        type: "native",
        archive,
        argv,
        setup: [...from.setup, ...ownSetup],
        ...(Object.keys(launchArguments).length === 0 ? {} : { launchArguments }),
        stop: { signal: "SIGINT", limitSec: 20 },
      },
    ],
  };
  const head = "# Imported; adjust compatibility, resourceProfile and healthModel to your vehicles: docs/stacks.md\n";
  return `${head}${stringify(stack, { lineWidth: 0 })}`;
}

function nodeProbe(node: string, index: number) {
  const slug = node
    .slice(1)
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .slice(0, 48);
  return { kind: "node", name: `node-${index + 1}-${slug}`, workload: "stack", node, liveness: true };
}

async function readValue(disk: Disk, file: string): Promise<unknown> {
  const bytes = await disk.read(resolve(file));
  if (bytes === undefined) throw new CommandFailed(`${file} does not exist`);
  try {
    return parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : "";
    throw new CommandFailed(`${file}: neither JSON nor YAML: ${why}`, { cause });
  }
}

async function writeText(disk: Disk, path: string, text: string): Promise<void> {
  await writeDurably(disk, path, new Uint8Array(Buffer.from(text, "utf8")));
}
