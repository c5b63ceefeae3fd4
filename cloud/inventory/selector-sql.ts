import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import { onlineSql } from "../store/vehicle-events.ts";
import type { Selector, Term } from "./selector.ts";

/**
 * The selector as a condition on the vehicle `v`, for one set-based statement over an indexed table. A selector without terms
 * is false for every vehicle.
 */
export function selectorSql(selector: Selector, offlineBefore: string): RawBuilder<boolean> {
  if (selector.terms.length === 0) return sql<boolean>`false`;
  return sql<boolean>`(${sql.join(
    selector.terms.map((term) => termSql(term, offlineBefore)),
    sql` and `,
  )})`;
}

function termSql(term: Term, offlineBefore: string): RawBuilder<boolean> {
  const online = onlineSql(offlineBefore);
  switch (term.kind) {
    case "id":
      return sql`v.id = ${term.value}`;
    case "status":
      return term.value === "offline" ? sql`not ${online}` : sql`(${online} and v.status = ${term.value})`;
    case "connectivity":
      return term.value === "online" ? online : sql`not ${online}`;
    case "tag":
      return tagSql(term.key, term.value);
  }
}

/** The three tags that rollouts and lists ask for all the time have columns of their own. */
function tagSql(key: string, value: string): RawBuilder<boolean> {
  switch (key) {
    case "model":
    case "region":
    case "ring":
      return sql`${sql.ref(`v.${key}`)} = ${value}`;
    default:
      return sql`v.tags @> ${JSON.stringify({ [key]: value })}::jsonb`;
  }
}
