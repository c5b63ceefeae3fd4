import type { Release, StackRef } from "@muto/spec";
import type { Input } from "./command.ts";
import type { Io } from "./io.ts";

/** Prints a result: the contract's JSON for programs, the rendering for people. */
export function show<T>(input: Input, io: Io, value: T, render: (value: T) => string): void {
  io.out(input.text("output") === "json" ? `${JSON.stringify(value, null, 2)}\n` : render(value));
}

export function stackText(stack: StackRef | null): string {
  return stack === null ? "-" : `${stack.name} ${stack.version}`;
}

export function codesText(codes: readonly string[]): string {
  return codes.length === 0 ? "-" : codes.join(" ");
}

/** "page 1 of 3, 45 in all" below a list that did not fit; nothing otherwise. */
export function pageText(metadata: {
  readonly page: number;
  readonly totalPages: number;
  readonly totalItems: number;
}): string {
  return metadata.totalPages <= 1
    ? ""
    : `page ${metadata.page} of ${metadata.totalPages}, ${metadata.totalItems} in all\n`;
}

/** The page and limit that every list takes. */
export const pageOptions = {
  page: { about: "page of the list", type: "number" },
  limit: { about: "rows per page, up to 200", type: "number" },
} as const;

export function pageQuery(input: Input): { readonly page?: number; readonly limit?: number } {
  return defined({ page: input.number("page"), limit: input.number("limit") });
}

/** The value of an option with choices, as one of them. */
export function chosen<T extends string>(input: Input, name: string, choices: readonly T[]): T | undefined {
  return choices.find((choice) => choice === input.text(name));
}

/** The same object without the keys whose value is undefined. */
export function defined<T extends object>(value: T): { readonly [Key in keyof T]?: Exclude<T[Key], undefined> } {
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  const clean: { readonly [Key in keyof T]?: Exclude<T[Key], undefined> } = Object.assign(
    {},
    ...entries.map(([key, one]) => ({ [key]: one })),
  );
  return clean;
}

export function signatureText(release: Release): string {
  const { signaturePresent, signatureVerified } = release.security;
  return signatureVerified ? "verified" : signaturePresent ? "NOT VERIFIED" : "none";
}

/** 950 B, 12 kB, 3.4 MB, 1.25 GB: decimal units, as registries and disks count. */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${Math.round(bytes / 1000)} kB`;
  return bytes < 1_000_000_000 ? `${(bytes / 1_000_000).toFixed(1)} MB` : `${(bytes / 1_000_000_000).toFixed(2)} GB`;
}
