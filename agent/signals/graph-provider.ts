import type { SignalsConfig } from "@muto/spec";
import type { GraphReader } from "../ports.ts";
import type { GraphAbility } from "../reconcile/desired.ts";

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

/** What probes can ask of the graph here: DDS alone calls no services. */
export function graphAbility(
  signals: Pick<SignalsConfig, "graph" | "providers">,
  graph: GraphReader | undefined,
): GraphAbility {
  if (graph === undefined) return "none";
  const name = graphProviderOf(signals);
  return signals.providers.find((provider) => provider.name === name)?.kind === "dds" ? "read-only" : "full";
}
