import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parseSelector, SELECTOR_CHARACTERS_MAX, SELECTOR_TERMS_MAX } from "./selector.ts";
import type { Term } from "./selector.ts";

describe("a selector", () => {
  const tag = (key: string, value: string): Term => ({ kind: "tag", key, value });
  for (const [text, terms] of [
    ["", []],
    ["   ", []],
    ["model=vehicle-v3", [tag("model", "vehicle-v3")]],
    ["model=vehicle-v3 AND ring=1", [tag("model", "vehicle-v3"), tag("ring", "1")]],
    ["  model = vehicle-v3   AND\tring=1  ", [tag("model", "vehicle-v3"), tag("ring", "1")]],
    ['site="north yard" AND owner="a \\"b\\" \\\\c"', [tag("site", "north yard"), tag("owner", 'a "b" \\c')]],
    ["id=vehicle-0142", [{ kind: "id", value: "vehicle-0142" }]],
    [
      "status=rolled_back AND connectivity=online",
      [
        { kind: "status", value: "rolled_back" },
        { kind: "connectivity", value: "online" },
      ],
    ],
    ["ring=AND AND ANDy=1", [tag("ring", "AND"), tag("ANDy", "1")]],
    ['status="offline"', [{ kind: "status", value: "offline" }]],
  ] as const) {
    it(`reads ${JSON.stringify(text)}`, () => {
      assert.deepEqual(parseSelector(text), { ok: true, selector: { terms } });
    });
  }

  for (const [text, position, expected] of [
    ["=1", 0, "a key"],
    ["1=1", 0, "a key"],
    ["model", 5, "="],
    ["model=", 6, "a value, in double quotes if it has spaces"],
    ['model=""', 6, "a value, in double quotes if it has spaces"],
    ['model="open', 6, "a value, in double quotes if it has spaces"],
    ["model=v3 ring=1", 9, "AND or the end"],
    ["model=v3 and ring=1", 9, "AND or the end"],
    ["model=v3 OR ring=1", 9, "AND or the end"],
    ["model=v3 AND", 9, "AND or the end"],
    ["model=v3 AND ", 13, "a key"],
    ["model=v3 AND AND ring=1", 17, "="],
    ["model=v3;drop", 8, "a space, AND, or the end"],
    ["model!=v3", 5, "="],
    ["model=*", 6, "a value, in double quotes if it has spaces"],
    ["id=Upper", 3, "a vehicle id"],
    ["status=fine", 7, "one of converged, applying, pending, blocked, failed, rolled_back, offline"],
    ["connectivity=maybe", 13, "one of online, offline"],
    [`${"a".repeat(64)}=1`, 63, "="],
  ] as const) {
    it(`refuses ${JSON.stringify(text.slice(0, 40))} at character ${position}`, () => {
      assert.deepEqual(parseSelector(text), { ok: false, position, expected });
    });
  }

  it("has limits", () => {
    const many = Array.from({ length: SELECTOR_TERMS_MAX + 1 }, (_, index) => `k${index}=1`).join(" AND ");
    assert.deepEqual(parseSelector(many), {
      ok: false,
      position: many.lastIndexOf("k"),
      expected: `at most ${SELECTOR_TERMS_MAX} terms`,
    });
    assert.equal(parseSelector("a".repeat(SELECTOR_CHARACTERS_MAX + 1)).ok, false);
  });

  it("is the same after being written and read again", () => {
    const value = fc.stringMatching(/^[A-Za-z0-9 ._:/+"\\äé-]{1,40}$/).filter((text) => text.length > 0);
    const plain = { noNullPrototype: true } as const;
    const terms = fc.array(
      fc.oneof(
        fc.record(
          {
            kind: fc.constant("tag" as const),
            key: fc
              .stringMatching(/^[A-Za-z][A-Za-z0-9_.-]{0,20}$/)
              .filter((key) => !["id", "status", "connectivity"].includes(key)),
            value,
          },
          plain,
        ),
        fc.record({ kind: fc.constant("id" as const), value: fc.stringMatching(/^[a-z0-9][a-z0-9-]{1,20}$/) }, plain),
        fc.record(
          {
            kind: fc.constant("status" as const),
            value: fc.constantFrom("converged" as const, "offline" as const),
          },
          plain,
        ),
        fc.record(
          {
            kind: fc.constant("connectivity" as const),
            value: fc.constantFrom("online" as const, "offline" as const),
          },
          plain,
        ),
      ),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(terms, (given) => {
        assert.deepEqual(parseSelector(given.map(textOf).join(" AND ")), { ok: true, selector: { terms: given } });
      }),
    );
  });

  it("answers anything with a selector or a place inside the text, and never hangs", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
        const parsed = parseSelector(text);
        if (parsed.ok) assert.ok(parsed.selector.terms.length > 0 || text.trim() === "");
        else assert.ok(parsed.position >= 0 && parsed.position <= text.length && parsed.expected.length > 0);
      }),
      { numRuns: 500 },
    );
  });
});

function textOf(term: Term): string {
  const quoted = `"${term.value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  const value = /^[A-Za-z0-9][A-Za-z0-9._:/+-]*$/.test(term.value) ? term.value : quoted;
  return `${term.kind === "tag" ? term.key : term.kind}=${value}`;
}
