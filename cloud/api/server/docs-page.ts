import { ERRORS, OPERATIONS, REASONS } from "@muto/spec";
import type { OperationId, OperationRoute } from "@muto/spec";
import { OPENAPI } from "@muto/spec/openapi";

/** The contract as one page for people: made from the document itself, without scripts, fonts or images from anywhere. */
export function docsPage(): string {
  const { info } = OPENAPI;
  const about = textIn(info, "description");
  const routes = Object.values(OPERATIONS);
  const schemas = Object.entries(recordIn(OPENAPI["components"], "schemas"));
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Muto API</title><style>${STYLE}</style></head><body>
<h1>Muto API</h1><p>${escaped(about)}</p>
<nav><a href="#operations">Operations</a> <a href="#errors">Error codes</a> <a href="#reasons">Reason codes</a> <a href="#schemas">Schemas</a> <a href="/api/v1/openapi.json">openapi.json</a></nav>
<h2 id="operations">Operations</h2>${routes.map(operationSection).join("\n")}
<h2 id="errors">Error codes</h2>${table(
    ["code", "status", "meaning", "what to do"],
    Object.values(ERRORS).map(({ code, status, summary, next }) => [code, String(status), summary, next]),
  )}
<h2 id="reasons">Reason codes</h2>${table(
    ["code", "meaning", "tried again", "what to do"],
    Object.values(REASONS).map(({ code, summary, when, operatorAction }) => [code, summary, when, operatorAction]),
  )}
<h2 id="schemas">Schemas</h2>${schemas.map(([name, schema]) => schemaSection(name, schema)).join("\n")}
</body></html>
`;
}

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h2{margin-top:3rem;border-bottom:1px solid #ccc}h3{margin-top:2rem}code,pre{font:14px/1.45 ui-monospace,monospace}
pre{background:#f5f5f5;padding:.75rem;overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;border-bottom:1px solid #ddd;padding:.3rem .6rem .3rem 0}nav a{margin-right:1rem}
.method{display:inline-block;min-width:4.5em;font-weight:bold}
@media(prefers-color-scheme:dark){body{background:#161616;color:#e4e4e4}pre{background:#222}a{color:#8ab4ff}th,td,h2{border-color:#444}}`;

function operationSection(route: OperationRoute<OperationId>): string {
  const rows: string[][] = [];
  for (const [part, schema] of [
    ["path", route.params],
    ["query", route.query],
    ["headers", route.headers],
  ] as const) {
    if (schema !== null) rows.push([part, link(schema)]);
  }
  if (route.body !== null) {
    const need = route.body.required ? "" : ", optional";
    const what = route.body.schema === null ? "bytes" : link(route.body.schema);
    rows.push(["body", `${what} (${escaped(route.body.mediaType)}, at most ${route.body.bytesMax} bytes${need})`]);
  }
  for (const { status, mediaType, schema } of route.answers) {
    const what = schema === null ? escaped(mediaType ?? "no body") : link(schema);
    rows.push([`answer ${status}`, what]);
  }
  rows.push(["refusals", `${route.refusals.join(", ")} (${link("ErrorBody")})`]);
  const callers = route.principals.map((kind) => escaped(kind)).join(", ");
  return `<h3 id="${route.operationId}"><span class="method">${route.method}</span> <code>${escaped(route.path)}</code></h3>
<p>${escaped(route.summary)}. For: ${callers}.${route.idempotencyKey ? " Takes an Idempotency-Key." : ""}</p>
<table>${rows.map(([name = "", value = ""]) => `<tr><th>${escaped(name)}</th><td>${value}</td></tr>`).join("")}</table>`;
}

function schemaSection(name: string, schema: unknown): string {
  return `<h3 id="schema-${escaped(name)}">${escaped(name)}</h3><p>${escaped(textIn(schema, "description"))}</p>
<pre>${escaped(JSON.stringify(schema, null, 2))}</pre>`;
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = heads.map((each) => `<th>${escaped(each)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map((cell) => `<td>${escaped(cell)}</td>`).join("")}</tr>`).join("");
  return `<table><tr>${head}</tr>${body}</table>`;
}

function link(schema: string): string {
  return `<a href="#schema-${escaped(schema)}">${escaped(schema)}</a>`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

function recordIn(value: unknown, key: string): Readonly<Record<string, unknown>> {
  const inner = isRecord(value) ? value[key] : undefined;
  return isRecord(inner) ? inner : {};
}

function textIn(value: unknown, key: string): string {
  const inner = isRecord(value) ? value[key] : undefined;
  return typeof inner === "string" ? inner : "";
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
