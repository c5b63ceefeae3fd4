import { HEADERS } from "@muto/spec";
import type { EventFeed, FeedItem } from "./server/feed.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

const RECONNECT_MS = 3_000;
const RETRY_AFTER_SEC = 10;

/** The live feed as server-sent events. Without Last-Event-ID it begins now. Ends when the client goes or the server stops. */
export const streamEvents: Handler<"streamEvents"> = async (call, context) => {
  if (!context.feed.hasRoom) {
    return refuse("UNAVAILABLE", "As many follow the live feed as may.", { retryAfterSec: RETRY_AFTER_SEC });
  }
  const last = call.headers["last-event-id"];
  const signal = AbortSignal.any([call.signal, context.stopping]);
  return {
    status: 200,
    raw: lines(context.feed, last === undefined ? undefined : Number(last), signal),
    // Proxies that collect answers would hold events back.
    headers: { "X-Accel-Buffering": "no", [HEADERS.xRequestId]: call.requestId },
  };
};

async function* lines(feed: EventFeed, from: number | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  yield Buffer.from(`retry: ${RECONNECT_MS}\n\n`);
  for await (const item of feed.follow(from, signal)) yield Buffer.from(textOf(item));
}

function textOf(item: FeedItem): string {
  switch (item.kind) {
    case "event":
      return `id: ${item.placed.position}\nevent: ${item.placed.event.type}\ndata: ${JSON.stringify(item.placed.event)}\n\n`;
    case "reset":
      return `id: ${item.position}\nevent: reset\ndata: {}\n\n`;
    case "idle":
      return ": still here\n\n";
  }
}
