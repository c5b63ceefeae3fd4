import type { FastifyReply, FastifyRequest } from "fastify";
import type { OperationId, OperationRoute } from "@muto/spec";
import type { VehicleAuth } from "../../trust/vehicle-auth.ts";
import type { RequestState } from "./bind.ts";
import type { ApiContext } from "./context.ts";
import { createPeopleAuth } from "./people.ts";
import { mayCall } from "./principal.ts";
import type { Principal } from "./principal.ts";
import { createRateLimiter } from "./rate-limit.ts";
import type { Rate } from "./rate-limit.ts";
import { plainRefusal } from "./refusals.ts";
import type { AnyRefusal } from "./refusals.ts";

/** How much each kind of caller may ask: vehicles each for itself, people each for themselves, strangers by address. */
export interface Rates {
  readonly vehicle: Rate;
  readonly person: Rate;
  readonly stranger: Rate;
}

/** A vehicle polls, reports and sends health every 30 s; an outbox that drains after weeks needs room. */
export const RATES: Rates = {
  vehicle: { burst: 120, perSec: 4 },
  person: { burst: 2000, perSec: 200 },
  stranger: { burst: 5000, perSec: 200 },
};

const TOKEN_CHARACTERS_MAX = 8192;
/** Asked by the platform every few seconds, before anybody could have a token. */
const UNLIMITED: ReadonlySet<OperationId> = new Set(["getHealth", "getReadiness", "getMetrics"]);

/** Decides who asks and whether they may, before a byte of the body is read. */
export function createAdmission(
  context: ApiContext,
  vehicleAuth: VehicleAuth,
  rates: Rates,
): (
  request: FastifyRequest,
  reply: FastifyReply,
  route: OperationRoute<OperationId>,
) => Promise<RequestState | AnyRefusal> {
  const people = createPeopleAuth(context.config.people, context);
  const limiter = createRateLimiter();
  const limited = (caller: string, rate: Rate): AnyRefusal | undefined => {
    const waitSec = limiter.take(caller, rate, context.clock.monotonicMs());
    return waitSec === 0 ? undefined : plainRefusal("RATE_LIMITED", { retryAfterSec: waitSec });
  };

  const identify = async (request: FastifyRequest): Promise<Principal | AnyRefusal> => {
    const header = request.headers.authorization;
    if (header === undefined) return plainRefusal("UNAUTHENTICATED");
    const token = /^Bearer ([!-~]+)$/i.exec(header)?.[1];
    if (token === undefined || token.length > TOKEN_CHARACTERS_MAX) return plainRefusal("UNAUTHENTICATED");
    const person = await people(token);
    if (person !== undefined) return person;
    const vehicle = await vehicleAuth.authenticate(token);
    if (vehicle.ok) {
      return { kind: "vehicle", id: vehicle.vehicleId, keyid: vehicle.keyid, poll: vehicle.poll };
    }
    return plainRefusal(vehicle.problem === "revoked" ? "VEHICLE_REVOKED" : "UNAUTHENTICATED");
  };

  return async (request, reply, route) => {
    const gone = new AbortController();
    reply.raw.once("close", () => {
      if (!reply.raw.writableFinished) gone.abort();
    });
    const address = `address ${request.ip}`;
    if (route.principals.includes("anonymous")) {
      const refused = UNLIMITED.has(route.operationId) ? undefined : limited(address, rates.stranger);
      return refused ?? { principal: { kind: "anonymous", id: request.ip }, gone: gone.signal };
    }
    const principal = await identify(request);
    // Guessing tokens is limited by address; who is known is limited as himself.
    if ("refusal" in principal) return limited(address, rates.stranger) ?? principal;
    const rate = principal.kind === "vehicle" ? rates.vehicle : rates.person;
    const refused = limited(`${principal.kind} ${principal.id}`, rate);
    if (refused !== undefined) return refused;
    if (!mayCall(principal, route.principals)) return plainRefusal("FORBIDDEN");
    return { principal, gone: gone.signal };
  };
}
