import { refuse } from "./operation.ts";

/** A selector that cannot be read: at which character, and what was expected there. */
export function selectorRefusal(refused: { readonly position: number; readonly expected: string }) {
  const { position, expected } = refused;
  return refuse("SELECTOR_INVALID", `The selector is wrong at character ${position}: expected ${expected}.`, {
    position,
    expected,
  });
}
