/**
 * Names inside an archive, from strangers. Only plain relative paths survive; links are judged by where they lead once
 * everything is in place, other links included.
 */
export interface PathLimits {
  readonly pathBytesMax: number;
  readonly nameBytesMax: number;
}

export type PathProblem = "absolute-path" | "escapes" | "path-too-long" | "malformed";

export type ParsedPath =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly problem: PathProblem };

/** The path in plain form (`a/b`, the root is empty), or why it is refused. */
export function parseArchivePath(name: string, limits: PathLimits): ParsedPath {
  if (name.startsWith("/")) return { ok: false, problem: "absolute-path" };
  if (hasControlCharacter(name)) return { ok: false, problem: "malformed" };
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) return { ok: false, problem: "escapes" };
  const path = parts.join("/");
  const longest = parts.reduce((max, part) => Math.max(max, Buffer.byteLength(part)), 0);
  if (Buffer.byteLength(path) > limits.pathBytesMax || longest > limits.nameBytesMax) {
    return { ok: false, problem: "path-too-long" };
  }
  return { ok: true, path };
}

/** More hops than an operating system follows. */
const HOPS_MAX = 40;

/**
 * Whether following the link at `path` stays inside, given all links of the archive. Walks like the operating system does:
 * a link in the middle of a target is followed before `..` is applied, so that no detour through one link helps another out.
 */
export function linkStaysInside(path: string, links: ReadonlyMap<string, string>): boolean {
  const walk = [...parentOf(path), ...targetParts(links.get(path) ?? "")];
  if (isAbsolute(links.get(path) ?? "")) return false;
  let hops = 0;
  const reached: string[] = [];
  while (walk.length > 0) {
    const part = walk.shift();
    if (part === undefined || part === "" || part === ".") continue;
    if (part === "..") {
      if (reached.pop() === undefined) return false;
      continue;
    }
    reached.push(part);
    const target = links.get(reached.join("/"));
    if (target === undefined) continue;
    hops += 1;
    if (hops > HOPS_MAX || isAbsolute(target)) return false;
    reached.pop();
    walk.unshift(...targetParts(target));
  }
  return true;
}

export function hasControlCharacter(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

function parentOf(path: string): readonly string[] {
  return path.split("/").slice(0, -1);
}

function targetParts(target: string): readonly string[] {
  return target.split("/");
}

function isAbsolute(target: string): boolean {
  return target.startsWith("/");
}
