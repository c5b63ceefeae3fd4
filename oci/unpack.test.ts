import assert from "node:assert/strict";
import {
  chmod,
  mkdtemp,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { DiskError, systemDisk } from "@muto/kit/disk";
import type { Disk } from "@muto/kit/disk";
import { readBody } from "@muto/kit/http";
import fc from "fast-check";
import { pack } from "tar-stream";
import type { Header } from "tar-stream";
import { linkStaysInside } from "./archive-path.ts";
import { ContentError, digestOf, verified } from "./digest.ts";
import { encodeListing, parseListing, verifyTree } from "./tree.ts";
import type { TreeListing } from "./tree.ts";
import { unpack } from "./unpack.ts";
import type { UnpackLimits } from "./unpack.ts";

type Item = Partial<Header> & { readonly name: string; readonly body?: string | Uint8Array };

const file = (name: string, body = name, mode = 0o644): Item => ({ name, body, mode });
const folder = (name: string): Item => ({ name, type: "directory" });
const link = (name: string, linkname: string): Item => ({ name, type: "symlink", linkname });
const hard = (name: string, linkname: string): Item => ({ name, type: "link", linkname });

async function tarOf(...items: readonly Item[]): Promise<Uint8Array> {
  const archive = pack();
  for (const { body, ...header } of items) archive.entry(header, body ?? "");
  archive.finalize();
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for await (const chunk of archive) yield Buffer.isBuffer(chunk) ? chunk : Buffer.alloc(0);
  }
  return await readBody(bytes(), 100_000_000);
}

async function* streamOf(bytes: Uint8Array, pieceBytes = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

describe("unpacking", () => {
  const disk = systemDisk();
  let root: string;
  let count = 0;
  before(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), "muto-unpack-")));
  });
  after(() => rm(root, { recursive: true }));
  const fresh = () => join(root, `set-${count++}`);

  async function tryUnpack(items: readonly Item[], limits: Partial<UnpackLimits> = {}) {
    const into = fresh();
    const outcome = await unpack(disk, streamOf(gzipSync(await tarOf(...items))), { folder: into, limits });
    return { into, outcome };
  }

  test("an ordinary install tree comes out as it went in, with its listing", async () => {
    const { into, outcome } = await tryUnpack([
      folder("./"),
      folder("./share"),
      file("./share/setup.sh", "export A=1\n"),
      file("lib/node", "#!/bin/sh\n", 0o4755),
      link("lib/current", "../share/setup.sh"),
      hard("bin/node", "lib/node"),
      file("unicode/ü✓", "x"),
      file(`long/${"d".repeat(120)}/${"f".repeat(120)}`, "long"),
    ]);
    assert.ok(outcome.ok);
    assert.equal(await readFile(join(into, "lib/current"), "utf8"), "export A=1\n");
    assert.equal(await readlink(join(into, "lib/current")), "../share/setup.sh");
    assert.equal((await stat(join(into, "lib/node"))).mode & 0o7777, 0o755);
    assert.equal(await readFile(join(into, "bin/node"), "utf8"), "#!/bin/sh\n");
    const sha256 = digestOf(Buffer.from("#!/bin/sh\n")).slice(7);
    const program = { path: "bin/node", kind: "file", mode: 0o755, sizeBytes: 10, sha256 };
    assert.deepEqual(
      outcome.listing.find(({ path }) => path === "bin/node"),
      program,
    );
    assert.deepEqual(outcome.listing.map(({ path }) => path).slice(0, 5), [
      "bin",
      "bin/node",
      "lib",
      "lib/current",
      "lib/node",
    ]);
    assert.deepEqual(await verifyTree(disk, into, outcome.listing), { ok: true });
    assert.deepEqual(parseListing(encodeListing(outcome.listing)), outcome.listing);
  });

  test("hostile archives are refused, each with its code, and leave nothing behind", async () => {
    const many = Array.from({ length: 20 }, (_, index) => file(`f${index}`));
    const situations: readonly {
      name: string;
      items: readonly Item[];
      problem: string;
      limits?: Partial<UnpackLimits>;
    }[] = [
      { name: "absolute path", items: [file("/etc/passwd")], problem: "absolute-path" },
      { name: "climbing out", items: [file("a/../../evil")], problem: "escapes" },
      { name: "climbing out by a folder", items: [folder("../evil")], problem: "escapes" },
      { name: "control character in a name", items: [file("a\u0001b")], problem: "malformed" },
      { name: "name of the root", items: [file(".")], problem: "not-a-folder" },
      { name: "link to an absolute path", items: [link("l", "/etc")], problem: "link-escapes" },
      { name: "link out", items: [link("a/l", "../../x")], problem: "link-escapes" },
      {
        name: "link out through a link",
        items: [folder("d"), link("d/up", ".."), link("l", "d/up/../x")],
        problem: "link-escapes",
      },
      { name: "links in a circle", items: [link("a", "b"), link("b", "a")], problem: "link-escapes" },
      { name: "link without target", items: [{ name: "l", type: "symlink", linkname: "" }], problem: "malformed" },
      { name: "writing through a link", items: [link("l", "."), file("l/x")], problem: "not-a-folder" },
      { name: "writing through a file", items: [file("f"), file("f/x")], problem: "not-a-folder" },
      { name: "replacing a file by a link", items: [file("f"), link("f", "x")], problem: "duplicate" },
      { name: "replacing a link by a file", items: [link("f", "x"), file("f")], problem: "duplicate" },
      { name: "replacing a folder by a link", items: [folder("d"), link("d", "x")], problem: "duplicate" },
      { name: "the same file twice", items: [file("f"), file("./f", "other")], problem: "duplicate" },
      { name: "hard link out", items: [hard("h", "../../etc/passwd")], problem: "link-escapes" },
      { name: "hard link to an absolute path", items: [hard("h", "/etc/passwd")], problem: "link-escapes" },
      {
        name: "hard link to what is not there",
        items: [hard("h", "later"), file("later")],
        problem: "link-target-missing",
      },
      { name: "hard link to a symbolic link", items: [link("l", "x"), hard("h", "l")], problem: "link-target-missing" },
      {
        name: "character device",
        items: [{ name: "d", type: "character-device", devmajor: 1, devminor: 3 }],
        problem: "special-file",
      },
      { name: "block device", items: [{ name: "d", type: "block-device" }], problem: "special-file" },
      { name: "fifo", items: [{ name: "p", type: "fifo" }], problem: "special-file" },
      { name: "long path", items: [file("x/".repeat(600) + "f")], problem: "path-too-long" },
      { name: "long name", items: [file("n".repeat(256))], problem: "path-too-long" },
      { name: "too many entries", items: many, limits: { entriesMax: 10 }, problem: "too-many-entries" },
      {
        name: "too many folders made on the way",
        items: [file("a/b/c/d/e"), file("g")],
        limits: { entriesMax: 5 },
        problem: "too-many-entries",
      },
      {
        name: "too many bytes",
        items: [file("f", "x".repeat(5000))],
        limits: { unpackedBytesMax: 4000 },
        problem: "too-large",
      },
      {
        name: "a bomb",
        items: [file("f", "0".repeat(3_000_000))],
        limits: { ratioFreeBytes: 1_000_000 },
        problem: "too-dense",
      },
    ];
    for (const { name, items, problem, limits } of situations) {
      const { into, outcome } = await tryUnpack(items, limits);
      assert.equal(outcome.ok ? "ok" : outcome.problem, problem, name);
      assert.equal(await disk.stat(into), undefined, name);
    }
  });

  test("a link out through a link that comes later is refused too", async () => {
    const { outcome } = await tryUnpack([link("l", "d/up/../x"), folder("d"), link("d/up", "..")]);
    assert.deepEqual(outcome, { ok: false, problem: "link-escapes", path: "l" });
  });

  test("bytes that are no tar.gz, or only the beginning of one, are malformed", async () => {
    const whole = gzipSync(await tarOf(file("a", "x".repeat(3000)), file("b")));
    const tar = await tarOf(file("a", "x".repeat(3000)));
    const situations = {
      "not gzip": Buffer.from("hello".repeat(200)),
      "gzip of no tar": gzipSync(Buffer.alloc(2000, "hello")),
      "gzip cut off": whole.subarray(0, whole.byteLength - 10),
      "gzip damaged": Buffer.concat([whole.subarray(0, 30), Buffer.alloc(8), whole.subarray(38)]),
      "tar cut off in a file": gzipSync(tar.subarray(0, 1024)),
      "tar cut off in a header": gzipSync(tar.subarray(0, 300)),
    };
    for (const [name, bytes] of Object.entries(situations)) {
      const outcome = await unpack(disk, streamOf(bytes), { folder: fresh() });
      assert.deepEqual(outcome, { ok: false, problem: "malformed" }, name);
    }
  });

  test("the source is read to its end, and what it says there passes through", async () => {
    const good = gzipSync(await tarOf(file("a"), file("b", "x".repeat(10_000))));
    for (const pieceBytes of [10, 1000, 100_000]) {
      const expected = { digest: digestOf(Buffer.from("other")), sizeBytes: good.byteLength };
      const into = fresh();
      await assert.rejects(
        unpack(disk, verified(streamOf(good, pieceBytes), expected), { folder: into }),
        ContentError,
      );
      assert.equal(await disk.stat(into), undefined);
    }
  });

  test("nothing may follow the compressed data", async () => {
    const good = gzipSync(await tarOf(file("a")));
    for (const pieceBytes of [good.byteLength, 10, 1000, 200_000]) {
      const padded = Buffer.concat([good, Buffer.alloc(100_000, "trailing")]);
      const outcome = await unpack(disk, streamOf(padded, pieceBytes), { folder: fresh() });
      assert.deepEqual(outcome, { ok: false, problem: "malformed" }, String(pieceBytes));
    }
  });

  test("a refused archive is not read any further (endless data)", async () => {
    const start = gzipSync(await tarOf(file("/absolute"), file("f", "x".repeat(100_000))));
    let closed = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        yield start;
        for (;;) yield Buffer.alloc(1000);
      } finally {
        closed = true;
      }
    }
    assert.deepEqual(await unpack(disk, endless(), { folder: fresh() }), { ok: false, problem: "absolute-path" });
    assert.equal(closed, true);
  });

  test("a disk that is full says so itself", async () => {
    const full: Disk = { ...disk, open: (path) => Promise.reject(new DiskError("ENOSPC", "open", path)) };
    const into = fresh();
    await assert.rejects(unpack(full, streamOf(gzipSync(await tarOf(file("a")))), { folder: into }), DiskError);
    assert.equal(await disk.stat(into), undefined);
  });

  test("everything is synced before it is done, and nothing stays open, whatever happens", async () => {
    const open = new Map<string, "synced" | "not synced">();
    const synced: string[] = [];
    const watching: Disk = {
      ...disk,
      open: async (path, mode, permissions) => {
        const inner = await disk.open(path, mode, permissions);
        open.set(path, "not synced");
        const sync = async () => {
          await inner.sync();
          open.set(path, "synced");
        };
        const close = async () => {
          if (open.get(path) === "synced") synced.push(path);
          open.delete(path);
          await inner.close();
        };
        return { ...inner, sync, close, [Symbol.asyncDispose]: close };
      },
    };
    const files = Array.from({ length: 140 }, (_, index) => file(`f${index}`));
    const good = await tarOf(...files, file("large", "x".repeat(9_000_000)), file("last"));
    const outcome = await unpack(watching, streamOf(gzipSync(good), 100_000), {
      folder: fresh(),
      limits: { ratioMax: 2000 },
    });
    assert.ok(outcome.ok);
    assert.deepEqual([synced.length, open.size], [142, 0]);
    const bad = gzipSync(await tarOf(...files, file("../evil")));
    assert.equal((await unpack(watching, streamOf(bad), { folder: fresh() })).ok, false);
    assert.equal(open.size, 0);
  });

  test("any plain set of files survives the journey", async () => {
    const name = fc.stringMatching(/^[a-z]{1,3}(\/[a-z]{1,3}){0,2}$/);
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, fc.uint8Array({ maxLength: 3000 }), { maxKeys: 6 }), async (files) => {
        const names = Object.keys(files).filter(
          (one) => !Object.keys(files).some((other) => other.startsWith(`${one}/`)),
        );
        const items = names.map((one) => ({ name: one, body: Buffer.from(files[one] ?? new Uint8Array()) }));
        const { into, outcome } = await tryUnpack(items);
        assert.ok(outcome.ok);
        for (const one of names) assert.deepEqual(await disk.read(join(into, one)), files[one]);
        assert.deepEqual(await verifyTree(disk, into, outcome.listing), { ok: true });
      }),
      { numRuns: 15 },
    );
  });

  test("no web of links that is accepted leads out, by the operating system's own judgement", async () => {
    const target = fc
      .array(fc.constantFrom("..", "a", "b", "c", "."), { minLength: 1, maxLength: 5 })
      .map((parts) => parts.join("/"));
    const path = fc.constantFrom("a", "b", "c", "a/l", "b/l", "a/b/l", "c/a");
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(fc.dictionary(path, target, { minKeys: 1, maxKeys: 4 }), async (links) => {
        const names = Object.keys(links).filter(
          (one) => !Object.keys(links).some((other) => one.startsWith(`${other}/`)),
        );
        const { into, outcome } = await tryUnpack(names.map((one) => link(one, links[one] ?? "")));
        if (!outcome.ok) return;
        accepted += 1;
        for (const one of names) {
          const reached = await realpath(join(into, one)).catch(() => into);
          assert.ok(reached === into || reached.startsWith(`${into}/`), `${one} leads to ${reached}`);
        }
      }),
      { numRuns: 80 },
    );
    assert.ok(accepted > 10, `only ${accepted} were accepted`);
  });

  test("a tree that was touched does not verify any more (software swapped on disk)", async () => {
    const items = [file("lib/a", "aaaa"), file("lib/b", "bbbb", 0o755), link("l", "lib/a")];
    const situations: Record<string, { touch: (into: string) => Promise<void>; problem: string; path: string }> = {
      "a byte": { touch: (into) => writeFile(join(into, "lib/a"), "aaab"), problem: "changed", path: "lib/a" },
      "the length": { touch: (into) => writeFile(join(into, "lib/a"), "aaaaa"), problem: "changed", path: "lib/a" },
      "a mode": { touch: (into) => chmod(join(into, "lib/a"), 0o755), problem: "changed", path: "lib/a" },
      "a folder's mode": { touch: (into) => chmod(join(into, "lib"), 0o700), problem: "changed", path: "lib" },
      "an extra file": { touch: (into) => writeFile(join(into, "lib/c"), "x"), problem: "extra", path: "lib/c" },
      "a missing file": { touch: (into) => unlink(join(into, "lib/b")), problem: "missing", path: "lib/b" },
      "a link's target": {
        touch: async (into) => {
          await unlink(join(into, "l"));
          await symlink("lib/b", join(into, "l"));
        },
        problem: "changed",
        path: "l",
      },
      "a file become a link": {
        touch: async (into) => {
          await rename(join(into, "lib/a"), join(root, "elsewhere"));
          await symlink(join(root, "elsewhere"), join(into, "lib/a"));
        },
        problem: "changed",
        path: "lib/a",
      },
    };
    for (const [name, { touch, problem, path }] of Object.entries(situations)) {
      const { into, outcome } = await tryUnpack(items);
      assert.ok(outcome.ok);
      await touch(into);
      assert.deepEqual(await verifyTree(disk, into, outcome.listing), { ok: false, problem, path }, name);
    }
  });
});

test("a listing that is torn or foreign is none", () => {
  const good: TreeListing = [{ path: "a", kind: "folder", mode: 0o755 }];
  const bytes = encodeListing(good);
  assert.deepEqual(parseListing(bytes), good);
  for (const wrong of [
    bytes.subarray(0, -3),
    Buffer.from("{}"),
    Buffer.from('[{"path":1}]'),
    Buffer.from([0xff]),
    Buffer.from('[{"path":"a","kind":"file","mode":1}]'),
  ]) {
    assert.equal(parseListing(wrong), undefined);
  }
});

test("links stay inside or do not", () => {
  const situations: readonly { links: Record<string, string>; inside: boolean }[] = [
    { links: { l: "a/b" }, inside: true },
    { links: { "a/l": "../b" }, inside: true },
    { links: { "a/l": ".." }, inside: true },
    { links: { l: ".." }, inside: false },
    { links: { l: "a/../../x" }, inside: false },
    { links: { l: "./././a" }, inside: true },
    { links: { l: "m/x", m: "deep/er" }, inside: true },
    { links: { l: "m/../..", m: "deep/er" }, inside: true },
    { links: { l: "m/../../..", m: "deep/er" }, inside: false },
    { links: { l: "l" }, inside: false },
    { links: { l: "m", m: "/etc" }, inside: false },
  ];
  for (const { links, inside } of situations) {
    const first = Object.keys(links)[0] ?? "";
    assert.equal(linkStaysInside(first, new Map(Object.entries(links))), inside, JSON.stringify(links));
  }
});
