import { TOPICS } from "@muto/spec";

/** Who stands behind an MQTT connection. */
export type Principal = { readonly kind: "vehicle"; readonly vehicleId: string } | { readonly kind: "cloud" };

export interface TopicRights {
  mayPublish(topic: string, retain: boolean): boolean;
  maySubscribe(filter: string): boolean;
}

/**
 * A vehicle publishes its own presence and reports and subscribes its own notify, by exact topic: no wildcard, so that
 * no name of a vehicle or client can widen a right (compare CVE-2017-7650). The control plane does the reverse.
 */
export function topicRights(principal: Principal, tenant: string): TopicRights {
  if (principal.kind === "cloud") {
    return {
      mayPublish: (topic) => TOPICS.desiredNotify.parse(topic)?.tenant === tenant,
      maySubscribe: () => true,
    };
  }
  const own = { tenant, vehicleId: principal.vehicleId };
  const published = new Map(
    [TOPICS.presence, TOPICS.reconcileReports, TOPICS.healthReports].map((topic) => [topic.format(own), topic.retain]),
  );
  return {
    mayPublish: (topic, retain) => published.has(topic) && (!retain || published.get(topic) === true),
    maySubscribe: (filter) => filter === TOPICS.desiredNotify.format(own),
  };
}
