import { appendFileSync } from "node:fs";
import { relative } from "node:path";
import type { TestEvent } from "node:test/reporters";

/**
 * Each failing test with its cause as it happens and once more at the end, where whoever reads only the end finds it, then
 * one line of counts; the counts are also appended to the file that MUTO_TEST_COUNTS names, so that several runs can be added up.
 */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  const failures: string[] = [];
  for await (const event of source) {
    if (event.type === "test:pass") {
      if (event.data.details.type === "suite") continue;
      if (event.data.skip !== undefined || event.data.todo !== undefined) skipped++;
      else passed++;
      if (process.env["MUTO_TEST_VERBOSE"] !== undefined)
        yield `  ok ${event.data.name} (${Math.round(event.data.details.duration_ms)} ms)\n`;
    } else if (event.type === "test:fail") {
      if (event.data.details.error.cause === undefined && event.data.details.type === "suite") continue;
      failed++;
      failures.push(failure(event.data));
      yield failure(event.data);
    } else if (event.type === "test:stderr" || event.type === "test:stdout") {
      yield event.data.message;
    }
  }
  yield failures.join("");
  yield `${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}\n`;
  const counts = process.env["MUTO_TEST_COUNTS"];
  if (counts !== undefined) appendFileSync(counts, `${JSON.stringify({ passed, failed, skipped })}\n`);
}

function failure(data: Extract<TestEvent, { type: "test:fail" }>["data"]): string {
  const place = data.file === undefined ? "" : `${relative(process.cwd(), data.file)}:${data.line ?? 0}`;
  const { cause } = data.details.error;
  const text = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause ?? data.details.error.message);
  return `\nFAILED ${data.name}\n  at ${place}\n${text.replaceAll(/^/gm, "  ")}\n`;
}
