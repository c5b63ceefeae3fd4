import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { parse } from "yaml";
import { tarOf } from "@muto/oci/example-image";
import { runMuto } from "./test-program.ts";

describe("muto import", () => {
  let root: string;
  let count = 0;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "muto-import-"));
  });
  after(() => rm(root, { recursive: true }));

  const imported = async (definition: unknown, ...args: readonly string[]) => {
    const into = join(root, `stack-${++count}`);
    const file = `${into}.json`;
    await writeFile(file, typeof definition === "string" ? definition : JSON.stringify(definition));
    const given = args.includes("--distro") || args.includes("--setup") ? args : ["--distro", "humble", ...args];
    const result = await runMuto(["import", file, "--into", into, ...given]);
    const yaml = async (name: string): Promise<unknown> => parse(await readFile(join(into, name), "utf8"));
    return { ...result, into, stack: () => yaml("stack.yaml"), launch: () => yaml("launch/stack.launch.yaml") };
  };

  const talkerListener = {
    metadata: {
      name: "Muto Talker-Listener Demo",
      description: "Two nodes of demo_nodes_cpp",
      content_type: "stack/json",
    },
    launch: {
      node: [
        { name: "talker", pkg: "demo_nodes_cpp", exec: "talker" },
        { name: "listener", pkg: "demo_nodes_cpp", exec: "listener" },
      ],
    },
  };

  test("stack/json becomes a launch file, a stack's file, and a release that can be pushed", async () => {
    const result = await imported(talkerListener);
    assert.equal(result.code, 0, result.error);
    assert.equal(result.out, `${join(result.into, "stack.yaml")}\n`);
    assert.doesNotMatch(result.error, /warning/);
    assert.deepEqual(await result.launch(), {
      launch: [
        { node: { pkg: "demo_nodes_cpp", exec: "talker", name: "talker" } },
        { node: { pkg: "demo_nodes_cpp", exec: "listener", name: "listener" } },
      ],
    });
    const inspected = await runMuto(["release", "inspect", join(result.into, "stack.yaml"), "--output", "json"]);
    assert.equal(inspected.code, 0, inspected.error);
    const view: { stack: { name: string; workloads: readonly Record<string, unknown>[] } } = JSON.parse(inspected.out);
    assert.equal(view.stack.name, "muto-talker-listener-demo");
    const [workload] = view.stack.workloads;
    assert.deepEqual(workload?.["argv"], ["ros2", "launch", "stack.launch.yaml"]);
    assert.deepEqual(workload?.["setup"], ["/opt/ros/humble/setup.bash"]);
  });

  test("arguments, parameters, remappings, containers and substitutions are carried over", async () => {
    const result = await imported(
      {
        name: "F1tenth gym",
        stackId: "org.example:gym.launch",
        context: "track",
        arg: [{ name: "map", value: "$(find gym_ros)/maps/track.yaml" }],
        param: [{ name: "use_sim_time", value: "True" }],
        node: [
          {
            name: "map_server",
            namespace: "gym",
            pkg: "nav2_map_server",
            exec: "map_server",
            args: "--ros-args --log-level $(optenv LEVEL info)",
            output: "screen",
            param: [
              { name: "yaml_filename", value: "$(arg map)" },
              { name: "rate", value: "20" },
              { name: "gain", value: "0.5" },
              { name: "names", value: ["map_server"] },
              { from: "$(find gym_ros)/config/sim.yaml" },
            ],
            remap: [{ from: "map", to: "/track/map" }],
            env: [{ name: "RCUTILS_COLORIZED_OUTPUT", value: 0 }],
            unless: "$(arg headless)",
          },
        ],
        composable: [
          {
            name: "pipeline",
            namespace: "",
            package: "rclcpp_components",
            executable: "component_container_mt",
            node: [
              { pkg: "composition", plugin: "composition::Server", name: "server", namespace: "/gym" },
              {
                pkg: "composition",
                plugin: "composition::Client",
                name: "client",
                param: [{ name: "on", value: true }],
              },
            ],
          },
        ],
      },
      "--graph",
    );
    assert.equal(result.code, 0, result.error);
    assert.doesNotMatch(result.error, /warning/);
    assert.deepEqual(await result.launch(), {
      launch: [
        { arg: { name: "map", default: "$(find-pkg-share gym_ros)/maps/track.yaml" } },
        { set_parameter: { name: "use_sim_time", value: true } },
        {
          node: {
            pkg: "nav2_map_server",
            exec: "map_server",
            name: "map_server",
            namespace: "gym",
            args: "--ros-args --log-level $(env LEVEL info)",
            output: "screen",
            unless: "$(var headless)",
            env: [{ name: "RCUTILS_COLORIZED_OUTPUT", value: "0" }],
            param: [
              { name: "yaml_filename", value: "$(var map)" },
              { name: "rate", value: 20 },
              { name: "gain", value: 0.5 },
              { name: "names", value: ["map_server"] },
              { from: "$(find-pkg-share gym_ros)/config/sim.yaml" },
            ],
            remap: [{ from: "map", to: "/track/map" }],
          },
        },
        {
          node_container: {
            pkg: "rclcpp_components",
            exec: "component_container_mt",
            name: "pipeline",
            namespace: "",
            composable_node: [
              { pkg: "composition", plugin: "composition::Server", name: "server", namespace: "/gym" },
              {
                pkg: "composition",
                plugin: "composition::Client",
                name: "client",
                param: [{ name: "on", value: true }],
              },
            ],
          },
        },
      ],
    });
    const inspected = await runMuto(["release", "inspect", join(result.into, "stack.yaml")]);
    for (const node of ["/gym/map_server", "/pipeline", "/gym/server", "/client"])
      assert.ok(inspected.out.includes(`${node} is in the graph`), node);
  });

  test("what cannot be carried over is listed with its place, and with --strict nothing is written", async () => {
    const definition = {
      metadata: { name: "old", content_type: "stack/json" },
      launch: {
        stack: [{ thingId: "org.example:other" }],
        param: [{ from: "all.yaml" }],
        node: [
          { pkg: "a", exec: "b", lifecycle: "start", param: [{ name: "x", command: "hostname" }], args: "$(eval 1+1)" },
          { pkg: "a", name: "no-exec" },
          { pkg: "a", exec: "b", respawn: true },
        ],
        composable: [{ name: "c", node: [{ pkg: "p" }] }, {}],
      },
    };
    const places = [
      "/launch/stack/0",
      "/launch/param/0",
      "/launch/node/0/lifecycle",
      "/launch/node/0/param/0/command",
      "/launch/node/0/args",
      "/launch/node/1",
      "/launch/node/2/respawn",
      "/launch/composable/0/node/0",
      "/launch/composable/1",
    ];
    const loose = await imported(definition);
    assert.equal(loose.code, 0);
    for (const place of places) assert.ok(loose.error.includes(`warning: ${place} `), `${place} in ${loose.error}`);
    assert.equal(
      loose.error.split("\n").filter((line) => line.startsWith("warning:")).length,
      places.length,
      loose.error,
    );
    const strict = await imported(definition, "--strict");
    assert.equal(strict.code, 1);
    assert.match(strict.error, /nothing was written/);
    assert.deepEqual(
      (await readdir(root)).filter((name) => strict.into.endsWith(name) || name.includes("partial")),
      [],
    );
    const json = await imported(definition, "--output", "json");
    const printed: { findings: readonly { place: string }[] } = JSON.parse(json.out);
    assert.deepEqual(new Set(printed.findings.map(({ place }) => place)), new Set(places));
  });

  const workspace = (top: string, ...names: readonly string[]) =>
    tarOf(names.map((name) => ({ name: `${top}${name}`, bytes: Buffer.from(`# ${name}\n`) })));
  const archiveOf = (bytes: Uint8Array, properties: Record<string, unknown> = {}) => ({
    metadata: { name: "Talker Archive", content_type: "stack/archive" },
    launch: {
      data: Buffer.from(bytes).toString("base64"),
      properties: {
        algorithm: "sha256",
        checksum: createHash("sha256").update(bytes).digest("hex"),
        launch_file: "launch/talker_listener.launch.py",
        command: "launch",
        launch_args: [
          { name: "rate", default: "10" },
          { name: "robot", value: "r1" },
        ],
        ros_args: [],
        flatten: true,
        ...properties,
      },
    },
  });
  const BUILT = ["launch/talker_listener.launch.py", "install/local_setup.bash", "config/talker.yaml"] as const;

  test("stack/archive is unpacked, checked, and launched as before", async () => {
    const result = await imported(archiveOf(gzipSync(await workspace("", ...BUILT))), "--version", "2.1.0");
    assert.equal(result.code, 0, result.error);
    assert.doesNotMatch(result.error, /warning/);
    assert.equal(await readFile(join(result.into, "workspace/config/talker.yaml"), "utf8"), "# config/talker.yaml\n");
    const inspected = await runMuto(["release", "inspect", join(result.into, "stack.yaml"), "--output", "json"]);
    assert.equal(inspected.code, 0, inspected.error);
    const { stack }: { stack: { version: string; workloads: readonly Record<string, unknown>[] } } = JSON.parse(
      inspected.out,
    );
    assert.equal(stack.version, "2.1.0");
    assert.deepEqual(stack.workloads[0]?.["argv"], ["ros2", "launch", "launch/talker_listener.launch.py"]);
    assert.deepEqual(stack.workloads[0]?.["launchArguments"], { rate: "10", robot: "r1" });
    assert.deepEqual(stack.workloads[0]?.["setup"], ["/opt/ros/humble/setup.bash", "install/local_setup.bash"]);
  });

  test("a sole folder at the top is taken off, a named one is taken, and a plain tar is read, too", async () => {
    const nested = await imported(archiveOf(await workspace("sample-stack/", ...BUILT)));
    assert.equal(nested.code, 0, nested.error);
    assert.match(await readFile(join(nested.into, "stack.yaml"), "utf8"), /archive: \.\/workspace\/sample-stack/);
    const both = Buffer.concat([gzipSync(await tarOf([...BUILT, "other"].map((name) => ({ name: `x/y/${name}` }))))]);
    const named = await imported(archiveOf(both, { subdir: "x/y", flatten: false }));
    assert.equal(named.code, 0, named.error);
    assert.match(await readFile(join(named.into, "stack.yaml"), "utf8"), /archive: \.\/workspace\/x\/y/);
  });

  test("sources have to be built first, and release push says so until they are", async () => {
    const sources = await workspace("", "launch/talker_listener.launch.py", "src/talker/package.xml");
    const result = await imported(archiveOf(gzipSync(sources)));
    assert.equal(result.code, 0);
    assert.match(result.error, /warning: \/launch the archive holds sources; build them/);
    const early = await runMuto(["release", "inspect", join(result.into, "stack.yaml")]);
    assert.equal(early.code, 1);
    assert.match(
      early.error,
      /stack\.yaml:\d+: \/workloads\/0\/setup\/1 install\/local_setup\.bash is not in the archive/,
    );
    assert.equal((await imported(archiveOf(gzipSync(sources)), "--strict")).code, 1);
  });

  test("an archive that lies elsewhere is not fetched, and is taken from a file that was", async () => {
    const bytes = gzipSync(await workspace("", ...BUILT));
    const { metadata, launch } = archiveOf(bytes);
    const elsewhere = { metadata, launch: { url: "https://example.com/stack.tar.gz", properties: launch.properties } };
    const refused = await imported(elsewhere);
    assert.equal(refused.code, 1);
    assert.match(refused.error, /lies at https:\/\/example\.com\/stack\.tar\.gz[\s\S]*--archive DOWNLOADED/);
    await writeFile(join(root, "stack.tar.gz"), bytes);
    assert.equal((await imported(elsewhere, "--archive", join(root, "stack.tar.gz"))).code, 0);
    await writeFile(join(root, "stack.tar.gz"), "other");
    assert.match(
      (await imported(elsewhere, "--archive", join(root, "stack.tar.gz"))).error,
      /not what its checksum says/,
    );
  });

  test("hostile archives are refused (climbing out, writing through links, devices)", async () => {
    const situations = [
      { entries: [{ name: "../outside" }], problem: "escapes" },
      { entries: [{ name: "/etc/passwd" }], problem: "absolute-path" },
      { entries: [{ name: "link", linkname: "../../outside" }], problem: "link-escapes" },
    ];
    for (const { entries, problem } of situations) {
      const result = await imported(archiveOf(gzipSync(await tarOf(entries))));
      assert.equal(result.code, 1);
      assert.ok(result.error.includes(`the archive is refused: ${problem}`), result.error);
    }
    const names = await readdir(root);
    assert.ok(!names.includes("outside") && !names.some((name) => name.includes("partial")));
  });

  test("a launch file outside of the archive is refused, and one that is missing is listed", async () => {
    const bytes = gzipSync(await workspace("", "launch/other.launch.py"));
    assert.match((await imported(archiveOf(bytes, { launch_file: "../x" }))).error, /names no file of the archive/);
    const missing = await imported(archiveOf(bytes));
    assert.match(
      missing.error,
      /warning: \/launch\/properties\/launch_file launch\/talker_listener\.launch\.py is not/,
    );
  });

  test("a solution is opened, compressed or not", async () => {
    const solution = (data: Uint8Array) => ({
      metadata: { name: "talker-listener" },
      spec: {
        components: [
          { name: "s", type: "muto-agent", properties: { type: "stack", data: Buffer.from(data).toString("base64") } },
        ],
      },
    });
    const text = Buffer.from(JSON.stringify(talkerListener));
    for (const data of [text, gzipSync(text)]) {
      const result = await imported(solution(data));
      assert.equal(result.code, 0, result.error);
    }
  });

  const refusals: readonly (readonly [name: string, definition: unknown, message: RegExp])[] = [
    ["stack/git", { metadata: { content_type: "stack/git" }, launch: {} }, /names sources[\s\S]*docs\/stacks\.md/],
    [
      "a script of a repository",
      { url: "https://example.com/x.git", branch: "main", on_start: "start.sh" },
      /starts scripts/,
    ],
    ["an unknown type", { metadata: { content_type: "stack/native" }, launch: {} }, /stack\/native is not known/],
    ["an instance of a solution", { spec: { solution: "talker:1" } }, /import the solution talker:1/],
    ["a solution without a stack", { spec: { components: [] } }, /no component of the solution holds a stack/],
    [
      "a solution that is broken",
      { spec: { components: [{ properties: { type: "stack", data: "e30=x" } }] } },
      /no stack|cannot be read/,
    ],
    [
      "nothing to launch",
      { metadata: { name: "a", content_type: "stack/json" }, launch: { node: [] } },
      /launches nothing/,
    ],
    ["no launch", { metadata: { name: "a", content_type: "stack/json" } }, /stack\/json without launch/],
    ["a list", [], /no stack of Eclipse Muto/],
    ["no JSON", "{", /neither JSON nor YAML/],
    ["an archive that is none", archiveOf(Buffer.from("PK\u0003\u0004")), /neither tar nor tar\.gz/],
    ["an archive that is empty", archiveOf(Buffer.alloc(0)), /no archive in base64[\s\S]*--archive/],
  ];
  for (const [name, definition, message] of refusals) {
    test(`refuses ${name}, and says what to do`, async () => {
      const result = await imported(definition);
      assert.equal(result.code, 1);
      assert.match(result.error, message);
    });
  }

  test("needs to know the vehicles' ROS, and never writes over anything", async () => {
    const file = join(root, "plain.json");
    await writeFile(file, JSON.stringify(talkerListener));
    const unsaid = await runMuto(["import", file, "--into", join(root, "unsaid")]);
    assert.equal(unsaid.code, 2);
    assert.match(unsaid.error, /which ROS[\s\S]*--distro humble/);
    const full = await runMuto(["import", file, "--into", root, "--distro", "humble"]);
    assert.equal(full.code, 1);
    assert.match(full.error, /is not empty/);
    const own = await imported(talkerListener, "--setup", "/opt/muto/setup.bash", "--name", "Demo");
    assert.equal(own.code, 0, own.error);
    assert.match(await readFile(join(own.into, "stack.yaml"), "utf8"), /name: demo\n[\s\S]*- \/opt\/muto\/setup\.bash/);
  });
});
