import { readFileSync } from "node:fs";
import { bytesSource } from "@muto/oci/blob-source";
import { parseImageManifest } from "@muto/oci/image-manifest";
import type { SourceImage } from "@muto/oci/image-source";
import { makeImage } from "../../../demo/image.ts";

/** Folder in which an image keeps the programs of a test. */
export const PROGRAMS = "/app";

const APPLETS = ["sh", "sleep", "httpd", "cat", "ls", "echo", "mkdir", "setsid", "id", "env"];

/** An image of a statically linked busybox, and executable programs by name. */
export function tinyImage(busybox: string, programs: Readonly<Record<string, string>>): SourceImage {
  const base = [
    { path: "bin/busybox", bytes: readFileSync(busybox) },
    ...APPLETS.map((applet) => ({ path: `bin/${applet}`, target: "busybox" })),
  ];
  const own = Object.entries(programs).map(([name, text]) => ({ path: `app/${name}`, bytes: Buffer.from(text) }));
  const made = makeImage([base, own], { Env: ["PATH=/bin"], Cmd: ["/bin/sleep", "1000000"] });
  const parsed = parseImageManifest(made.manifestBytes);
  if (!parsed.ok) throw new Error(`the test's own image is none: ${parsed.problem}`);
  return {
    digest: made.digest,
    manifestBytes: made.manifestBytes,
    image: parsed.image,
    platform: { os: "linux", architecture: made.architecture },
    blob: (digest) => {
      const bytes = made.blobs.get(digest);
      if (bytes === undefined) throw new Error(`the image has no blob ${digest}`);
      return bytesSource(bytes);
    },
  };
}
