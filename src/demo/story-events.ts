/** What a narrator process tells the process that started it: one JSON object per line on its standard output. */
export type StoryEvent =
  | { readonly type: "restored"; readonly tokens: number; readonly chunks: readonly ChunkRecord[]; readonly restoreMs: number; readonly openMs: number }
  | { readonly type: "token"; readonly token: number }
  /** This chunk is on disk: its obligation ended as stored. */
  | { readonly type: "stored"; readonly chunk: ChunkRecord }
  | { readonly type: "done"; readonly l1UsedBytes: number; readonly coldPrefillMs: number };

/** One chunk as a process sees it in its own paged memory. */
export interface ChunkRecord {
  readonly index: number;
  /** SHA-256 of the chunk's image, read from the paged cache without kvferry's copy plan. */
  readonly digest: string;
  readonly bytes: number;
  /** Physical blocks of the paged cache. */
  readonly blocks: readonly number[];
}

/** What a narrator is asked to do: one JSON object as its only argument. */
export interface NarratorOrder {
  readonly modelPath: string;
  readonly tokenizerPath: string;
  readonly name: string;
  /** L2 directory. */
  readonly directory: string;
  /** The text so far, as a client of a serving engine sends it again with every request. */
  readonly tokens: readonly number[];
  /** The text is over when it has this many tokens, or when the model says so. */
  readonly tokensMax: number;
  readonly chunkTokens: number;
  readonly temperature: number;
  readonly seed: number;
  /** Decides which physical blocks are used. */
  readonly blockOrderSeed: number;
  /** Waits this long before each new token, so that a person can read along. */
  readonly paceMs: number;
  /** At the end, measure what computing the restored tokens would have cost. */
  readonly measurePrefill: boolean;
}
