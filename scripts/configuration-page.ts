import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { settings } from "@muto/cloud/settings";
import { root } from "./process.ts";

/** Path of the page that lists every setting of the control plane. */
export const page = join(root, "docs", "configuration.md");

export function configurationPage(): string {
  const rows = settings.map(
    ({ name, key, default: value, about }) =>
      `| \`${name}\` | \`${key}\` | ${value === "" ? "" : `\`${value}\``} | ${about} |`,
  );
  return [
    "# Configuration of the control plane",
    "",
    "Every setting can be given in the environment or, under its key, in a YAML or JSON file that `--config` or `MUTO_CONFIG`",
    "names; the environment wins. A wrong or unknown setting stops the start with one line that names it. Secrets are never",
    "settings: files hold them. This page is generated from `cloud/settings.ts` by `npm run fmt`.",
    "",
    "| environment | key | default | meaning |",
    "|---|---|---|---|",
    ...rows,
    "",
    "The command line reads `MUTO_URL` and `MUTO_TOKEN`. The vehicle's own configuration file is described by",
    "`spec/messages/agent-config.yaml`.",
    "",
  ].join("\n");
}

/** Compares the page with what it should be; with `write` it mends it. 0 when it is right afterwards. */
export function checkConfigurationPage(write: boolean): number {
  const wanted = configurationPage();
  if (write) writeFileSync(page, wanted);
  const same = readFileSync(page, "utf8") === wanted;
  if (!same) console.error("docs/configuration.md is stale");
  return same ? 0 : 1;
}
