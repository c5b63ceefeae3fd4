import type { Logger } from "@muto/kit/logger";
import { parseDesiredNotify, parseJson, TOPICS, type TopicParams } from "@muto/spec";

export interface NotifyOptions {
  readonly own: TopicParams;
  readonly cloudUrl: string;
  readonly logger: Logger;
  /** Highest sequence that this vehicle has accepted. */
  readonly sequenceFloor: () => number;
  /** Somebody says that there is a newer assignment: look sooner. */
  readonly onNewer: () => void;
}

const BOUNDS = { bytesMax: TOPICS.desiredNotify.payloadBytesMax, depthMax: 2 };

/**
 * Listens to hints that come by MQTT. A hint has no authority: it may be forged by whoever owns the broker, so all it can
 * do is make the vehicle poll its configured origin sooner. Its URL is compared with that origin and never followed (H26).
 */
export function notifyListener(options: NotifyOptions): (topic: string, payload: Uint8Array) => void {
  const { own, cloudUrl, logger, sequenceFloor, onNewer } = options;
  const topicOfOurs = TOPICS.desiredNotify.format(own);
  const origin = new URL(cloudUrl).origin;
  let hasWarned = false;
  return (topic, payload) => {
    if (topic !== topicOfOurs) return;
    const json = parseJson(payload, BOUNDS);
    const notify = json.ok ? parseDesiredNotify(json.value) : json;
    if (!notify.ok) {
      logger.debug("mqtt notify is not understood");
      return;
    }
    if (!hasWarned && URL.parse(notify.value.url)?.origin !== origin) {
      hasWarned = true;
      logger.warn("mqtt notify names another origin; the configured one is asked", { origin });
    }
    if (notify.value.sequence > sequenceFloor()) onNewer();
  };
}
