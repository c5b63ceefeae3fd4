import type { MessageDefinitions } from "@muto/dds/cdr/definition";
import { KNOWN_MESSAGES } from "@muto/dds/messages/interfaces";
import type { MessageDefinition } from "@muto/spec";

/** The built-in message types and those that are given as the text of their .msg files, of which the last wins. */
export function definitionsOf(messages: readonly MessageDefinition[]): MessageDefinitions {
  const given = messages.map(({ type, definition }) => [type, definition.split(/\r?\n/)] as const);
  return { ...KNOWN_MESSAGES, ...Object.fromEntries(given) };
}
