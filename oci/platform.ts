/** In the words of the OCI image specification, which are Go's: `linux`, `amd64`, `arm64`, `arm` with variant `v7`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** `linux/arm64`, `linux/arm/v7`; undefined when it is no platform. */
export function parsePlatform(text: string): Platform | undefined {
  const [, os, architecture, variant] =
    /^([a-z0-9]{1,32})\/([a-z0-9_]{1,32})(?:\/([a-z0-9_.]{1,32}))?$/.exec(text) ?? [];
  if (os === undefined || architecture === undefined) return undefined;
  return variant === undefined ? { os, architecture } : { os, architecture, variant };
}

export function platformText({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** The platform that an image's configuration or an index's entry names. */
export function platformIn(value: unknown): Platform | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const os = "os" in value ? value.os : undefined;
  const architecture = "architecture" in value ? value.architecture : undefined;
  const variant = "variant" in value ? value.variant : undefined;
  if (typeof os !== "string" || typeof architecture !== "string") return undefined;
  return typeof variant === "string" && variant !== "" ? { os, architecture, variant } : { os, architecture };
}

/** Whether an image for `platform` is what was asked for. Who asks for no variant takes any. */
export function isFor(platform: Platform, wanted: Platform): boolean {
  if (platform.os !== wanted.os || platform.architecture !== wanted.architecture) return false;
  return wanted.variant === undefined || variantOf(platform) === variantOf(wanted);
}

/** On arm64 everybody means `v8` by saying nothing. */
export function variantOf({ architecture, variant }: Platform): string | undefined {
  return variant ?? (architecture === "arm64" ? "v8" : undefined);
}
