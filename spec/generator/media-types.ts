import { ContractError, isObject, listAt, literal, textAt, type JsonObject } from "./json.ts";
import { lookUp, type SchemaTable } from "./schemas.ts";

export interface MediaTypeEntry {
  readonly name: string;
  readonly type: string;
  readonly summary: string;
  /** Schema of the bytes, and whose signature stands behind them; null for bytes that no schema describes. */
  readonly payload: { readonly schema: string; readonly signedBy: string } | null;
}

const FIELDS = ["name", "type", "payload", "signedBy", "summary"];
const SIGNERS = ["control-plane", "fleet-owner", "vehicle"];

/** Reads media-types.yaml, strictly. */
export function readMediaTypes(document: JsonObject, table: SchemaTable): readonly MediaTypeEntry[] {
  return listAt(document, "mediaTypes", "media-types.yaml").map((entry, index) => {
    const where = `media-types.yaml/${index}`;
    if (!isObject(entry)) throw new ContractError(`${where}: must be a mapping`);
    for (const key of Object.keys(entry)) {
      if (!FIELDS.includes(key)) throw new ContractError(`${where}: unknown field ${key}`);
    }
    return {
      name: textAt(entry, "name", where),
      type: textAt(entry, "type", where),
      summary: textAt(entry, "summary", where),
      payload: entry["payload"] === undefined ? null : readPayload(entry, table, where),
    };
  });
}

function readPayload(entry: JsonObject, table: SchemaTable, where: string): { schema: string; signedBy: string } {
  const schema = textAt(entry, "payload", where);
  const signedBy = textAt(entry, "signedBy", where);
  lookUp(table, schema);
  if (!SIGNERS.includes(signedBy)) throw new ContractError(`${where}: signedBy is one of ${SIGNERS.join(", ")}`);
  return { schema, signedBy };
}

export function mediaTypesSource(entries: readonly MediaTypeEntry[]): string {
  const rows = entries.map(({ name, type, summary }) => `  /** ${summary} */\n  ${name}: ${literal(type)},`);
  return `export const MEDIA_TYPES = {\n${rows.join("\n")}\n} as const;

export type MediaType = (typeof MEDIA_TYPES)[keyof typeof MEDIA_TYPES];
`;
}
