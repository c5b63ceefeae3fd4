import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import type { Random } from "@muto/kit/random";
import { parseJson, parseTrustFile } from "@muto/spec";
import type { TrustFile } from "@muto/spec";
import { generateKey, parsePrivateKey } from "@muto/trust/keys";
import type { PublicKey, Signer } from "@muto/trust/keys";
import type { StaticToken } from "./ports.ts";
import type { CloudSettings } from "./settings.ts";

/** Keys, trust and tokens that the control plane needs before it can start. */
export interface Provisions {
  readonly assignmentSigner: Signer;
  readonly trust: TrustFile;
  readonly trustFile: string;
  readonly tokens: readonly StaticToken[];
  /** The token that `muto up` made for this machine; undefined when the operator named files of their own. */
  readonly localToken: { readonly token: string; readonly file: string } | undefined;
}

export type ProvisionResult =
  | { readonly ok: true; readonly provisions: Provisions }
  | { readonly ok: false; readonly message: string };

/** Expected trouble inside this file: one line that names the setting or the file. */
class Unusable extends Error {
  override readonly name = "Unusable";
}

const OWNER_ONLY = 0o600;
const TOKENS_MAX = 100;

/**
 * Reads what the settings name. With `development` (muto up) what is missing is made once in the data folder: the
 * assignment key, a release key, the trust file that vehicles copy, and an operator token. Otherwise missing is refused.
 */
export async function provision(
  settings: CloudSettings,
  ports: { readonly disk: Disk; readonly random: Random },
  development: boolean,
): Promise<ProvisionResult> {
  const { disk } = ports;
  try {
    const keyFile = settings.assignmentKeyFile ?? join(settings.dataDir, "keys", "assignment.key");
    const assignmentSigner = await keyAt(disk, keyFile, development && settings.assignmentKeyFile === undefined);
    const trustFile = settings.trustFile ?? join(settings.dataDir, "trust.json");
    if (development && settings.trustFile === undefined)
      await makeTrust(disk, settings, trustFile, assignmentSigner.publicKey);
    const trust = await trustAt(disk, trustFile);
    if (trust.tenant !== settings.tenant)
      throw new Unusable(`${trustFile} is for tenant ${trust.tenant}, not ${settings.tenant}`);
    if (!trust.roles.assignment.keys.some(({ keyid }) => keyid === assignmentSigner.publicKey.keyid)) {
      throw new Unusable(
        `${trustFile} does not list the assignment key of ${keyFile}: no vehicle would accept an assignment`,
      );
    }
    const named = [
      ...(await tokensAt(disk, settings.operatorTokenFile, "operator")),
      ...(await tokensAt(disk, settings.viewerTokenFile, "viewer")),
    ];
    const localToken =
      development && settings.operatorTokenFile === undefined ? await localTokenAt(ports, settings) : undefined;
    const local = localToken === undefined ? [] : [tokenOf("local-operator", "operator", localToken.token)];
    const tokens = [...named, ...local];
    if (tokens.length === 0 && settings.oidcIssuer === undefined) {
      throw new Unusable("nobody could operate this: set MUTO_OPERATOR_TOKEN_FILE or MUTO_OIDC_ISSUER");
    }
    return { ok: true, provisions: { assignmentSigner, trust, trustFile, tokens, localToken } };
  } catch (error) {
    if (error instanceof Unusable) return { ok: false, message: error.message };
    throw error;
  }
}

async function keyAt(disk: Disk, file: string, make: boolean): Promise<Signer> {
  const bytes = await disk.read(file);
  if (bytes === undefined && make) {
    const made = await generateKey("ed25519");
    await disk.makeFolder(join(file, ".."));
    await writeDurably(disk, file, Buffer.from(made.privatePem), { permissions: OWNER_ONLY });
    return made.signer;
  }
  if (bytes === undefined)
    throw new Unusable(`${file} does not exist: set MUTO_ASSIGNMENT_KEY_FILE, or make one with muto trust keygen`);
  const parsed = parsePrivateKey(Buffer.from(bytes).toString("utf8"));
  if (!parsed.ok) throw new Unusable(`${file} is not a usable private key: ${parsed.problem}`);
  if (parsed.signer.publicKey.algorithm !== "ed25519")
    throw new Unusable(`${file}: assignments are signed with Ed25519`);
  return parsed.signer;
}

/** A development trust file with one release key, whose private half lies beside the assignment key: for a desk only. */
async function makeTrust(disk: Disk, settings: CloudSettings, file: string, assignmentKey: PublicKey): Promise<void> {
  if ((await disk.read(file)) !== undefined) return;
  const releaseKey = (await keyAt(disk, join(settings.dataDir, "keys", "release.key"), true)).publicKey;
  await writeDurably(disk, join(settings.dataDir, "keys", "release.pub"), Buffer.from(releaseKey.pem));
  const role = (key: PublicKey) => ({
    threshold: 1,
    keys: [{ keyid: key.keyid, algorithm: key.algorithm, publicKey: key.pem }],
  });
  const trust: TrustFile = {
    kind: "muto.trust/v1",
    tenant: settings.tenant,
    roles: { release: role(releaseKey), assignment: role(assignmentKey) },
  };
  await writeDurably(disk, file, Buffer.from(`${JSON.stringify(trust, null, 2)}\n`));
}

async function trustAt(disk: Disk, file: string): Promise<TrustFile> {
  const bytes = await disk.read(file);
  if (bytes === undefined)
    throw new Unusable(`${file} does not exist: set MUTO_TRUST_FILE to the trust file of your fleet`);
  const json = parseJson(bytes);
  const parsed = json.ok ? parseTrustFile(json.value) : json;
  if (parsed.ok) return parsed.value;
  const [first] = parsed.problems;
  throw new Unusable(`${file} is not a trust file: ${first?.path ?? ""} ${first?.message ?? ""}`);
}

async function tokensAt(
  disk: Disk,
  file: string | undefined,
  role: StaticToken["role"],
): Promise<readonly StaticToken[]> {
  if (file === undefined) return [];
  const bytes = await disk.read(file);
  if (bytes === undefined) throw new Unusable(`${file} with ${role} tokens does not exist`);
  const lines = Buffer.from(bytes)
    .toString("utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (lines.length === 0 || lines.length > TOKENS_MAX)
    throw new Unusable(`${file} holds ${lines.length} tokens; expected 1 to ${TOKENS_MAX}`);
  return lines.map((line, index) => {
    // A name may stand in front, so that the audit log can tell people apart: NAME TOKEN.
    const [name, secret] = /\s/.test(line) ? line.split(/\s+/, 2) : [`${role}-${index + 1}`, line];
    return tokenOf(name ?? "", role, secret ?? "");
  });
}

function tokenOf(name: string, role: StaticToken["role"], secret: string): StaticToken {
  const [, hashed] = /^sha256:([a-f0-9]{64})$/.exec(secret) ?? [];
  if (hashed === undefined && secret.length < 16)
    throw new Unusable(`the ${role} token of ${name} is shorter than 16 characters`);
  return { name, role, sha256: hashed ?? createHash("sha256").update(secret).digest("hex") };
}

async function localTokenAt(
  { disk, random }: { readonly disk: Disk; readonly random: Random },
  settings: CloudSettings,
): Promise<{ readonly token: string; readonly file: string }> {
  const file = join(settings.dataDir, "operator-token");
  const known = await disk.read(file);
  if (known !== undefined) return { token: Buffer.from(known).toString("utf8").trim(), file };
  const token = `muto_${Buffer.from(random.bytes(24)).toString("base64url")}`;
  await writeDurably(disk, file, Buffer.from(`${token}\n`), { permissions: OWNER_ONLY });
  return { token, file };
}
