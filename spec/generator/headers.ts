import { ContractError, isObject, literal, objectAt, textAt, type JsonObject } from "./json.ts";

/** The names of the HTTP headers that the contract gives a meaning. */
export function headersSource(api: JsonObject): string {
  const components = objectAt(api, "components", "api.yaml");
  const names = [
    ...Object.entries(objectAt(components, "headers", "api.yaml")).map(([key, header]) => {
      if (!isObject(header)) throw new ContractError(`api.yaml headers/${key}: must be a mapping`);
      return textAt(header, "x-muto-name", `api.yaml headers/${key}`);
    }),
    ...Object.values(objectAt(components, "parameters", "api.yaml"))
      .filter((parameter) => isObject(parameter))
      .filter((parameter) => parameter["in"] === "header")
      .map((parameter) => textAt(parameter, "name", "api.yaml parameters")),
  ];
  const rows = names.toSorted().map((name) => `  ${keyOf(name)}: ${literal(name)},`);
  return `export const HEADERS = {\n${rows.join("\n")}\n} as const;\n`;
}

/** `Muto-Acknowledged-Seq` as `mutoAcknowledgedSeq`. */
function keyOf(name: string): string {
  const [first = "", ...rest] = name.toLowerCase().split("-");
  return first + rest.map((word) => (word[0] ?? "").toUpperCase() + word.slice(1)).join("");
}
