import { appendAudit } from "../store/audit.ts";
import { findRelease, releaseOf } from "../store/release-rows.ts";
import { markWithdrawn, unfinishedRolloutsOf, withholdEverywhere } from "../store/release-withdraw.ts";
import { settle } from "../store/rollout-commands.ts";
import { closeTurn } from "../store/rollout-turn.ts";
import { wake } from "../store/database.ts";
import type { ApiContext } from "./server/context.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";
import { momentOf, turnOf } from "./server/rollout-turn.ts";

/**
 * Withdraws a release for good: it is never assigned again, who has not begun to start it is told not to, and unfinished
 * rollouts of it turn back as by a failing gate. Vehicles that run it go on running it.
 */
export const withdrawRelease: Handler<"withdrawRelease"> = async (call, context) => {
  const { stack, version } = call.params;
  const id = `${stack}/${version}`;
  const by = { actor: actorOf(call.principal), comment: call.body?.comment ?? null };
  const { db } = context.database;
  const answer = await db.transaction().execute(async (trx) => {
    const before = await findRelease(trx, stack, version);
    if (before === undefined) return refuse("NOT_FOUND", `There is no release ${id}.`, { what: "release", id });
    if (await markWithdrawn(trx, before, by, call.at)) {
      const withheld = await withholdEverywhere(trx, before.manifest_digest, momentOf(context, call.at));
      await appendAudit(trx, {
        at: call.at,
        actor: by.actor,
        action: "release.withdrawn",
        subject: { type: "release", id },
        before: { withdrawn: false },
        after: { withdrawn: true, withheld, rollouts: [...(await unfinishedRolloutsOf(trx, before.manifest_digest))] },
        comment: by.comment,
      });
      await wake(trx, "muto_work");
    }
    const row = await findRelease(trx, stack, version);
    if (row === undefined) throw new Error("a release that was just withdrawn is not there");
    return await call.remember(trx, { status: 200, data: releaseOf(row) });
  });
  if (!("refusal" in answer)) await turnBack(context, answer.data.manifestDigest, call.at);
  return answer;
};

/**
 * The controller would do it too, a moment later. Not in the transaction above: it has the release, whoever takes a step
 * has the rollout and waits for the release, and the two would wait for each other.
 */
async function turnBack(context: ApiContext, digest: string, at: string): Promise<void> {
  const { db } = context.database;
  for (const id of await unfinishedRolloutsOf(db, digest)) {
    await db.transaction().execute(async (trx) => {
      const turn = turnOf(context, trx, at);
      await settle(turn, id);
      await closeTurn(turn);
    });
  }
}
