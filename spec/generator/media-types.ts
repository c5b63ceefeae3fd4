import { ContractError, isObject, listAt, literal, textAt, type JsonObject } from "./json.ts";
import { lookUp, type SchemaTable } from "./schemas.ts";

const FIELDS = ["name", "type", "payload", "signedBy", "summary"];
const SIGNERS = ["control-plane", "fleet-owner", "vehicle"];

/** media-types.yaml as a constant table. */
export function mediaTypesSource(document: JsonObject, table: SchemaTable): string {
  const rows = listAt(document, "mediaTypes", "media-types.yaml").map((entry, index) => {
    const where = `media-types.yaml/${index}`;
    if (!isObject(entry)) throw new ContractError(`${where}: must be a mapping`);
    for (const key of Object.keys(entry))
      if (!FIELDS.includes(key)) throw new ContractError(`${where}: unknown field ${key}`);
    if (entry["payload"] !== undefined) {
      lookUp(table, textAt(entry, "payload", where));
      const signer = textAt(entry, "signedBy", where);
      if (!SIGNERS.includes(signer)) throw new ContractError(`${where}: signedBy is one of ${SIGNERS.join(", ")}`);
    }
    const type = textAt(entry, "type", where);
    return `  /** ${textAt(entry, "summary", where)} */\n  ${textAt(entry, "name", where)}: ${literal(type)},`;
  });
  return `export const MEDIA_TYPES = {\n${rows.join("\n")}\n} as const;

export type MediaType = (typeof MEDIA_TYPES)[keyof typeof MEDIA_TYPES];
`;
}
