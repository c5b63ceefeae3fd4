import { isRecord, jsonIn } from "@muto/oci/descriptor";

/** What the agent reads of a container; everything else that an engine says is left alone. */
export interface ContainerSeen {
  /** The engine's own id. */
  readonly id: string;
  readonly name: string;
  /** Id of the image that it really runs. */
  readonly imageId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly status: ContainerStatus;
  /** 0 while it does not run. */
  readonly pid: number;
  readonly exitCode: number;
  /** Null while it runs. */
  readonly finishedAtMs: number | null;
}

export type ContainerStatus = "created" | "running" | "paused" | "restarting" | "removing" | "exited" | "dead";

export interface ContainerListed {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** That it died, or that somebody sent it a signal through the engine. */
export type ContainerNews = { readonly kind: "died" } | { readonly kind: "signalled"; readonly signal: string };

export interface ImageListed {
  readonly id: string;
  readonly tags: readonly string[];
}

export function isAliveContainer({ status }: Pick<ContainerSeen, "status">): boolean {
  return status === "running" || status === "paused" || status === "restarting";
}

/** Each gives undefined for anything that is not the answer. Podman writes some words its own way. */
export function readContainer(value: unknown): ContainerSeen | undefined {
  if (!isRecord(value) || !isRecord(value["State"]) || !isRecord(value["Config"])) return undefined;
  const { Id: id, Name: name, Image: image } = value;
  const { Status, Running, Pid: pid, ExitCode: exitCode, FinishedAt: finishedAt } = value["State"];
  if (typeof id !== "string" || typeof name !== "string" || typeof image !== "string") return undefined;
  const status = Running === true && Status !== "paused" ? "running" : statusOf(Status);
  if (status === undefined || typeof exitCode !== "number") return undefined;
  return {
    id,
    name: name.replace(/^\//, ""),
    imageId: asImageId(image),
    labels: textsOf(value["Config"]["Labels"]),
    status,
    pid: typeof pid === "number" && pid > 0 ? pid : 0,
    exitCode,
    finishedAtMs: status === "exited" || status === "dead" ? timeOf(finishedAt) : null,
  };
}

export function readContainers(value: unknown): readonly ContainerListed[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const items = value.map((item: unknown): ContainerListed | undefined => {
    if (!isRecord(item) || typeof item["Id"] !== "string") return undefined;
    return { id: item["Id"], labels: textsOf(item["Labels"]) };
  });
  return items.every((item) => item !== undefined) ? items : undefined;
}

export function readImages(value: unknown): readonly ImageListed[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const items = value.map((item: unknown): ImageListed | undefined => {
    if (!isRecord(item) || typeof item["Id"] !== "string") return undefined;
    const tags: unknown = item["RepoTags"];
    const named = Array.isArray(tags) ? tags.filter((tag) => typeof tag === "string") : [];
    return { id: asImageId(item["Id"]), tags: named };
  });
  return items.every((item) => item !== undefined) ? items : undefined;
}

/** One object in each line; lines that are no news are left out. */
export function readNews(bytes: Uint8Array): readonly ContainerNews[] {
  const lines = Buffer.from(bytes).toString("utf8").split("\n");
  return lines.flatMap((line): readonly ContainerNews[] => {
    const news = jsonIn(Buffer.from(line));
    if (!isRecord(news)) return [];
    if (news["Action"] === "die") return [{ kind: "died" }];
    const actor = news["Actor"];
    const signal = isRecord(actor) && isRecord(actor["Attributes"]) ? actor["Attributes"]["signal"] : undefined;
    return news["Action"] === "kill" && typeof signal === "string" ? [{ kind: "signalled", signal }] : [];
  });
}

export function readId(value: unknown): string | undefined {
  return isRecord(value) && typeof value["Id"] === "string" ? value["Id"] : undefined;
}

/** Docker says `sha256:…`, Podman the digits alone. */
export function asImageId(text: string): string {
  return /^[0-9a-f]{64}$/.test(text) ? `sha256:${text}` : text;
}

export function readVersion(
  value: unknown,
): { readonly kind: "docker" | "podman"; readonly version: string } | undefined {
  if (!isRecord(value) || typeof value["Version"] !== "string") return undefined;
  const components: readonly unknown[] = Array.isArray(value["Components"]) ? value["Components"] : [];
  const isPodman = components.some((part) => isRecord(part) && part["Name"] === "Podman Engine");
  return { kind: isPodman ? "podman" : "docker", version: value["Version"] };
}

const STATUSES = ["created", "running", "paused", "restarting", "removing", "exited", "dead"] as const;

function statusOf(value: unknown): ContainerStatus | undefined {
  if (value === "stopped") return "exited";
  if (value === "configured" || value === "initialized") return "created";
  // On its way to being ended: Podman says so for a moment.
  if (value === "stopping") return "running";
  return STATUSES.find((status) => status === value);
}

function timeOf(value: unknown): number {
  const parsed = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isFinite(parsed) && parsed > 0 ? parsed : 0;
}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  if (!isRecord(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, text]) => (typeof text === "string" ? [[name, text] as const] : [])),
  );
}
