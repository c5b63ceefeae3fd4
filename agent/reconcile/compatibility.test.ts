import { graphRelease as G, releaseA as A, serviceRelease as S } from "../model/situation.ts";
import { check, runsA } from "../model/table.ts";

const refused = "hold failed verify DESIRED_STATE_REJECTED";

check("what this vehicle can see of the ROS graph", {
  "probes of the graph where nothing shows one: refused before anything is staged": [
    { ...runsA, wants: G, graph: "none" },
    refused,
  ],
  "the same where DDS shows it": [{ ...runsA, wants: G, graph: "read-only" }, "download 7.0.0"],
  "a service where DDS alone is there, which calls none": [{ ...runsA, wants: S, graph: "read-only" }, refused],
  "a service over rosbridge": [{ ...runsA, wants: S, graph: "full" }, "download 8.0.0"],
  "no probe of the graph, no graph needed": [{ wants: A, graph: "none" }, "download 1.0.0"],
});
