import { recordOf } from "../stack-file.ts";
import { recordsIn, textIn, unread } from "./findings.ts";
import type { Findings } from "./findings.ts";

/** A launch file in the YAML form that `ros2 launch` reads, as plain values. */
export interface LaunchFile {
  readonly launch: readonly Readonly<Record<string, unknown>>[];
}

export interface ImportedLaunch {
  readonly file: LaunchFile;
  /** Full names that its nodes will have in the ROS graph, as far as they can be known. */
  readonly nodes: readonly string[];
}

/** Turns the `launch` of stack/json into a launch file: arguments, parameters for all, nodes, containers of composable nodes. */
export function launchFileOf(
  launch: Readonly<Record<string, unknown>>,
  place: string,
  findings: Findings,
): ImportedLaunch {
  const actions: Record<string, unknown>[] = [];
  const nodes: string[] = [];
  for (const [at, fields] of recordsIn(launch, "arg", place, findings)) {
    const [name, value] = [textIn(fields, "name", at, findings), fields["value"] ?? fields["default"]];
    unread(fields, ["name", "value", "default"], at, findings);
    if (name === undefined) findings.add(at, "has no name and was left out");
    else
      actions.push({
        arg: compact({ name, default: value === undefined ? undefined : expression(value, at, findings) }),
      });
  }
  for (const [at, fields] of recordsIn(launch, "param", place, findings)) {
    const param = paramOf(fields, at, findings);
    if (param !== undefined && "name" in param) actions.push({ set_parameter: param });
    else if (param !== undefined)
      findings.add(at, "is a file for all nodes, which a launch file cannot say, and was left out");
  }
  for (const [at, fields] of recordsIn(launch, "node", place, findings)) {
    const node = nodeOf(fields, at, findings);
    if (node === undefined) continue;
    actions.push({ node });
    nodes.push(...fullName(fields));
  }
  for (const [at, fields] of recordsIn(launch, "composable", place, findings)) {
    const container = containerOf(fields, at, findings);
    if (container === undefined) continue;
    actions.push({ node_container: container });
    nodes.push(...fullName(fields));
    for (const [, inner] of recordsIn(fields, "node", at, findings)) nodes.push(...fullName(inner));
  }
  for (const [at] of recordsIn(launch, "stack", place, findings)) {
    findings.add(at, "includes another stack, which has to be imported by itself or written into this one");
  }
  unread(launch, KNOWN_AT_TOP, place, findings);
  return { file: { launch: actions }, nodes };
}

const KNOWN_AT_TOP = ["arg", "param", "node", "composable", "stack", "name", "context", "stackId", "description"];
const KNOWN_OF_NODES = [
  "name",
  "namespace",
  "pkg",
  "exec",
  "args",
  "ros_args",
  "output",
  "env",
  "param",
  "remap",
  "launch-prefix",
  "if",
  "unless",
  "lifecycle",
  "plugin",
  "action",
];

function nodeOf(
  fields: Readonly<Record<string, unknown>>,
  at: string,
  findings: Findings,
): Record<string, unknown> | undefined {
  const text = (key: string) => mapped(fields, key, at, findings);
  const [pkg, exec] = [text("pkg"), text("exec")];
  unread(fields, KNOWN_OF_NODES, at, findings);
  if (pkg === undefined || exec === undefined) {
    findings.add(at, "has no pkg or no exec and was left out");
    return undefined;
  }
  if (textIn(fields, "lifecycle", at, findings) !== undefined) {
    findings.add(
      `${at}/lifecycle`,
      "the node is started, but nobody takes it through its states: let a lifecycle manager do that",
    );
  }
  return compact({
    pkg,
    exec,
    name: text("name"),
    namespace: text("namespace"),
    args: text("args"),
    ros_args: text("ros_args"),
    output: text("output"),
    "launch-prefix": text("launch-prefix"),
    if: text("if"),
    unless: text("unless"),
    env: pairs(fields, "env", ["name", "value"], at, findings),
    param: paramsOf(fields, at, findings),
    remap: pairs(fields, "remap", ["from", "to"], at, findings),
  });
}

function containerOf(
  fields: Readonly<Record<string, unknown>>,
  at: string,
  findings: Findings,
): Record<string, unknown> | undefined {
  const text = (key: string) => mapped(fields, key, at, findings);
  const name = text("name");
  unread(
    fields,
    ["name", "namespace", "package", "pkg", "executable", "exec", "output", "remap", "node", "action"],
    at,
    findings,
  );
  if (name === undefined) {
    findings.add(at, "has no name and was left out");
    return undefined;
  }
  const composable = recordsIn(fields, "node", at, findings).flatMap(([place, inner]) => {
    const [pkg, plugin] = [mapped(inner, "pkg", place, findings), mapped(inner, "plugin", place, findings)];
    unread(inner, KNOWN_OF_NODES, place, findings);
    if (pkg === undefined || plugin === undefined) {
      findings.add(place, "has no pkg or no plugin and was left out");
      return [];
    }
    const rest = {
      name: mapped(inner, "name", place, findings),
      namespace: mapped(inner, "namespace", place, findings),
      param: paramsOf(inner, place, findings),
      remap: pairs(inner, "remap", ["from", "to"], place, findings),
    };
    return [compact({ pkg, plugin, ...rest })];
  });
  return compact({
    pkg: text("package") ?? text("pkg") ?? "rclcpp_components",
    exec: text("executable") ?? text("exec") ?? "component_container",
    name,
    // A container has to have one, if only the empty one.
    namespace: text("namespace") ?? "",
    output: text("output"),
    remap: pairs(fields, "remap", ["from", "to"], at, findings),
    composable_node: composable,
  });
}

function paramsOf(
  fields: Readonly<Record<string, unknown>>,
  at: string,
  findings: Findings,
): readonly Record<string, unknown>[] | undefined {
  const params = recordsIn(fields, "param", at, findings).flatMap(([place, inner]) => {
    const param = paramOf(inner, place, findings);
    return param === undefined ? [] : [param];
  });
  return params.length === 0 ? undefined : params;
}

function paramOf(
  fields: Readonly<Record<string, unknown>>,
  at: string,
  findings: Findings,
): Record<string, unknown> | undefined {
  const from = mapped(fields, "from", at, findings);
  unread(fields, ["name", "value", "from", "command", "namespace"], at, findings);
  if (from !== undefined) return { from };
  if (textIn(fields, "command", at, findings) !== undefined) {
    findings.add(`${at}/command`, "runs a program to find a value, which a release does not do, and was left out");
    return undefined;
  }
  const name = textIn(fields, "name", at, findings);
  const value = fields["value"];
  if (name === undefined || value === undefined || value === null) {
    findings.add(at, "has no name or no value and was left out");
    return undefined;
  }
  return { name, value: expression(typed(value), at, findings) };
}

/** Values written as text were read as what they look like. */
function typed(value: unknown): unknown {
  if (typeof value !== "string") return value;
  if (/^true$/i.test(value)) return true;
  if (/^false$/i.test(value)) return false;
  return /^[+-]?\d{1,15}$/.test(value) || /^[+-]?(\d+\.\d*|\.\d+|\d+(?=e))(e[+-]?\d+)?$/i.test(value)
    ? Number(value)
    : value;
}

function pairs(
  fields: Readonly<Record<string, unknown>>,
  key: string,
  [left, right]: readonly [string, string],
  at: string,
  findings: Findings,
): readonly Record<string, unknown>[] | undefined {
  const found = recordsIn(fields, key, at, findings).flatMap(([place, inner]) => {
    const [one, other] = [mapped(inner, left, place, findings), mapped(inner, right, place, findings)];
    unread(inner, [left, right], place, findings);
    if (one !== undefined && other !== undefined) return [{ [left]: one, [right]: other }];
    findings.add(place, `has no ${left} or no ${right} and was left out`);
    return [];
  });
  return found.length === 0 ? undefined : found;
}

function mapped(
  fields: Readonly<Record<string, unknown>>,
  key: string,
  at: string,
  findings: Findings,
): string | undefined {
  const text = textIn(fields, key, at, findings);
  return text === undefined ? undefined : substitutions(text, `${at}/${key}`, findings);
}

/** Substitutions of ROS 1 launch files, which the earlier Muto understood, in the words of ROS 2. */
function expression(value: unknown, at: string, findings: Findings): unknown {
  if (typeof value === "string") return substitutions(value, at, findings);
  if (Array.isArray(value)) return value.map((one: unknown) => expression(one, at, findings));
  const fields = recordOf(value);
  return fields === undefined
    ? value
    : Object.fromEntries(Object.entries(fields).map(([key, one]) => [key, expression(one, at, findings)]));
}

function substitutions(text: string, at: string, findings: Findings): string {
  return text.replaceAll(/\$\(([a-z-]+)((?:\s[^()]*)?)\)/g, (whole, verb: string, rest: string) => {
    const known = SUBSTITUTIONS.get(verb);
    if (known !== undefined) return `$(${known}${rest})`;
    findings.add(at, `${whole} has no counterpart in a ROS 2 launch file and stands there as it was`);
    return whole;
  });
}

const SUBSTITUTIONS: ReadonlyMap<string, string> = new Map([
  ["find", "find-pkg-share"],
  ["arg", "var"],
  ["env", "env"],
  ["optenv", "env"],
  ["anon", "anon"],
  ["dirname", "dirname"],
]);

function fullName(fields: Readonly<Record<string, unknown>>): readonly string[] {
  const { name, namespace } = fields;
  if (typeof name !== "string" || name === "") return [];
  const parts = [...(typeof namespace === "string" ? namespace.split("/") : []), name].filter((part) => part !== "");
  const full = `/${parts.join("/")}`;
  return /^(\/[A-Za-z_][A-Za-z0-9_]*)+$/.test(full) ? [full] : [];
}

function compact(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
