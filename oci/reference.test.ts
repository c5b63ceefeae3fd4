import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatReference, isLoopback, parseReference, registryOrigin } from "./reference.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

test("references are read into their parts", () => {
  const situations = [
    { text: "registry.example/autonomy-core", registry: "registry.example", repository: "autonomy-core" },
    { text: "registry/autonomy-core:1.0.0", registry: "registry", repository: "autonomy-core", tag: "1.0.0" },
    {
      text: "127.0.0.1:5000/a/b__c/d.e@" + DIGEST,
      registry: "127.0.0.1:5000",
      repository: "a/b__c/d.e",
      digest: DIGEST,
    },
    { text: `[::1]:5000/x:y@${DIGEST}`, registry: "[::1]:5000", repository: "x", tag: "y", digest: DIGEST },
    { text: "GHCR.io/x", registry: "ghcr.io", repository: "x" },
  ];
  for (const { text, ...reference } of situations) {
    assert.deepEqual(parseReference(text), { ok: true, reference }, text);
  }
});

test("anything else is refused with its own code", () => {
  const situations = [
    { text: "", problem: "registry-missing" },
    { text: "autonomy-core", problem: "registry-missing" },
    { text: "/autonomy-core", problem: "registry-missing" },
    { text: "https://registry.example/x", problem: "scheme-not-allowed" },
    { text: "user@registry.example/x", problem: "registry-malformed" },
    { text: "registry.example:99999/x", problem: "registry-malformed" },
    { text: "-a/x", problem: "registry-malformed" },
    { text: "r/", problem: "repository-malformed" },
    { text: "r/../x", problem: "repository-malformed" },
    { text: "r/a//b", problem: "repository-malformed" },
    { text: "r/UPPER", problem: "repository-malformed" },
    { text: "r/x?y=1", problem: "repository-malformed" },
    { text: `r/${"x".repeat(256)}`, problem: "repository-malformed" },
    { text: "r/x:", problem: "tag-malformed" },
    { text: "r/x:.hidden", problem: "tag-malformed" },
    { text: "r/x:a/b", problem: "tag-malformed" },
    { text: "r/x@sha256:abc", problem: "digest-malformed" },
    { text: `r/x@${DIGEST.toUpperCase()}`, problem: "digest-malformed" },
    { text: `r/${"x".repeat(600)}`, problem: "too-long" },
  ];
  for (const { text, problem } of situations) {
    assert.deepEqual(parseReference(text), { ok: false, problem }, text);
  }
});

test("whatever parses is written back as it was, in lower-case host", () => {
  const part = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  fc.assert(
    fc.property(
      part,
      part,
      fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,10}$/)),
      fc.boolean(),
      (host, name, tag, pinned) => {
        const text = `${host}/${name}${tag === null ? "" : `:${tag}`}${pinned ? `@${DIGEST}` : ""}`;
        const parsed = parseReference(text);
        assert.ok(parsed.ok);
        assert.equal(formatReference(parsed.reference), text);
      },
    ),
  );
});

test("unencrypted HTTP is for loopback and configured hosts only", () => {
  for (const host of ["localhost", "localhost:5000", "127.0.0.1:1", "127.255.0.9", "[::1]", "[::1]:5000"]) {
    assert.equal(isLoopback(host), true, host);
  }
  for (const host of ["127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]:1"]) {
    assert.equal(isLoopback(host), false, host);
  }
  assert.equal(registryOrigin("127.0.0.1:5000"), "http://127.0.0.1:5000");
  assert.equal(registryOrigin("registry.example"), "https://registry.example");
  assert.equal(registryOrigin("lab:5000", ["lab:5000"]), "http://lab:5000");
});
