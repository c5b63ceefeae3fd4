import { copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openState } from "@muto/agent/cache/state";
import type { AgentState } from "@muto/agent/reconcile/state";
import { systemDisk } from "@muto/kit/disk";

/** The durable state of an agent that does not run, read from a copy, so that looking mends nothing. Throws when it is damaged. */
export async function readState(stateDir: string): Promise<AgentState> {
  const copy = mkdtempSync(`${stateDir}-copy-`);
  try {
    for (const entry of readdirSync(stateDir, { withFileTypes: true })) {
      if (entry.isFile()) copyFileSync(join(stateDir, entry.name), join(copy, entry.name));
    }
    const { store, found, unreadableRecords } = await openState({ disk: systemDisk(), folder: copy });
    await using _open = store;
    if (found.kind === "damaged" || unreadableRecords > 0) {
      throw new Error(`the journal is ${found.kind}, ${unreadableRecords} records cannot be read`);
    }
    return store.state;
  } finally {
    rmSync(copy, { recursive: true });
  }
}
