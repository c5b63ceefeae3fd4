import { dirname, isAbsolute, resolve } from "node:path";
import { DiskError, type Disk } from "@muto/kit/disk";
import { parseAgentConfig, type AgentConfig, type Problem } from "@muto/spec";
import { parseDocument, type Document } from "yaml";
import { contradictionsIn, warningsFor, type Complaint } from "./config-rules.ts";

export type LoadedConfig =
  | {
      readonly ok: true;
      /** Defaults filled in, every path absolute. */
      readonly config: AgentConfig;
      /** What is allowed and probably not meant; one line each. */
      readonly warnings: readonly string[];
    }
  | {
      readonly ok: false;
      readonly code: "CONFIG_NOT_FOUND" | "CONFIG_UNREADABLE" | "CONFIG_MALFORMED" | "CONFIG_INVALID";
      /** One line for each thing that is wrong, naming file and setting; never a value that might be secret. */
      readonly problems: readonly string[];
    };

const FILE_BYTES_MAX = 262_144;

/**
 * Reads the vehicle's own configuration, YAML or JSON. Nothing is guessed: an unknown key, a contradiction or a name that leads
 * nowhere stops the start. Relative paths count from the file's folder.
 */
export async function loadAgentConfig(disk: Disk, path: string): Promise<LoadedConfig> {
  let bytes: Uint8Array | undefined;
  try {
    const found = await disk.stat(path);
    if ((found?.sizeBytes ?? 0) > FILE_BYTES_MAX) {
      return refused("CONFIG_UNREADABLE", [`${path}: is larger than ${FILE_BYTES_MAX} bytes`]);
    }
    bytes = await disk.read(path);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    return refused("CONFIG_UNREADABLE", [`${path}: cannot be read (${error.code})`]);
  }
  if (bytes === undefined) return refused("CONFIG_NOT_FOUND", [`${path}: there is no such file`]);
  return readAgentConfig(new TextDecoder().decode(bytes), path);
}

/** The same for a text that is at hand; `path` names it in messages and anchors relative paths. */
export function readAgentConfig(text: string, path: string): LoadedConfig {
  const document = parseDocument(text, { uniqueKeys: true, strict: true, prettyErrors: false, logLevel: "silent" });
  const [wrong] = document.errors;
  if (wrong !== undefined) {
    const line = text.slice(0, wrong.pos[0]).split("\n").length;
    return refused("CONFIG_MALFORMED", [`${path}: line ${line} is not YAML (${wrong.code})`]);
  }
  const value = valueOf(document);
  if (value === undefined) return refused("CONFIG_MALFORMED", [`${path}: has an alias; say each thing once`]);
  const parsed = parseAgentConfig(value);
  if (!parsed.ok)
    return refused(
      "CONFIG_INVALID",
      parsed.problems.map((problem) => inWords(path, problem)),
    );
  const config = withAbsolutePaths(parsed.value, dirname(path));
  const contradictions = contradictionsIn(config);
  if (contradictions.length > 0)
    return refused(
      "CONFIG_INVALID",
      contradictions.map((found) => sentence(path, found)),
    );
  return { ok: true, config, warnings: warningsFor(config).map((found) => sentence(path, found)) };
}

/** Undefined for a document with aliases, which a few hundred bytes can make into gigabytes. */
function valueOf(document: Document.Parsed): unknown {
  try {
    const value: unknown = document.toJS({ maxAliasCount: 0 });
    return value ?? null;
  } catch (error) {
    if (error instanceof ReferenceError) return undefined;
    throw error;
  }
}

function withAbsolutePaths(config: AgentConfig, folder: string): AgentConfig {
  const absolute = (path: string) => (isAbsolute(path) ? path : resolve(folder, path));
  const { cloud, registry, mqtt, changeInProgress, signals } = config;
  return {
    ...config,
    stateDir: absolute(config.stateDir),
    trustFile: absolute(config.trustFile),
    cloud: { ...cloud, ...(cloud.claimFile !== undefined && { claimFile: absolute(cloud.claimFile) }) },
    ...(registry !== undefined && {
      registry: {
        ...registry,
        ...(registry.usernameFile !== undefined && { usernameFile: absolute(registry.usernameFile) }),
        ...(registry.passwordFile !== undefined && { passwordFile: absolute(registry.passwordFile) }),
      },
    }),
    ...(mqtt !== undefined && {
      mqtt: { ...mqtt, ...(mqtt.passwordFile !== undefined && { passwordFile: absolute(mqtt.passwordFile) }) },
    }),
    changeInProgress: {
      ...changeInProgress,
      ...(changeInProgress.file !== undefined && { file: absolute(changeInProgress.file) }),
    },
    signals: {
      ...signals,
      ...(signals.lockFile !== undefined && { lockFile: absolute(signals.lockFile) }),
      providers: signals.providers.map((provider) =>
        "path" in provider ? { ...provider, path: absolute(provider.path) } : provider,
      ),
    },
  };
}

/** `/signals/speed/0/provider` is `signals.speed[0].provider`, as one would say it. */
function inWords(path: string, { path: pointer, message }: Problem): string {
  const setting = pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce((said, part) => (/^\d+$/.test(part) ? `${said}[${part}]` : said === "" ? part : `${said}.${part}`), "");
  return sentence(path, { setting, message });
}

function sentence(path: string, { setting, message }: Complaint): string {
  return setting === "" ? `${path}: ${message}` : `${path}: ${setting} ${message}`;
}

function refused(code: Extract<LoadedConfig, { ok: false }>["code"], problems: readonly string[]): LoadedConfig {
  return { ok: false, code, problems };
}
