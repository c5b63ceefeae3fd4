import { createHash, timingSafeEqual } from "node:crypto";
import { createRemoteJWKSet, customFetch, jwtVerify } from "jose";
import type { FetchImplementation } from "jose";
import type { Clock } from "@muto/kit/clock";
import type { HttpClient } from "@muto/kit/http";
import { readBody } from "@muto/kit/http";
import type { OidcConfig, PeopleConfig } from "../../ports.ts";
import type { Principal } from "./principal.ts";

/** Who a bearer token of a person or program belongs to; undefined when it is nobody's. */
export type PeopleAuth = (token: string) => Promise<Principal | undefined>;

const JWKS_BYTES_MAX = 262_144;
const CLOCK_TOLERANCE_SEC = 60;
/** Asymmetric only: a key set is public, so a symmetric algorithm would let anybody sign (attack: algorithm confusion). */
const ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

/**
 * Static tokens are looked for first. An OIDC token must come from the issuer, name the audience, not be expired, and carry
 * a role; its subject becomes the name in the audit log.
 */
export function createPeopleAuth(
  config: PeopleConfig,
  ports: { readonly clock: Clock; readonly http: HttpClient },
): PeopleAuth {
  const oidc = config.oidc === undefined ? undefined : createOidc(config.oidc, ports);
  return async (token) => staticPrincipal(config, token) ?? (await oidc?.(token));
}

/** Compares with every known hash in constant time, so that the time says neither which token nor how much of it fits. */
function staticPrincipal(config: PeopleConfig, token: string): Principal | undefined {
  const presented = createHash("sha256").update(token, "utf8").digest();
  let found: Principal | undefined;
  for (const { name, role, sha256 } of config.tokens) {
    const known = Buffer.from(sha256, "hex");
    if (known.byteLength === presented.byteLength && timingSafeEqual(known, presented))
      found = { kind: role, id: name };
  }
  return found;
}

function createOidc(oidc: OidcConfig, ports: { readonly clock: Clock; readonly http: HttpClient }): PeopleAuth {
  const keys = createRemoteJWKSet(new URL(oidc.jwksUrl), { [customFetch]: fetchThrough(ports.http) });
  return async (token) => {
    if (token.split(".").length !== 3) return undefined;
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: oidc.issuer,
        audience: oidc.audience,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_SEC,
        currentDate: new Date(ports.clock.wallMs()),
        requiredClaims: ["sub", "exp"],
      });
      const role = roleIn(payload[oidc.roleClaim]);
      const name = payload.sub ?? "";
      return role === undefined || !/^[!-~]{1,200}$/.test(name) ? undefined : { kind: role, id: name };
    } catch {
      // Whatever is wrong with the token or the key set, the token is nobody's; the caller learns no more than that.
      return undefined;
    }
  };
}

function roleIn(claim: unknown): "operator" | "viewer" | undefined {
  const roles: readonly unknown[] = Array.isArray(claim) ? claim : [claim];
  return roles.includes("operator") ? "operator" : roles.includes("viewer") ? "viewer" : undefined;
}

function fetchThrough(http: HttpClient): FetchImplementation {
  return async (url, { signal, headers }) => {
    const answer = await http({ method: "GET", url, headers: Object.fromEntries(headers), signal });
    const body = await readBody(answer.body, JWKS_BYTES_MAX);
    return new Response(Buffer.from(body), { status: answer.status, headers: [...answer.headers] });
  };
}
