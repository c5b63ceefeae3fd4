import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** A system test that produces a reason code for real; its title begins with the code. */
export interface ReasonTest {
  readonly code: string;
  /** Relative to the root of the repository. */
  readonly file: string;
  readonly title: string;
}

const TITLE = /\btest\(\s*(["'`])([A-Z]+(?:_[A-Z]+)+): ([^"'`\n]+)\1/g;

/** Titles of the form `CODE: …` in test/system/reason-codes.*.test.ts. */
export async function findReasonTests(root: string): Promise<readonly ReasonTest[]> {
  const folder = join(root, "test", "system");
  const names = (await readdir(folder)).filter((name) => /^reason-codes\..*\.test\.ts$/.test(name)).toSorted();
  const found = await Promise.all(
    names.map(async (name) => reasonTestsIn(`test/system/${name}`, await readFile(join(folder, name), "utf8"))),
  );
  return found.flat();
}

export function reasonTestsIn(file: string, text: string): readonly ReasonTest[] {
  return [...text.matchAll(TITLE)].map(([, , code = "", rest = ""]) => ({ code, file, title: `${code}: ${rest}` }));
}
