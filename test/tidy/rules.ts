/** House rules that the linter cannot say. Each takes one file and returns what is wrong with it. */
export interface SourceFile {
  /** Relative to the root of the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

export interface Rule {
  readonly name: string;
  readonly applies: (path: string) => boolean;
  readonly problems: (file: SourceFile) => readonly string[];
}

const pureFolders = ["agent/reconcile/", "agent/safety/", "cloud/rollout/"];
/** Parts of the shared ground that compute and touch nothing. */
const pureKit = ["@muto/kit/backoff"];

const isCode = (path: string) => /\.(ts|mjs)$/.test(path) && !path.includes("/generated/");
const isTest = (path: string) => path.endsWith(".test.ts") || path.startsWith("test/") || path.startsWith("bench/");
const isPure = (path: string) => pureFolders.some((folder) => path.startsWith(folder)) && !isTest(path);
/** Where the real world comes in: ports of the kit, composition roots, and programs for people. */
const mayTouchTheWorld = (path: string) =>
  isTest(path) ||
  /(^|\/)main\.ts$/.test(path) ||
  /^(kit|scripts|demo)\//.test(path) ||
  path === "agent/runtime/supervisor.mjs";

export const rules: readonly Rule[] = [
  {
    name: "no attic names",
    applies: isCode,
    problems: ({ path }) =>
      path
        .split("/")
        .filter((part) => /^(utils?|helpers?|libs?|common|managers?|misc|src)(\.test)?(\.ts)?$/.test(part)),
  },
  {
    name: "kebab-case file names",
    applies: isCode,
    problems: ({ path }) => (/(^|\/)[a-z0-9.-]+$/.test(path) ? [] : [path]),
  },
  {
    name: "time and randomness are arguments",
    applies: (path) => isCode(path) && !mayTouchTheWorld(path),
    problems: ({ text }) => matches(text, /\bnew Date\(\)|\bDate\.now\(|\bMath\.random\(/g),
  },
  {
    name: "pure folders import only spec, trust, pure parts of kit, and each other",
    applies: isPure,
    problems: ({ path, text }) =>
      importsOf(text)
        .filter((found) => !pureImport(path, found))
        .map(({ source }) => source),
  },
  {
    name: "no module state",
    applies: (path) =>
      isCode(path) &&
      !isTest(path) &&
      !/^(scripts|demo\/stacks)\//.test(path) &&
      path !== "agent/runtime/supervisor.mjs",
    problems: ({ text }) => matches(text, /^(export )?let .*/gm),
  },
  {
    name: "nothing left for later",
    applies: (path) => isCode(path) && !path.startsWith("test/tidy"),
    problems: ({ text }) => [
      ...matches(text, /\b(TODO|FIXME|XXX|HACK)\b.*/g),
      ...matches(text, /not implemented|simplified|previously/gi),
    ],
  },
  {
    name: "no test is skipped or alone",
    applies: (path) => isTest(path) && !path.startsWith("test/tidy"),
    problems: ({ text }) => matches(text, /\b(test|it|describe|suite)\.(only|skip|todo)\b|\b(skip|only|todo): true/g),
  },
  {
    name: "topics come from the contract",
    applies: (path) => isCode(path) && !isTest(path) && !path.startsWith("spec/"),
    problems: ({ text }) => matches(text, /["'`]muto\/[^"'`]*vehicles\//g),
  },
  {
    name: "no path of somebody's machine",
    applies: (path) => path !== "package-lock.json" && !isTest(path),
    problems: ({ text }) => matches(text, /(?<![\w.])\/(root|home|work)\/[\w-]+/g),
  },
  {
    name: "one title per document",
    applies: (path) => path.endsWith(".md"),
    problems: ({ text }) => {
      const titles = withoutCode(text).match(/^# .*/gm) ?? [];
      return titles.length === 1 ? [] : [`${titles.length} titles`];
    },
  },
  {
    name: "decisions say context, decision and what was given up",
    applies: (path) => /^docs\/decisions\/\d{4}-/.test(path),
    problems: ({ text }) => ["## Context", "## Decision", "## Given up"].filter((heading) => !text.includes(heading)),
  },
];

export function problemsIn(file: SourceFile): readonly string[] {
  return rules
    .filter((rule) => rule.applies(file.path))
    .flatMap((rule) => rule.problems(file).map((problem) => `${file.path}: ${rule.name}: ${problem.trim()}`));
}

function matches(text: string, pattern: RegExp): readonly string[] {
  return [...text.matchAll(pattern)].map((match) => match[0]);
}

function withoutCode(markdown: string): string {
  return markdown.replaceAll(/^```[\s\S]*?^```/gm, "");
}

interface Import {
  readonly source: string;
  /** Types are erased: they bring nothing of the world with them. */
  readonly typeOnly: boolean;
}

function importsOf(text: string): readonly Import[] {
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?[^;"']*?from\s+"([^"]+)";/gm);
  const others = text.matchAll(/^import\s+"([^"]+)";|\bimport\(\s*"([^"]+)"/gm);
  return [
    ...[...statements].map((match) => ({ source: match[2] ?? "", typeOnly: match[1] !== undefined })),
    ...[...others].map((match) => ({ source: match[1] ?? match[2] ?? "", typeOnly: false })),
  ];
}

function pureImport(path: string, { source, typeOnly }: Import): boolean {
  if (source === "@muto/spec" || source.startsWith("@muto/trust/") || pureKit.includes(source)) return true;
  if (!source.startsWith(".")) return false;
  const target = new URL(source, `file:///${path}`).pathname.slice(1);
  const ports = target === "agent/ports.ts" || target === "cloud/ports.ts";
  return pureFolders.some((folder) => target.startsWith(folder)) || (typeOnly && ports);
}
