import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { silentLogger } from "@muto/kit/logger";
import { digestOf } from "@muto/oci/digest";
import { exampleImage, type ExampleImage } from "@muto/oci/example-image";
import { DiskError } from "@muto/kit/disk";
import type { BlobReader } from "../../ports.ts";
import { engineAt } from "./engine.ts";
import { Images } from "./images.ts";
import { fakeEngine, json, type Answering } from "./test-engine.ts";

const signal = new AbortController().signal;

function readerOf(image: ExampleImage, spoiled?: string): BlobReader {
  return async function* (digest) {
    const bytes = image.blobs.get(digest);
    if (bytes === undefined) throw new DiskError("ENOENT", "open", "/content");
    if (digest === spoiled) yield Uint8Array.from(bytes, (byte, at) => (at === 0 ? byte ^ 1 : byte));
    else yield bytes;
  };
}

/** An engine that knows an image under this id once something was loaded, or from the beginning. */
function knowing(id: string, options: { readonly from?: "start" | "load"; readonly said?: string } = {}): Answering {
  const seen = { loaded: options.from === "start" };
  return (request, response, path) => {
    if (path.startsWith("/images/load")) {
      request.on("error", () => {});
      return void request.resume().on("end", () => {
        seen.loaded = true;
        response.writeHead(200).end(options.said ?? '{"stream":"Loaded"}\n');
      });
    }
    if (request.method === "DELETE") return json(response, 200, []);
    return seen.loaded ? json(response, 200, { Id: id }) : json(response, 404, { message: "no such image" });
  };
}

async function loading(answer: (image: ExampleImage) => Answering, blobs = readerOf) {
  const image = await exampleImage();
  const digest = image.manifest.digest;
  await using fake = await fakeEngine(answer(image));
  using engine = engineAt(fake.socket);
  const loaded = await new Images(engine, "v1", silentLogger).load(digest, blobs(image), signal);
  return { image, digest, loaded, asked: fake.asked.map((one) => one.replace(/muto-.*(?=\/json)/, "OURS")) };
}

void describe("an engine may call a loaded image by two names, and by no other", () => {
  void test("the digest of its configuration", async () => {
    const { image, loaded } = await loading(({ configBytes }) => knowing(digestOf(configBytes)));
    assert.deepEqual(loaded, { ok: true, imageId: digestOf(image.configBytes) });
  });

  void test("the digest of its manifest, as with the containerd store", async () => {
    const { digest, loaded } = await loading(({ manifest }) => knowing(manifest.digest));
    assert.deepEqual(loaded, { ok: true, imageId: digest });
  });

  void test("an engine that made something else of it: the name is taken away again, and nothing is prepared", async () => {
    const { loaded, asked } = await loading(() => knowing(`sha256:${"f".repeat(64)}`));
    assert.deepEqual(loaded, { ok: false, problem: "storage", code: "EBADMSG" });
    assert.match(asked.at(-1) ?? "", /^DELETE \/images\/localhost/);
  });

  void test("a foreign image that waits under our name is replaced, not believed", async () => {
    const foreign = `sha256:${"f".repeat(64)}`;
    const { asked, loaded } = await loading(() => knowing(foreign, { from: "start" }));
    assert.equal(loaded.ok, false);
    assert.ok(asked.includes("POST /images/load"));
  });

  void test("what the engine has under another name only gets ours", async () => {
    const seen = { tagged: false };
    const { asked, loaded, image } = await loading(({ configBytes }) => (request, response, path) => {
      if (path.includes("/tag")) {
        seen.tagged = true;
        return json(response, 201, {});
      }
      const byId = path.includes("sha256");
      const id = digestOf(configBytes);
      return byId || seen.tagged ? json(response, 200, { Id: id }) : json(response, 404, {});
    });
    assert.deepEqual(loaded, { ok: true, imageId: digestOf(image.configBytes) });
    assert.ok(seen.tagged && !asked.includes("POST /images/load"));
  });

  void test("what is there already is not loaded again", async () => {
    const { asked, loaded } = await loading(({ manifest }) => knowing(manifest.digest, { from: "start" }));
    assert.ok(loaded.ok && !asked.includes("POST /images/load"));
  });
});

void describe("what goes wrong with an image is named", () => {
  void test("H8: the engine's disk is full", async () => {
    const said = '{"error":"write /layer: no space left on device"}\n';
    const { loaded } = await loading(({ manifest }) => knowing(manifest.digest, { said }));
    assert.deepEqual(loaded, { ok: false, problem: "no-space", code: "ENOSPC" });
  });

  void test("a damaged blob is no fault of the release, and never gets into the engine", async () => {
    const damaged = (image: ExampleImage) => readerOf(image, digestOf(image.configBytes));
    const { loaded } = await loading(({ manifest }) => knowing(manifest.digest), damaged);
    assert.deepEqual(loaded, { ok: false, problem: "storage", code: "BLOB_DAMAGED" });
  });

  void test("a damaged manifest is noticed before anything is asked of the engine", async () => {
    const damaged = (image: ExampleImage) => readerOf(image, image.manifest.digest);
    const { loaded, asked } = await loading(({ manifest }) => knowing(manifest.digest), damaged);
    assert.deepEqual([loaded, asked], [{ ok: false, problem: "storage", code: "BLOB_DAMAGED" }, []]);
  });

  void test("no engine", async () => {
    const image = await exampleImage();
    using engine = engineAt("/nonexistent/engine.sock");
    const loaded = await new Images(engine, "v1", silentLogger).load(image.manifest.digest, readerOf(image), signal);
    assert.deepEqual(loaded, { ok: false, problem: "storage", code: "ECONNREFUSED" });
  });
});

void test("only names of ours are taken away, and only of images that no set needs", async () => {
  const removed: string[] = [];
  const needed = `sha256:${"a".repeat(64)}`;
  const images = { own: "" };
  await using fake = await fakeEngine((request, response, path) => {
    if (request.method === "DELETE") {
      removed.push(decodeURIComponent(path.replace(/^.*\/images\//, "")));
      return json(response, 200, []);
    }
    images.own = /localhost\/muto-[0-9a-f]{16}/.exec(decodeURIComponent(path))?.[0] ?? "";
    const tags = [`${images.own}:${"a".repeat(64)}`, `${images.own}:${"b".repeat(64)}`, `${images.own}:latest`];
    return json(response, 200, [{ Id: needed, RepoTags: [...tags, `docker.io/library/redis:${"c".repeat(64)}`] }]);
  });
  using engine = engineAt(fake.socket);
  await new Images(engine, "v1", silentLogger).sweep(new Set([needed]));
  assert.deepEqual(removed, [`${images.own}:${"b".repeat(64)}`]);
});
