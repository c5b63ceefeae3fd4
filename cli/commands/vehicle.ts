import { resolve } from "node:path";
import { DiskError, systemDisk } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import { REASON_CODES } from "@muto/spec";
import type { Vehicle, VehicleSummary } from "@muto/spec";
import { CommandFailed } from "../command.ts";
import type { Command, Input } from "../command.ts";
import { explanationText } from "../explanation-text.ts";
import { openSession } from "../session.ts";
import { chosen, codesText, defined, pageOptions, pageQuery, pageText, show, stackText } from "../show.ts";
import { driftText, probesText } from "../probe-text.ts";
import { ago, details, table } from "../table.ts";

const id = { name: "VEHICLE", about: "id of the vehicle" } as const;
const comment = { comment: { about: "why, for the audit log", type: "text" } } as const;

const statuses = ["converged", "applying", "pending", "blocked", "failed", "rolled_back", "offline"] as const;

const list: Command = {
  words: ["vehicle", "list"],
  summary: "List vehicles and where they stand",
  details: "Selectors are key=value AND key=value, such as: model=vehicle-v3 AND ring=1",
  options: {
    selector: { about: "only vehicles that it selects", type: "text", value: "SELECTOR" },
    status: {
      about: "only vehicles with this status",
      type: "text",
      choices: statuses,
    },
    drifting: { about: "only vehicles whose stack does not keep every expectation", type: "flag" },
    reason: { about: "only vehicles with this reason code", type: "text", value: "CODE", choices: REASON_CODES },
    search: { about: "part of the id", type: "text" },
    ...pageOptions,
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const query = {
      ...defined({
        selector: input.text("selector"),
        status: chosen(input, "status", statuses),
        drifting: input.flag("drifting") ? true : undefined,
        reasonCode: REASON_CODES.find((code) => code === input.text("reason")),
        search: input.text("search"),
      }),
      ...pageQuery(input),
    };
    const { body } = await session.call("listVehicles", { query });
    show(input, io, body, ({ data, metadata }) => `${vehicleTable(data, io.clock.wallMs())}${pageText(metadata)}`);
    return 0;
  },
};

const showOne: Command = {
  words: ["vehicle", "show"],
  summary: "Show one vehicle, what runs there, and its timeline",
  positionals: [id],
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("getVehicle", { params: { id: input.positional("VEHICLE") } });
    show(input, io, body.data, (vehicle) => vehicleDetails(vehicle, io.clock.wallMs()));
    return 0;
  },
};

const create: Command = {
  words: ["vehicle", "create"],
  summary: "Add a vehicle to the inventory",
  details: "Then let it enrol: muto vehicle claim VEHICLE",
  positionals: [id],
  options: { tag: { about: "such as model=vehicle-v3, region=eu, ring=1", type: "list", value: "KEY=VALUE" } },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("createVehicle", {
      body: { id: input.positional("VEHICLE"), tags: tagsOf(input) },
    });
    show(
      input,
      io,
      body.data,
      ({ id: created }) => `vehicle ${created} is registered; next: muto vehicle claim ${created}\n`,
    );
    return 0;
  },
};

const tag: Command = {
  words: ["vehicle", "tag"],
  summary: "Change tags; a tag edit deploys nothing",
  positionals: [id],
  options: {
    tag: { about: "tag to set", type: "list", value: "KEY=VALUE" },
    remove: { about: "tag to remove", type: "list", value: "KEY" },
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const removed = Object.fromEntries(input.list("remove").map((key) => [key, null]));
    const params = { id: input.positional("VEHICLE") };
    const { body } = await session.call("updateVehicle", { params, body: { tags: { ...tagsOf(input), ...removed } } });
    show(input, io, body.data, (vehicle) => `${vehicle.id}: ${tagsText(vehicle.tags)}\n`);
    return 0;
  },
};

const explain: Command = {
  words: ["vehicle", "explain"],
  summary: "Say why a vehicle is not converged, since when, and what would unblock it",
  positionals: [id],
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("explainVehicle", { params: { id: input.positional("VEHICLE") } });
    show(input, io, body.data, (explanation) => explanationText(explanation, io.clock.wallMs()));
    return 0;
  },
};

const claim: Command = {
  words: ["vehicle", "claim"],
  summary: "Make a single-use claim with which the vehicle registers its own key",
  details: [
    "The claim is shown once. Put it into the file that cloud.claimFile of the vehicle's configuration names; --out writes that",
    "file whole, and for its owner alone.",
  ].join("\n"),
  positionals: [id],
  options: {
    "expires-in": { about: "seconds that it is good for (900)", type: "number" },
    out: { about: "write the claim there, and show only where it is", type: "text", value: "FILE" },
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const params = { id: input.positional("VEHICLE") };
    const { body } = await session.call("createClaim", {
      params,
      body: defined({ expiresInSec: input.number("expires-in") }),
    });
    const { claim: token, ...made } = body.data;
    const out = input.text("out");
    if (out === undefined) {
      show(input, io, body.data, () => `${token}\n`);
      return 0;
    }
    const file = resolve(out);
    await writeClaim(file, token);
    show(input, io, { ...made, file }, () => `${file} holds the claim of ${made.vehicleId}, until ${made.expiresAt}\n`);
    return 0;
  },
};

const exclude: Command = {
  words: ["vehicle", "exclude"],
  summary: "Keep a vehicle out of rollouts",
  positionals: [id],
  options: {
    reason: { about: "why", type: "text", required: true },
    until: { about: "RFC 3339 time at which it ends by itself", type: "text", value: "TIME" },
  },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const params = { id: input.positional("VEHICLE") };
    const { body } = await session.call("excludeVehicle", {
      params,
      body: { reason: input.required("reason"), ...defined({ expiresAt: input.text("until") }) },
    });
    show(input, io, body.data, (vehicle) => `${vehicle.id} is kept out of rollouts\n`);
    return 0;
  },
};

const include: Command = {
  words: ["vehicle", "include"],
  summary: "End the exclusion of a vehicle",
  positionals: [id],
  options: comment,
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("includeVehicle", {
      params: { id: input.positional("VEHICLE") },
      body: defined({ comment: input.text("comment") }),
    });
    show(input, io, body.data, (vehicle) => `${vehicle.id} takes part in rollouts again\n`);
    return 0;
  },
};

const decisions = (["accept", "reject"] as const).map((verb): Command => ({
  words: ["vehicle", verb],
  summary:
    verb === "accept" ? "Accept the key that waits for this vehicle" : "Reject the key that waits for this vehicle",
  positionals: [id],
  options: { keyid: { about: "fingerprint of the key that you mean", type: "text", required: true }, ...comment },
  run: async (input, io) => {
    const session = await openSession(input, io);
    const request = {
      params: { id: input.positional("VEHICLE") },
      body: { keyid: input.required("keyid"), ...defined({ comment: input.text("comment") }) },
    };
    const { body } = await session.call(verb === "accept" ? "acceptVehicle" : "rejectVehicle", request);
    show(input, io, body.data, (vehicle) => `${vehicle.id}: key ${verb}ed\n`);
    return 0;
  },
}));

const revoke: Command = {
  words: ["vehicle", "revoke"],
  summary: "Revoke a vehicle's key: no token or report made with it counts any more",
  positionals: [id],
  options: comment,
  run: async (input, io) => {
    const session = await openSession(input, io);
    const { body } = await session.call("revokeVehicle", {
      params: { id: input.positional("VEHICLE") },
      body: defined({ comment: input.text("comment") }),
    });
    show(input, io, body.data, (vehicle) => `${vehicle.id}: key revoked; a new claim lets it enrol again\n`);
    return 0;
  },
};

const remove: Command = {
  words: ["vehicle", "delete"],
  summary: "Decommission a vehicle: its credentials die, its history stays",
  positionals: [id],
  options: { yes: { about: "do not ask", type: "flag" } },
  run: async (input, io) => {
    const vehicleId = input.positional("VEHICLE");
    if (!input.flag("yes") && (await io.ask(`Decommission ${vehicleId}? Type its id: `)) !== vehicleId) {
      throw new CommandFailed("nothing was changed", { hint: `muto vehicle delete ${vehicleId} --yes` });
    }
    const session = await openSession(input, io);
    await session.call("deleteVehicle", { params: { id: vehicleId } });
    io.out(`${vehicleId} is decommissioned\n`);
    return 0;
  },
};

export const vehicleCommands: readonly Command[] = [
  list,
  showOne,
  create,
  tag,
  explain,
  claim,
  exclude,
  include,
  ...decisions,
  revoke,
  remove,
];

/** Nobody but the owner reads it: whoever has the claim can be this vehicle. */
async function writeClaim(file: string, token: string): Promise<void> {
  try {
    await writeDurably(systemDisk(), file, Buffer.from(`${token}\n`), { permissions: 0o600 });
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    throw new CommandFailed(`${file} cannot be written (${error.code}); the claim is lost`, {
      hint: "run it again with another --out: a new claim takes the place of this one",
      cause: error,
    });
  }
}

function tagsOf(input: Input): Readonly<Record<string, string>> {
  return Object.fromEntries(
    input.list("tag").map((text) => {
      const [, key, value] = /^([^=]+)=(.+)$/.exec(text) ?? [];
      if (key === undefined || value === undefined)
        throw new CommandFailed(`--tag takes KEY=VALUE, not ${text}`, { exitCode: 2 });
      return [key, value];
    }),
  );
}

function tagsText(tags: Readonly<Record<string, string>>): string {
  return Object.entries(tags)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}

function vehicleTable(vehicles: readonly VehicleSummary[], nowMs: number): string {
  return table(
    ["vehicle", "status", "runs", "desired", "reasons", "since", "last seen", "tags"],
    vehicles.map((vehicle) => [
      vehicle.id,
      vehicle.drift.length === 0 ? vehicle.status : `${vehicle.status}, drifting`,
      stackText(vehicle.actualStack),
      stackText(vehicle.desiredStack),
      codesText(vehicle.reasonCodes),
      ago(vehicle.statusSince, nowMs),
      ago(vehicle.lastSeenAt, nowMs),
      tagsText(vehicle.tags),
    ]),
  );
}

function vehicleDetails(vehicle: Vehicle, nowMs: number): string {
  const head = details([
    ["vehicle", vehicle.id],
    [
      "status",
      `${vehicle.status}, ${vehicle.connectivity} (${vehicle.convergence} since ${ago(vehicle.statusSince, nowMs)})`,
    ],
    ["reasons", codesText(vehicle.reasonCodes)],
    ["runs", stackText(vehicle.actualStack)],
    [
      "desired",
      `${stackText(vehicle.desiredStack)}${vehicle.desiredRevision === null ? "" : ` (${vehicle.desiredRevision})`}`,
    ],
    ...vehicle.drift.map((one): readonly [string, string] => ["drift", driftText(one, nowMs)]),
    ["rollback", vehicle.rollbackReady === true ? "ready" : vehicle.rollbackReady === false ? "not ready" : "unknown"],
    ["rollout", vehicle.rolloutId ?? "-"],
    ["last seen", ago(vehicle.lastSeenAt, nowMs)],
    [
      "key",
      `${vehicle.enrolment.state}${vehicle.enrolment.alarm === "none" ? "" : `, ALARM ${vehicle.enrolment.alarm}`}`,
    ],
    ["tags", tagsText(vehicle.tags)],
  ]);
  const rows = vehicle.timeline.map((event) => [
    event.at,
    event.event,
    event.drift === undefined ? codesText(event.reasonCodes) : event.drift.join(" "),
    event.desiredStateRevision ?? "-",
  ]);
  const timeline = rows.length === 0 ? "" : table(["at", "event", "reasons", "revision"], rows);
  return [head, probesText(vehicle.probes), timeline].filter((part) => part !== "").join("\n");
}
