/** What a module of src/cli/bench/ exports: `run(options)`, and `summary`, one sentence for the help. */
export interface BenchOptions {
  /** A short run that shows that the benchmark works; its figures are not for publication. */
  readonly quick: boolean;
  /** One line about what is being measured now, for a person who waits. */
  progress(line: string): void;
}

/** One JSON object with figures, ratios and conditions; keys carry their units (`gatherBytesPerSecond`, `seconds`). */
export interface BenchReport {
  readonly figures: Readonly<Record<string, unknown>>;
  /** Two figures of the same run divided: what targets are stated in. */
  readonly ratios: Readonly<Record<string, number>>;
  /** Everything needed to judge and repeat the figures: sizes, counts, threads, what the host refused. */
  readonly conditions: Readonly<Record<string, unknown>>;
  /** False when something that must hold besides speed did not (bytes wrong, L1 not at rest); exit code 1. */
  readonly ok: boolean;
}

export interface BenchModule {
  readonly summary: string;
  run(options: BenchOptions): Promise<BenchReport>;
}
