/** What the demonstration claims, each seen or not in the control plane's own records. */
export interface Expectations {
  /** Records one; `seen` says what the records showed. */
  expect(claim: string, holds: boolean, seen: string): void;
  readonly failed: readonly string[];
  summary(): string;
}

export function createExpectations(): Expectations {
  const rows: { claim: string; holds: boolean; seen: string }[] = [];
  return {
    expect: (claim, holds, seen) => {
      rows.push({ claim, holds, seen });
    },
    get failed() {
      return rows.filter(({ holds }) => !holds).map(({ claim }) => claim);
    },
    summary: () => {
      const width = Math.max(0, ...rows.map(({ claim }) => claim.length));
      return rows
        .map(({ claim, holds, seen }) => `${holds ? "yes" : "NO "}  ${claim.padEnd(width)}  ${seen}\n`)
        .join("");
    },
  };
}
