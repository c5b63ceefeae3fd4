import assert from "node:assert/strict";
import { compilePathDecoder } from "@muto/dds/cdr/decode";
import type { CdrValue } from "@muto/dds/cdr/value";
import { KNOWN_MESSAGES } from "@muto/dds/messages/interfaces";
import type { SubscriptionQos } from "@muto/dds/model";
import { openParticipant, type Participant, type ParticipantOptions } from "@muto/dds/participant";
import { systemUdpNetwork } from "@muto/dds/udp-network";
import { systemClock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";

const DEADLINE_MS = 15_000;

export const clock = systemClock();

/** A participant on the real network, which in these tests is one of their own. */
export const open = (more: Partial<ParticipantOptions> = {}): Promise<Participant> => {
  const ports = { network: systemUdpNetwork(), clock, random: systemRandom(), logger: silentLogger };
  return openParticipant({ domainId: 0, ...ports, ...more });
};

export interface Heard {
  next(): Promise<readonly (CdrValue | undefined)[]>;
}

/** Subscribes and decodes; `next` is the next sample from now on. */
export function hear(
  participant: Participant,
  topic: string,
  type: string,
  paths: readonly string[],
  qos?: SubscriptionQos,
): Heard {
  const compiled = compilePathDecoder(type, paths, KNOWN_MESSAGES);
  assert.ok(compiled.ok, JSON.stringify(compiled));
  let waiting = Promise.withResolvers<readonly (CdrValue | undefined)[]>();
  const onSample = ({ payload }: { payload: Uint8Array }) => {
    const decoded = compiled.decoder.decode(payload);
    assert.ok(decoded.ok, JSON.stringify(decoded));
    waiting.resolve(decoded.value);
    waiting = Promise.withResolvers();
  };
  participant.subscribe({ topic, type, onSample, ...(qos === undefined ? {} : { qos }) });
  return { next: () => within(waiting.promise, `a sample of ${topic}`) };
}

export function within<Value>(promise: Promise<Value>, what: string): Promise<Value> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${what} did not come`)), DEADLINE_MS);
  return Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}

/** Resolves with how long it took until the graph was as wanted. */
export async function until(participant: Participant, what: string, holds: () => boolean): Promise<number> {
  const startedMs = clock.monotonicMs();
  const done = Promise.withResolvers<void>();
  using _watch = participant.watch(() => {
    if (holds()) done.resolve();
  });
  if (holds()) done.resolve();
  await within(done.promise, what);
  return clock.monotonicMs() - startedMs;
}

export const nodes = (participant: Participant): readonly string[] => participant.graph().nodes.map(({ name }) => name);
