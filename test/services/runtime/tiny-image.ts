import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { bytesSource } from "@muto/oci/blob-source";
import { digestOf } from "@muto/oci/digest";
import { parseImageManifest } from "@muto/oci/image-manifest";
import type { SourceImage } from "@muto/oci/image-source";
import { OCI_IMAGE_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from "@muto/oci/media-types";

/** Folder in which an image keeps the programs of a test. */
export const PROGRAMS = "/app";

const APPLETS = [
  "sh",
  "sleep",
  "httpd",
  "cat",
  "ls",
  "echo",
  "mkdir",
  "id",
  "wget",
  "kill",
  "env",
  "true",
  "false",
  "trap",
];

/**
 * An image from scratch: a statically linked busybox, and executable programs by name. Made by hand, byte for byte the same each
 * time, so that no other tool has to be trusted with what is tested.
 */
export function tinyImage(busybox: string, programs: Readonly<Record<string, string>>): SourceImage {
  const base = tar([
    folder("bin/"),
    folder("tmp/"),
    folder("run/"),
    folder("muto/"),
    file("bin/busybox", readFileSync(busybox)),
    ...APPLETS.map((applet) => link(`bin/${applet}`, "busybox")),
  ]);
  const own = tar([
    folder("app/"),
    ...Object.entries(programs).map(([name, text]) => file(`app/${name}`, Buffer.from(text))),
  ]);
  const layers = [base, own].map((bytes) => ({ diffId: digestOf(bytes), packed: new Uint8Array(gzipSync(bytes)) }));
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  const config = json({
    architecture,
    os: "linux",
    config: { Env: ["PATH=/bin"], Cmd: ["/bin/sleep", "1000000"] },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(() => ({ created: "1970-01-01T00:00:00Z", created_by: "muto" })),
  });
  const manifestBytes = json({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: descriptor(OCI_IMAGE_CONFIG, config),
    layers: layers.map(({ packed }) => descriptor(OCI_LAYER_GZIP, packed)),
  });
  const parsed = parseImageManifest(manifestBytes);
  if (!parsed.ok) throw new Error(`the test's own image is none: ${parsed.problem}`);
  const blobs = new Map([config, ...layers.map(({ packed }) => packed)].map((bytes) => [digestOf(bytes), bytes]));
  return {
    digest: digestOf(manifestBytes),
    manifestBytes,
    image: parsed.image,
    platform: { os: "linux", architecture },
    blob: (digest) => {
      const bytes = blobs.get(digest);
      if (bytes === undefined) throw new Error(`the image has no blob ${digest}`);
      return bytesSource(bytes);
    },
  };
}

interface Entry {
  readonly path: string;
  readonly type: "0" | "2" | "5";
  readonly bytes: Uint8Array;
  readonly target: string;
}

function folder(path: string): Entry {
  return { path, type: "5", bytes: new Uint8Array(), target: "" };
}

function file(path: string, bytes: Uint8Array): Entry {
  return { path, type: "0", bytes, target: "" };
}

function link(path: string, target: string): Entry {
  return { path, type: "2", bytes: new Uint8Array(), target };
}

function tar(entries: readonly Entry[]): Uint8Array {
  const parts = entries.flatMap(({ path, type, bytes, target }) => {
    const header = Buffer.alloc(512);
    const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, "0")}\0`;
    header.write(path, 0);
    header.write(octal(0o755, 8), 100);
    header.write(octal(0, 8), 108);
    header.write(octal(0, 8), 116);
    header.write(octal(bytes.byteLength, 12), 124);
    header.write(octal(0, 12), 136);
    header.write("        ", 148);
    header.write(type, 156);
    header.write(target, 157);
    header.write("ustar\x0000", 257);
    header.write(
      `${header
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, "0")}\0 `,
      148,
    );
    return [header, bytes, Buffer.alloc((512 - (bytes.byteLength % 512)) % 512)];
  });
  return new Uint8Array(Buffer.concat([...parts, Buffer.alloc(1024)]));
}

function descriptor(mediaType: string, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  return { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
}

function json(value: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(value)));
}
