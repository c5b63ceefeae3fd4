import type { SignalsConfig } from "@muto/spec";

/** Name of the provider that shows the ROS graph: the one that the configuration names, or the only one that can. */
export function graphProviderOf(signals: Pick<SignalsConfig, "graph" | "providers">): string | undefined {
  if (signals.graph !== undefined) return signals.graph;
  const able = ableToShowGraph(signals);
  return able.length === 1 ? able[0] : undefined;
}

/** Names of the providers that can show the ROS graph. */
export function ableToShowGraph({ providers }: Pick<SignalsConfig, "providers">): readonly string[] {
  return providers.filter(({ kind }) => kind === "rosbridge" || kind === "dds").map(({ name }) => name);
}
