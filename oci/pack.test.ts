import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { systemDisk } from "@muto/kit/disk";
import type { Disk } from "@muto/kit/disk";
import { readBody } from "@muto/kit/http";
import { PackError, packFolder } from "./pack.ts";
import { verifyTree } from "./tree.ts";
import { unpack } from "./unpack.ts";

const disk = systemDisk();
let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "muto-pack-"));
});
after(() => rm(root, { recursive: true }));

const packed = (folder: string, on: Disk = disk) => readBody(packFolder(on, folder), 100_000_000);

async function sampleTree(name: string): Promise<string> {
  const folder = join(root, name);
  await mkdir(join(folder, "lib/deep"), { recursive: true });
  await mkdir(join(folder, "empty"));
  await writeFile(join(folder, "setup.sh"), "export A=1\n");
  await writeFile(join(folder, "lib/node"), Buffer.alloc(3_000_000, "node"));
  await chmod(join(folder, "lib/node"), 0o700);
  await writeFile(join(folder, `lib/deep/${"n".repeat(200)}-ü`), "long");
  await writeFile(join(folder, "lib/none"), "");
  await symlink("../setup.sh", join(folder, "lib/link"));
  return folder;
}

test("the same content gives the same bytes, whatever times, owners and modes say", async () => {
  const [one, two] = [await sampleTree("one"), await sampleTree("two")];
  await utimes(join(two, "setup.sh"), new Date(0), new Date(0));
  await chmod(join(two, "lib/node"), 0o755);
  await chmod(join(two, "setup.sh"), 0o600);
  const bytes = await packed(one);
  assert.deepEqual(await packed(two), bytes);
  await writeFile(join(two, "setup.sh"), "export A=2\n");
  assert.notDeepEqual(await packed(two), bytes);
});

test("what was packed unpacks to the same tree", async () => {
  const folder = await sampleTree("three");
  const into = join(root, "three-again");
  const outcome = await unpack(disk, packFolder(disk, folder), { folder: into });
  assert.ok(outcome.ok);
  const names = outcome.listing.map(({ path, kind }) => `${kind} ${path}`);
  assert.deepEqual(names, [
    "folder empty",
    "folder lib",
    "folder lib/deep",
    `file lib/deep/${"n".repeat(200)}-ü`,
    "symlink lib/link",
    "file lib/node",
    "file lib/none",
    "file setup.sh",
  ]);
  assert.deepEqual(await verifyTree(disk, into, outcome.listing), { ok: true });
  const modes = outcome.listing.flatMap((entry) => (entry.kind === "file" ? [[entry.path, entry.mode]] : []));
  assert.deepEqual(Object.fromEntries(modes)["lib/node"], 0o755);
  assert.deepEqual(Object.fromEntries(modes)["setup.sh"], 0o644);
});

test("what a vehicle would refuse is refused before it is released", async () => {
  const listening = createServer();
  const situations: Record<string, { make: (folder: string) => Promise<unknown>; problem: string }> = {
    "absolute link": { make: (folder) => symlink("/etc/passwd", join(folder, "l")), problem: "link-escapes" },
    "link out": { make: (folder) => symlink("../x", join(folder, "l")), problem: "link-escapes" },
    "control character": { make: (folder) => writeFile(join(folder, "a\u0007b"), ""), problem: "path-not-allowed" },
    socket: {
      make: (folder) => new Promise<void>((resolve) => listening.listen(join(folder, "s"), resolve)),
      problem: "special-file",
    },
  };
  for (const [name, { make, problem }] of Object.entries(situations)) {
    const folder = join(root, `bad ${name}`);
    await mkdir(folder);
    await make(folder);
    await assert.rejects(packed(folder), (error) => error instanceof PackError && error.problem === problem, name);
  }
  await new Promise((resolve) => listening.close(resolve));
  await assert.rejects(
    packed(join(root, "absent")),
    (error) => error instanceof PackError && error.problem === "folder-missing",
  );
});

test("a file that changes its length while it is read is noticed", async () => {
  const folder = await sampleTree("growing");
  const growing: Disk = {
    ...disk,
    open: async (path, mode, permissions) => {
      if (path.endsWith("setup.sh")) await writeFile(path, "export A=1\nexport B=2\n");
      return await disk.open(path, mode, permissions);
    },
  };
  await assert.rejects(packed(folder, growing), (error) => error instanceof PackError && error.problem === "changed");
});

test("whoever stops reading in the middle leaves nothing running", async () => {
  const folder = await sampleTree("stopped");
  let open = 0;
  const counting: Disk = {
    ...disk,
    open: async (path, mode, permissions) => {
      const file = await disk.open(path, mode, permissions);
      open += 1;
      const close = async () => {
        open -= 1;
        await file.close();
      };
      return { ...file, close, [Symbol.asyncDispose]: close };
    },
  };
  for await (const chunk of packFolder(counting, folder)) {
    assert.ok(chunk.byteLength > 0);
    break;
  }
  assert.equal(open, 0);
});
