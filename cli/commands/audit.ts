import { verifyChain } from "@muto/cloud/store/audit-chain";
import type { AuditEntry } from "@muto/spec";
import { CommandFailed } from "../command.ts";
import type { Command } from "../command.ts";
import { openSession } from "../session.ts";
import type { Session } from "../session.ts";
import { defined, pageOptions, pageQuery, pageText, show } from "../show.ts";
import { table } from "../table.ts";

const list: Command = {
  words: ["audit", "list"],
  summary: "Read the audit log, newest first",
  options: {
    actor: { about: "only of this actor", type: "text" },
    "correlation-id": { about: "only of this correlation", type: "text" },
    ...pageOptions,
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const query = {
      ...defined({ actor: input.text("actor"), correlationId: input.text("correlation-id") }),
      ...pageQuery(input),
    };
    const { body } = await session.call("listAuditEntries", { query });
    show(input, io, body, ({ data, metadata }) => {
      const rows = data.map((entry) => [
        String(entry.seq),
        entry.at,
        entry.actor.id,
        entry.action,
        entry.subject.id,
        entry.comment ?? "",
      ]);
      return `${table(["seq", "at", "actor", "action", "subject", "comment"], rows)}${pageText(metadata)}`;
    });
    return 0;
  },
};

const verify: Command = {
  words: ["audit", "verify"],
  summary: "Prove that the audit log has no change and no gap",
  details: "Reads the whole log and recomputes the chain of hashes here, on your machine.",
  run: async (input, io) => {
    const session = await openSession(input, io);
    const verdict = verifyChain(await wholeLog(session));
    if (!verdict.ok) {
      throw new CommandFailed(`the chain breaks at entry ${verdict.seq}: ${verdict.problem}`, {
        hint: "compare with your last copy of the log",
      });
    }
    show(
      input,
      io,
      verdict,
      ({ entries, hash }) => `${entries} entries, none changed, none missing; the chain ends in ${hash}\n`,
    );
    return 0;
  },
};

export const auditCommands: readonly Command[] = [list, verify];

/** Oldest first. New entries only shift pages towards the end, so that nothing is missed and what comes twice is dropped. */
async function wholeLog(session: Session): Promise<readonly AuditEntry[]> {
  const bySeq = new Map<number, AuditEntry>();
  for (let page = 1; ; page++) {
    const { body } = await session.call("listAuditEntries", { query: { page, limit: 200 } });
    for (const entry of body.data) bySeq.set(entry.seq, entry);
    if (page >= body.metadata.totalPages) return [...bySeq.values()].toSorted((a, b) => a.seq - b.seq);
  }
}
