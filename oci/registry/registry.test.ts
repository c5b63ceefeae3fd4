import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import { digestHex, digestOf } from "../digest.ts";
import { EMPTY_JSON, EMPTY_JSON_DIGEST, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST } from "../media-types.ts";
import type { RegistryOptions } from "./registry.ts";
import { serveRegistry } from "./serve.ts";

/** Of the token `secret`. */
const SECRET_HASH = createHash("sha256").update("secret").digest("hex");

const PORTS = { disk: systemDisk(), clock: systemClock(), random: systemRandom(), logger: silentLogger };

async function started(options: Omit<RegistryOptions, "folder"> = {}) {
  const folder = await mkdtemp(join(tmpdir(), "muto-registry-"));
  const stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true }));
  const { url } = stack.use(await serveRegistry(PORTS, { ...options, folder }));
  return { url, folder, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const HELLO = Buffer.from("hello registry");
const HELLO_DIGEST = digestOf(HELLO);

async function push(url: string, repository: string, bytes: Uint8Array, headers: Record<string, string> = {}) {
  const target = `${url}/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`;
  return await fetch(target, { method: "POST", body: new Uint8Array(bytes), headers });
}

async function errorCode(response: Response): Promise<string> {
  const body = JSON.stringify(await response.json());
  return /"code":"([A-Z_]+)"/.exec(body)?.[1] ?? body;
}

function manifestOf(extra: Record<string, unknown> = {}, layers: readonly Uint8Array[] = [HELLO]): Buffer {
  const descriptor = (bytes: Uint8Array) => ({
    mediaType: "text/plain",
    digest: digestOf(bytes),
    size: bytes.byteLength,
  });
  const config = { mediaType: OCI_EMPTY, digest: EMPTY_JSON_DIGEST, size: 2 };
  return Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: layers.map(descriptor), ...extra }),
  );
}

async function putManifest(url: string, repository: string, reference: string, bytes: Buffer, type = OCI_MANIFEST) {
  const headers = { "content-type": type };
  return await fetch(`${url}/v2/${repository}/manifests/${reference}`, {
    method: "PUT",
    body: new Uint8Array(bytes),
    headers,
  });
}

describe("blobs", () => {
  test("go in whole and come out whole, in part, or as a head", async () => {
    await using registry = await started();
    assert.equal((await push(registry.url, "a/b", HELLO)).status, 201);
    const at = `${registry.url}/v2/a/b/blobs/${HELLO_DIGEST}`;
    const whole = await fetch(at);
    assert.equal(whole.headers.get("docker-content-digest"), HELLO_DIGEST);
    assert.equal(await whole.text(), "hello registry");
    const head = await fetch(at, { method: "HEAD" });
    assert.equal(head.headers.get("content-length"), String(HELLO.byteLength));
    const situations = [
      { range: "bytes=6-", status: 206, text: "registry", contentRange: "bytes 6-13/14" },
      { range: "bytes=0-4", status: 206, text: "hello", contentRange: "bytes 0-4/14" },
      { range: "bytes=-3", status: 206, text: "try", contentRange: "bytes 11-13/14" },
      { range: "bytes=6-9999", status: 206, text: "registry", contentRange: "bytes 6-13/14" },
      { range: "bytes=14-", status: 416, text: "", contentRange: "bytes */14" },
      { range: "bytes=5-4", status: 416, text: "", contentRange: "bytes */14" },
      { range: "bytes=0-1,3-4", status: 200, text: "hello registry", contentRange: null },
      { range: "apples", status: 200, text: "hello registry", contentRange: null },
    ];
    for (const { range, status, text, contentRange } of situations) {
      const part = await fetch(at, { headers: { range } });
      assert.deepEqual(
        [part.status, await part.text(), part.headers.get("content-range")],
        [status, text, contentRange],
        range,
      );
    }
  });

  test("go in by pieces, in order only", async () => {
    await using registry = await started();
    const opened = await fetch(`${registry.url}/v2/x/blobs/uploads/`, { method: "POST" });
    assert.equal(opened.status, 202);
    const at = registry.url + (opened.headers.get("location") ?? "");
    const patch = (body: string, range?: string) =>
      fetch(at, { method: "PATCH", body, headers: range === undefined ? {} : { "content-range": range } });
    const first = await patch("hello ", "0-5");
    assert.deepEqual([first.status, first.headers.get("range")], [202, "0-5"]);
    const gap = await patch("registry", "7-14");
    assert.deepEqual([gap.status, gap.headers.get("range")], [416, "0-5"]);
    const status = await fetch(at);
    assert.deepEqual([status.status, status.headers.get("range")], [204, "0-5"]);
    assert.equal((await patch("regis")).status, 202);
    const done = await fetch(`${at}?digest=${HELLO_DIGEST}`, {
      method: "PUT",
      body: "try",
      headers: { "content-range": "11-13" },
    });
    assert.deepEqual([done.status, done.headers.get("location")], [201, `/v2/x/blobs/${HELLO_DIGEST}`]);
    assert.equal((await patch("more")).status, 404);
  });

  test("whose digest is not the named one leave nothing behind", async () => {
    await using registry = await started();
    const wrong = `sha256:${"0".repeat(64)}`;
    const refused = await fetch(`${registry.url}/v2/x/blobs/uploads/?digest=${wrong}`, { method: "POST", body: "x" });
    assert.deepEqual([refused.status, await errorCode(refused)], [400, "DIGEST_INVALID"]);
    assert.equal((await fetch(`${registry.url}/v2/x/blobs/${wrong}`)).status, 404);
    assert.deepEqual(await readdir(join(registry.folder, "uploads")), []);
    assert.deepEqual(await readdir(join(registry.folder, "blobs")), []);
  });

  test("an upload that is cancelled, cut off or too large leaves nothing behind", async () => {
    await using registry = await started({ limits: { blobBytesMax: 100 } });
    const large = await push(registry.url, "x", Buffer.alloc(101));
    assert.deepEqual([large.status, await errorCode(large)], [413, "SIZE_INVALID"]);
    const opened = await fetch(`${registry.url}/v2/x/blobs/uploads/`, { method: "POST" });
    const location = opened.headers.get("location") ?? "";
    await cutOff(registry.url, `PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nonly this`);
    // The cut is noticed by the server in its own time; whoever asks next waits for it by asking.
    while ((await fetch(registry.url + location)).status !== 404);
    const other = await fetch(`${registry.url}/v2/x/blobs/uploads/`, { method: "POST" });
    const cancelled = await fetch(registry.url + (other.headers.get("location") ?? ""), { method: "DELETE" });
    assert.equal(cancelled.status, 204);
    assert.deepEqual(await readdir(join(registry.folder, "uploads")), []);
  });

  test("uploads at once are counted", async () => {
    await using registry = await started({ limits: { uploadsMax: 2 } });
    const open = () => fetch(`${registry.url}/v2/x/blobs/uploads/`, { method: "POST" });
    assert.deepEqual([(await open()).status, (await open()).status, (await open()).status], [202, 202, 429]);
  });
});

describe("manifests", () => {
  test("keep their exact bytes under digest and tag, and need their blobs first", async () => {
    await using registry = await started();
    const bytes = manifestOf();
    const early = await putManifest(registry.url, "x", "v1", bytes);
    assert.deepEqual([early.status, await errorCode(early)], [404, "MANIFEST_BLOB_UNKNOWN"]);
    await push(registry.url, "x", HELLO);
    await push(registry.url, "x", EMPTY_JSON);
    const put = await putManifest(registry.url, "x", "v1", bytes);
    assert.deepEqual([put.status, put.headers.get("docker-content-digest")], [201, digestOf(bytes)]);
    for (const reference of ["v1", digestOf(bytes)]) {
      const got = await fetch(`${registry.url}/v2/x/manifests/${reference}`);
      assert.equal(got.headers.get("content-type"), OCI_MANIFEST);
      assert.deepEqual(Buffer.from(await got.arrayBuffer()), bytes);
      const head = await fetch(`${registry.url}/v2/x/manifests/${reference}`, { method: "HEAD" });
      assert.equal(head.headers.get("content-length"), String(bytes.byteLength));
    }
    assert.equal((await fetch(`${registry.url}/v2/other/manifests/v1`)).status, 404);
  });

  test("may name layers that are never pushed, because they may not be passed on", async () => {
    await using registry = await started();
    await push(registry.url, "x", EMPTY_JSON);
    const absent = { digest: digestOf(Buffer.from("absent")), size: 6 };
    const foreign = { ...absent, mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" };
    const ordinary = { ...absent, mediaType: "application/vnd.oci.image.layer.v1.tar+gzip" };
    assert.equal((await putManifest(registry.url, "x", "v1", manifestOf({ layers: [foreign] }))).status, 201);
    assert.equal((await putManifest(registry.url, "x", "v2", manifestOf({ layers: [ordinary] }))).status, 404);
  });

  test("that are wrong are refused with the code of the specification", async () => {
    await using registry = await started({ limits: { manifestBytesMax: 1000 } });
    await push(registry.url, "x", HELLO);
    await push(registry.url, "x", EMPTY_JSON);
    const situations = [
      { name: "not JSON", reference: "v1", bytes: Buffer.from("{"), status: 400, code: "MANIFEST_INVALID" },
      {
        name: "other type than said",
        reference: "v1",
        bytes: manifestOf(),
        type: OCI_INDEX,
        status: 400,
        code: "MANIFEST_INVALID",
      },
      { name: "no layers", reference: "v1", bytes: manifestOf({ layers: 1 }), status: 400, code: "MANIFEST_INVALID" },
      { name: "other digest", reference: HELLO_DIGEST, bytes: manifestOf(), status: 400, code: "DIGEST_INVALID" },
      { name: "not a tag", reference: "-v1", bytes: manifestOf(), status: 400, code: "MANIFEST_INVALID" },
      {
        name: "too large",
        reference: "v1",
        bytes: manifestOf({ pad: "x".repeat(1000) }),
        status: 413,
        code: "SIZE_INVALID",
      },
    ];
    for (const { name, reference, bytes, type, status, code } of situations) {
      const answer = await putManifest(registry.url, "x", reference, bytes, type);
      assert.deepEqual([answer.status, await errorCode(answer)], [status, code], name);
    }
  });

  test("that refer to another are listed, filtered, and named in the answer", async () => {
    await using registry = await started();
    await push(registry.url, "x", HELLO);
    await push(registry.url, "x", EMPTY_JSON);
    const subject = { mediaType: OCI_MANIFEST, digest: digestOf(manifestOf()), size: 1 };
    const referrer = manifestOf({ subject, artifactType: "application/x-test", annotations: { a: "b" } });
    const put = await putManifest(registry.url, "x", digestOf(referrer), referrer);
    assert.equal(put.headers.get("oci-subject"), subject.digest);
    const list = async (query: string) => {
      const answer = await fetch(`${registry.url}/v2/x/referrers/${subject.digest}${query}`);
      assert.equal(answer.headers.get("content-type"), OCI_INDEX);
      return { manifests: JSON.stringify(await answer.json()), filtered: answer.headers.get("oci-filters-applied") };
    };
    const all = await list("");
    assert.match(all.manifests, new RegExp(digestHex(digestOf(referrer))));
    assert.match(all.manifests, /"artifactType":"application\/x-test","annotations":\{"a":"b"\}/);
    const none = await list("?artifactType=application/other");
    assert.deepEqual(none, {
      manifests: JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }),
      filtered: "artifactType",
    });
  });

  test("tags are listed in order and in pages", async () => {
    await using registry = await started();
    await push(registry.url, "x", HELLO);
    await push(registry.url, "x", EMPTY_JSON);
    for (const tag of ["c", "a", "b"]) await putManifest(registry.url, "x", tag, manifestOf());
    assert.deepEqual(await (await fetch(`${registry.url}/v2/x/tags/list`)).json(), {
      name: "x",
      tags: ["a", "b", "c"],
    });
    const page = await fetch(`${registry.url}/v2/x/tags/list?n=2`);
    assert.equal(page.headers.get("link"), '</v2/x/tags/list?n=2&last=b>; rel="next"');
    assert.deepEqual(await page.json(), { name: "x", tags: ["a", "b"] });
    assert.deepEqual(await (await fetch(`${registry.url}/v2/x/tags/list?n=2&last=b`)).json(), {
      name: "x",
      tags: ["c"],
    });
    assert.equal((await fetch(`${registry.url}/v2/unknown/tags/list`)).status, 404);
  });
});

test("what is pushed survives a restart, what was under way does not", async () => {
  const folder = await mkdtemp(join(tmpdir(), "muto-registry-"));
  const first = await serveRegistry(PORTS, { folder });
  await push(first.url, "x", HELLO);
  await push(first.url, "x", EMPTY_JSON);
  await putManifest(first.url, "x", "v1", manifestOf());
  await fetch(`${first.url}/v2/x/blobs/uploads/`, { method: "POST" });
  await first[Symbol.asyncDispose]();
  await using second = await serveRegistry(PORTS, { folder });
  assert.equal((await fetch(`${second.url}/v2/x/manifests/v1`)).status, 200);
  assert.equal(await (await fetch(`${second.url}/v2/x/blobs/${HELLO_DIGEST}`)).text(), "hello registry");
  assert.deepEqual(await readdir(join(folder, "uploads")), []);
  await rm(folder, { recursive: true });
});

test("nothing is ever deleted, and hostile paths lead nowhere", async () => {
  await using registry = await started();
  await push(registry.url, "x", HELLO);
  const situations = [
    { method: "DELETE", path: `/v2/x/blobs/${HELLO_DIGEST}`, status: 405 },
    { method: "DELETE", path: `/v2/x/manifests/${HELLO_DIGEST}`, status: 405 },
    { method: "GET", path: "/v2/", status: 200 },
    { method: "GET", path: "/v2", status: 200 },
    { method: "GET", path: "/v2/_catalog", status: 405 },
    { method: "GET", path: "/v2/UPPER/manifests/v1", status: 400 },
    { method: "GET", path: "/v2/x%2f..%2f..%2fetc/manifests/v1", status: 400 },
    { method: "GET", path: "/v2/x/manifests/..%2f..%2fblobs", status: 404 },
    { method: "GET", path: "/v2/x/manifests/%zz", status: 404 },
    { method: "GET", path: "/v2/x/blobs/..%2fescape", status: 400 },
    { method: "PATCH", path: "/v2/x/blobs/uploads/unknown", status: 404 },
    { method: "GET", path: "/other", status: 404 },
  ];
  for (const { method, path, status } of situations) {
    assert.equal((await fetch(registry.url + path, { method })).status, status, `${method} ${path}`);
  }
});

test("with a token configured, pushing needs it and pulling does not, unless told so", async () => {
  const basic = (password: string) => `Basic ${Buffer.from(`anyone:${password}`).toString("base64")}`;
  await using open = await started({ pushTokenHashes: [SECRET_HASH] });
  const refused = await push(open.url, "x", HELLO);
  assert.deepEqual([refused.status, await errorCode(refused)], [401, "UNAUTHORIZED"]);
  assert.match(refused.headers.get("www-authenticate") ?? "", /^Basic /);
  for (const authorization of ["Bearer wrong", "Bearer ", basic("wrong"), "Basic ???", "Digest secret"]) {
    assert.equal((await push(open.url, "x", HELLO, { authorization })).status, 401, authorization);
  }
  assert.equal((await push(open.url, "x", HELLO, { authorization: "Bearer secret" })).status, 201);
  assert.equal((await push(open.url, "y", HELLO, { authorization: basic("secret") })).status, 201);
  assert.equal((await fetch(`${open.url}/v2/x/blobs/${HELLO_DIGEST}`)).status, 200);
  assert.equal((await fetch(`${open.url}/v2/`)).status, 401);

  await using closed = await started({ pushTokenHashes: [SECRET_HASH], pullNeedsToken: true });
  assert.equal((await fetch(`${closed.url}/v2/x/tags/list`)).status, 401);
});

/** Sends the beginning of a request and hangs up. */
async function cutOff(url: string, text: string): Promise<void> {
  const { port } = new URL(url);
  await new Promise<void>((resolve, reject) => {
    const socket = connect(Number(port), "127.0.0.1", () => socket.write(text, () => socket.destroy()));
    socket.once("close", () => resolve());
    socket.once("error", reject);
  });
}
