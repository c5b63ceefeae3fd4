import { gunzipSync } from "node:zlib";
import { CommandFailed } from "../command.ts";
import { recordOf } from "../stack-file.ts";

/** A stack of the earlier Eclipse Muto, whichever of its forms the file had. */
export interface Definition {
  readonly kind: "json" | "archive";
  readonly name: string | undefined;
  /** The content of `launch`. */
  readonly launch: Readonly<Record<string, unknown>>;
  /** Where `launch` stands in the file. */
  readonly place: string;
}

const UNPACKED_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Recognizes `stack/json` and `stack/archive`, a Symphony solution with one of them inside, and the legacy form with nodes at the
 * top. Throws {@link CommandFailed} for everything else, with what to do instead.
 */
export function readDefinition(value: unknown): Definition {
  const fields = recordOf(value);
  if (fields === undefined) throw unknown("it holds no object");
  const metadata = recordOf(fields["metadata"]) ?? {};
  const name = nameIn(metadata) ?? nameIn(fields);
  const type = typeof metadata["content_type"] === "string" ? metadata["content_type"] : fields["content_type"];
  const launch = recordOf(fields["launch"]);
  if (type === "stack/json" || type === "stack/archive") {
    if (launch === undefined) throw unknown(`${type} without launch`);
    return { kind: type === "stack/json" ? "json" : "archive", name, launch, place: "/launch" };
  }
  if (typeof type === "string") throw typeRefused(type);
  const spec = recordOf(fields["spec"]);
  if (spec !== undefined) return inSolution(spec, name);
  if ("node" in fields || "composable" in fields) return { kind: "json", name, launch: fields, place: "" };
  if ("url" in fields || "launch_description_source" in fields || "on_start" in fields || "source" in fields) {
    throw new CommandFailed("this legacy stack starts scripts of a git repository, which a release cannot do", {
      hint: "build the repository in CI and ship install/ as an archive: docs/stacks.md, A colcon workspace",
    });
  }
  throw unknown("neither metadata.content_type nor nodes are there");
}

function typeRefused(type: string): CommandFailed {
  if (type === "stack/git") {
    return new CommandFailed("stack/git names sources, and a release holds what was built of them", {
      hint: "build the repository in CI and ship install/ as an archive: docs/stacks.md, A colcon workspace",
    });
  }
  return new CommandFailed(`${type} is not known; stack/json and stack/archive are`, {
    hint: "write the stack's file by hand: docs/stacks.md",
  });
}

/** A solution carries the stack in base64, perhaps compressed, in the first component of that type. */
function inSolution(spec: Readonly<Record<string, unknown>>, name: string | undefined): Definition {
  const components: unknown = spec["components"];
  if (!Array.isArray(components)) {
    const hint = typeof spec["solution"] === "string" ? `import the solution ${spec["solution"]} instead` : undefined;
    throw new CommandFailed("this says where a solution runs, not what it is", hint === undefined ? {} : { hint });
  }
  const stacks = components.flatMap((component: unknown) => {
    const properties = recordOf(recordOf(component)?.["properties"]);
    const data = properties?.["type"] === "stack" ? properties["data"] : undefined;
    return typeof data === "string" ? [data] : [];
  });
  const [data] = stacks;
  if (data === undefined) throw unknown("no component of the solution holds a stack");
  if (stacks.length > 1) throw new CommandFailed(`the solution holds ${stacks.length} stacks; import them one by one`);
  const inner = readDefinition(decoded(data));
  return { ...inner, name: inner.name ?? name };
}

function decoded(data: string): unknown {
  try {
    const bytes = Buffer.from(data, "base64");
    const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b;
    return JSON.parse((isPacked ? gunzipSync(bytes, { maxOutputLength: UNPACKED_BYTES_MAX }) : bytes).toString("utf8"));
  } catch (cause) {
    throw new CommandFailed("the stack inside the solution cannot be read", { cause });
  }
}

function nameIn(fields: Readonly<Record<string, unknown>>): string | undefined {
  const { name } = fields;
  return typeof name === "string" && name !== "" ? name : undefined;
}

function unknown(why: string): CommandFailed {
  return new CommandFailed(`this is no stack of Eclipse Muto: ${why}`, {
    hint: "a file with metadata.content_type stack/json or stack/archive",
  });
}
