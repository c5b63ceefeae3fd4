import { EngineClient, engineTrouble, jsonOf, query, type Answer, type EngineAnswer } from "./engine-client.ts";
import {
  readContainer,
  readContainers,
  readId,
  readImages,
  readNews,
  readVersion,
  asImageId,
  type ContainerListed,
  type ContainerNews,
  type ContainerSeen,
  type ImageListed,
} from "./engine-answers.ts";
import { textOfFrames, type LogText } from "./log-frames.ts";

/** The few things that the agent asks of a container engine, each with its limit. Docker and Podman alike. */
export interface Engine extends Disposable {
  version(): Promise<Answer<{ readonly kind: "docker" | "podman"; readonly version: string }>>;
  /** Every container with all of these labels, running or not. */
  containers(labels: readonly string[]): Promise<Answer<readonly ContainerListed[]>>;
  container(id: string): Promise<Answer<ContainerSeen>>;
  /** The engine's id of the new container. */
  create(name: string, body: unknown): Promise<Answer<string>>;
  start(id: string): Promise<Answer<void>>;
  rename(id: string, name: string): Promise<Answer<void>>;
  /** Sends a signal to its first process. */
  kill(id: string, signal: string): Promise<Answer<void>>;
  /** Resolves when it does not run any more; trouble `timeout` when it still does. */
  ended(id: string, limitMs: number): Promise<Answer<void>>;
  /** With its anonymous volumes. One that is not there is no trouble. */
  remove(id: string): Promise<Answer<void>>;
  /** Takes an archive in Docker's save format. Trouble of the source passes as its own error. */
  load(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Answer<void>>;
  imageId(reference: string): Promise<Answer<string>>;
  /** Gives an image that is there another name. */
  tag(imageId: string, repository: string, tag: string): Promise<Answer<void>>;
  imagesNamed(repository: string): Promise<Answer<readonly ImageListed[]>>;
  /** Takes the name away, and the image with its last name. */
  removeImage(reference: string): Promise<Answer<void>>;
  /** Output so far, or until the signal aborts or the container ends when `follow` is set. */
  logs(id: string, options: LogOptions): Promise<Answer<AsyncIterable<LogText>>>;
  /** One chunk for each piece of news about containers with the label; ends when the connection does. */
  events(label: string, signal: AbortSignal): Promise<Answer<AsyncIterable<Uint8Array>>>;
  /** What the engine remembers of the container's end. */
  newsOf(id: string, sinceMs: number, untilMs: number): Promise<Answer<readonly ContainerNews[]>>;
}

export interface LogOptions {
  readonly follow: boolean;
  readonly signal: AbortSignal;
  /** Lines from the end; all of them unless told. */
  readonly linesMax?: number;
}

const START_LIMIT_MS = 60_000;

export function engineAt(socketPath: string): Engine {
  const client = new EngineClient(socketPath);
  const done = async (answer: Promise<Answer<EngineAnswer>>): Promise<Answer<void>> => {
    const got = await answer;
    return got.ok ? { ok: true, value: undefined } : got;
  };
  const get = async <T>(path: string, read: (value: unknown) => T | undefined): Promise<Answer<T>> =>
    parsed(await client.ask({ method: "GET", path }), read);
  return {
    version: () => get("/version", readVersion),
    containers: (label) =>
      get(`/containers/json?${query({ all: "true", filters: JSON.stringify({ label }) })}`, readContainers),
    container: (id) => get(`/containers/${id}/json`, readContainer),
    create: async (name, json) =>
      parsed(await client.ask({ method: "POST", path: `/containers/create?${query({ name })}`, json }), readId),
    start: (id) => done(client.ask({ method: "POST", path: `/containers/${id}/start`, timeoutMs: START_LIMIT_MS })),
    rename: (id, name) => done(client.ask({ method: "POST", path: `/containers/${id}/rename?${query({ name })}` })),
    kill: (id, signal) => done(client.ask({ method: "POST", path: `/containers/${id}/kill?${query({ signal })}` })),
    ended: (id, timeoutMs) =>
      done(client.ask({ method: "POST", path: `/containers/${id}/wait?condition=not-running`, timeoutMs })),
    remove: async (id) =>
      unlessGone(await done(client.ask({ method: "DELETE", path: `/containers/${id}?${query({ v: "true" })}` }))),
    load: async (archive, signal) => loaded(await client.pour("/images/load?quiet=true", archive, signal)),
    imageId: async (reference) => {
      const got = await get(`/images/${encodeURIComponent(reference)}/json`, readId);
      return got.ok ? { ok: true, value: asImageId(got.value) } : got;
    },
    tag: (imageId, repo, tag) =>
      done(client.ask({ method: "POST", path: `/images/${encodeURIComponent(imageId)}/tag?${query({ repo, tag })}` })),
    imagesNamed: (repository) =>
      get(`/images/json?${query({ filters: JSON.stringify({ reference: [repository] }) })}`, readImages),
    removeImage: async (reference) =>
      unlessGone(await done(client.ask({ method: "DELETE", path: `/images/${encodeURIComponent(reference)}` }))),
    logs: async (id, { follow, signal, linesMax }) => {
      const options = { stdout: "true", stderr: "true", follow: String(follow), tail: String(linesMax ?? "all") };
      const got = await client.follow(`/containers/${id}/logs?${query(options)}`, signal);
      return got.ok ? { ok: true, value: textOfFrames(got.value) } : got;
    },
    events: (label, signal) =>
      client.follow(`/events?${query({ filters: JSON.stringify({ type: ["container"], label: [label] }) })}`, signal),
    newsOf: async (id, sinceMs, untilMs) => {
      const filters = JSON.stringify({ type: ["container"], container: [id], event: ["die", "kill"] });
      const span = { since: String(Math.floor(sinceMs / 1000)), until: String(Math.ceil(untilMs / 1000)) };
      const got = await client.ask({ method: "GET", path: `/events?${query({ ...span, filters })}` });
      return got.ok ? { ok: true, value: readNews(got.value.bytes) } : got;
    },
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

function parsed<T>(answer: Answer<EngineAnswer>, read: (value: unknown) => T | undefined): Answer<T> {
  if (!answer.ok) return answer;
  const value = read(jsonOf(answer.value));
  return value === undefined ? engineTrouble("malformed") : { ok: true, value };
}

function unlessGone(answer: Answer<void>): Answer<void> {
  return !answer.ok && answer.problem === "not-found" ? { ok: true, value: undefined } : answer;
}

/** A load that fails half-way still answers 200 and says so in the stream. */
function loaded(answer: Answer<EngineAnswer>): Answer<void> {
  if (!answer.ok) return answer;
  const text = Buffer.from(answer.value.bytes).toString("utf8");
  const isError = text.split("\n").some((line) => /^\{"(error|errorDetail)"/.test(line.trim()));
  return isError ? engineTrouble("refused", text) : { ok: true, value: undefined };
}
