import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { fileSource } from "./blob-source.ts";
import { imageInDockerArchive, isGzip } from "./docker-archive.ts";
import { gunzipped } from "./gzip.ts";
import { bytesOf, folderFiles, tarFiles } from "./image-files.ts";
import type { ImageFiles } from "./image-files.ts";
import { imageInLayout } from "./image-layout.ts";
import { refuse } from "./image-source.ts";
import type { FoundImage, ImageChoice } from "./image-source.ts";
import { indexTar } from "./tar-index.ts";

/**
 * An image on this computer: an OCI image layout as a folder or as a tar, or what `docker save` or `podman save` wrote; a tar may be
 * compressed with gzip. `outputFolder` exists and takes what has to be made; it must outlive the image.
 */
export async function readLocalImage(
  disk: Disk,
  source: { readonly path: string; readonly outputFolder: string },
  choice: ImageChoice,
): Promise<FoundImage> {
  const { path, outputFolder } = source;
  const found = await disk.stat(path);
  if (found === undefined) return refuse("missing");
  if (found.kind === "folder") {
    return (await imageInLayout(folderFiles(disk, path), choice)) ?? refuse("not-an-image-source");
  }
  const files = await filesInTar(disk, path, outputFolder);
  if (files === undefined) return refuse("not-an-image-source");
  const output = { disk, folder: outputFolder };
  const layout = await imageInLayout(files, choice);
  // Newer Dockers write both forms into one archive, and the layers of the layout are often plain: the other one compresses them.
  const isPlain = layout?.ok === true && layout.image.image.layers.some(({ compression }) => compression === "none");
  const needed = layout === undefined || isPlain || (!layout.ok && layout.problem === "no-such-image");
  const archive = needed ? await imageInDockerArchive(files, choice, output) : undefined;
  if (layout === undefined) return archive ?? refuse("not-an-image-source");
  return archive?.ok === true ? archive : layout;
}

async function filesInTar(disk: Disk, path: string, outputFolder: string): Promise<ImageFiles | undefined> {
  const index = await indexTar(disk, path);
  if (index !== undefined) return tarFiles(disk, path, index);
  await using packed = await disk.open(path, "read");
  const file = { ...fileSource(disk, path), sizeBytes: await packed.sizeBytes() };
  if (!(await isGzip(file))) return undefined;
  const plain = join(outputFolder, "image.tar");
  await disk.remove(plain);
  try {
    await using written = await disk.open(plain, "create", 0o644);
    let offset = 0;
    for await (const chunk of gunzipped(bytesOf(file))) {
      await written.write(offset, chunk);
      offset += chunk.byteLength;
    }
  } catch (error) {
    if (isZlibError(error)) return undefined;
    throw error;
  }
  const inner = await indexTar(disk, plain);
  return inner === undefined ? undefined : tarFiles(disk, plain, inner);
}

function isZlibError(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" && code.startsWith("Z_");
}
