import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** A system test that produces a reason code for real; its title begins with the code. */
export interface ReasonTest {
  readonly code: string;
  /** Relative to the root of the repository. */
  readonly file: string;
  readonly title: string;
}

const FILE = /^test\/system\/reason-codes\.[^/]*\.test\.ts$/;
const TITLE = /\btest\(\s*(["'`])([A-Z]+(?:_[A-Z]+)+): ((?:(?!\1)[^\n])+)\1/g;

/** Titles of the form `CODE: …` in test/system/reason-codes.*.test.ts. */
export async function findReasonTests(root: string): Promise<readonly ReasonTest[]> {
  const paths = (await readdir(join(root, "test"), { recursive: true })).map((path) => `test/${path}`).toSorted();
  const found = await Promise.all(
    paths
      .filter((path) => FILE.test(path))
      .map(async (path) => reasonTestsIn(path, await readFile(join(root, path), "utf8"))),
  );
  return found.flat();
}

export function reasonTestsIn(file: string, text: string): readonly ReasonTest[] {
  return [...text.matchAll(TITLE)].map(([, , code = "", rest = ""]) => ({ code, file, title: `${code}: ${rest}` }));
}
