/** One kind of MQTT topic: how its name is made and read, and how it is published. */
export interface Topic<Name extends string> {
  readonly name: Name;
  readonly pattern: string;
  readonly direction: "vehicle-to-cloud" | "cloud-to-vehicle";
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly payloadBytesMax: number;
  /** Name of the schema that the payload follows. */
  readonly message: string;
  /** The topic of one vehicle. Throws a RangeError for ids that the contract does not allow, so that no wildcard slips in. */
  format(params: TopicParams): string;
  /** The ids in a topic of this kind; undefined for any other topic. */
  parse(topic: string): TopicParams | undefined;
  /** A subscription filter; a parameter that is left out becomes the wildcard for one level. */
  filter(params: Partial<TopicParams>): string;
}

export interface TopicParams {
  readonly tenant: string;
  readonly vehicleId: string;
}

type Entry<Name extends string> = Omit<Topic<Name>, "format" | "parse" | "filter">;

/** Builds the helpers of one topic; `params` are the patterns of the two ids, as the contract's schemas say them. */
export function topicOf<Name extends string>(entry: Entry<Name>, params: TopicParams): Topic<Name> {
  const tenantPattern = new RegExp(params.tenant);
  const vehiclePattern = new RegExp(params.vehicleId);
  const whole = new RegExp(`^${entry.pattern.replace("{tenant}", "([^/]+)").replace("{vehicleId}", "([^/]+)")}$`);
  const fill = (tenant: string, vehicleId: string): string =>
    entry.pattern.replace("{tenant}", tenant).replace("{vehicleId}", vehicleId);
  const check = (pattern: RegExp, value: string, name: string): string => {
    if (!pattern.test(value)) throw new RangeError(`not a ${name}: ${JSON.stringify(value)}`);
    return value;
  };
  return {
    ...entry,
    format: ({ tenant, vehicleId }) =>
      fill(check(tenantPattern, tenant, "tenant"), check(vehiclePattern, vehicleId, "vehicle id")),
    parse: (topic) => {
      const [, tenant = "", vehicleId = ""] = whole.exec(topic) ?? [];
      return tenantPattern.test(tenant) && vehiclePattern.test(vehicleId) ? { tenant, vehicleId } : undefined;
    },
    filter: ({ tenant, vehicleId }) =>
      fill(
        tenant === undefined ? "+" : check(tenantPattern, tenant, "tenant"),
        vehicleId === undefined ? "+" : check(vehiclePattern, vehicleId, "vehicle id"),
      ),
  };
}
