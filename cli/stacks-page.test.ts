import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { exampleImage, layoutFiles, writeFiles } from "@muto/oci/example-image";
import { runMuto } from "./test-program.ts";

test("the complete example of docs/stacks.md is a stack, and needs what the page says", async () => {
  const page = await readFile(join(import.meta.dirname, "..", "docs", "stacks.md"), "utf8");
  const [example = "", allowed = ""] = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text ?? "");
  assert.ok(example.includes("kind: muto.stack/v1") && allowed.includes("devices: ["));
  const folder = await mkdtemp(join(tmpdir(), "muto-page-"));
  try {
    await mkdir(join(folder, "install"));
    await writeFile(join(folder, "install", "local_setup.bash"), "");
    for (const name of ["camera.yaml", "planner.yaml"]) await writeFile(join(folder, name), "{}");
    await writeFiles(join(folder, "layout"), layoutFiles([await exampleImage()]));
    await writeFile(join(folder, "stack.yaml"), example.replace(/image: \S+/, "image: ./layout"));
    const result = await runMuto(["release", "inspect", join(folder, "stack.yaml")]);
    assert.equal(result.code, 0, result.error);
    for (const [needed] of allowed.matchAll(/(devices|mounts|capabilities): \[.+\]/g)) {
      assert.ok(result.out.includes(`runtime.allow.${needed}`), needed);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
