import type { ChunkRecord, StoryEvent } from "./story-events.ts";

/** What is known of process one after its death: its text, and what it said it had stored. */
export interface FirstHalf {
  readonly tokens: readonly number[];
  readonly stored: readonly ChunkRecord[];
  readonly signal: string;
}

/** What process two says at its start and end, and the whole text. */
export interface SecondHalf {
  readonly tokens: readonly number[];
  readonly restored: Extract<StoryEvent, { type: "restored" }>;
  readonly done: Extract<StoryEvent, { type: "done" }>;
}

/** What the demo found out. `ok` is true when every promise held. */
export interface StoryReport {
  readonly model: string;
  readonly text: string;
  readonly tokens: number;
  /** Tokens that process one had written when it was killed. */
  readonly killedAtToken: number;
  readonly signal: string;
  /** Chunks that process one reported as on disk before it died. */
  readonly chunksReportedStored: number;
  readonly chunksRestored: number;
  readonly chunkBytes: number;
  readonly restoredTokens: number;
  readonly computedTokens: number;
  /** Restored chunks whose bytes differ from what process one had in its cache. */
  readonly wrongChunks: number;
  readonly sameBlocks: number;
  readonly restoreMs: number;
  readonly prefillMs: number;
  readonly l1UsedBytesAtEnd: number;
  readonly textEqual: boolean;
  readonly ok: boolean;
}

export interface StoryEvidence {
  readonly model: string;
  readonly text: string;
  readonly chunkTokens: number;
  /** The tokens of a run that nobody interrupted. */
  readonly expected: readonly number[];
  readonly first: FirstHalf;
  readonly second: SecondHalf;
}

/** Holds the two halves against each other and against the uninterrupted run. */
export function judge({ model, text, chunkTokens, expected, first, second }: StoryEvidence): StoryReport {
  const { restored, done } = second;
  const originals = new Map(first.stored.map((chunk) => [chunk.index, chunk]));
  const compared = restored.chunks.filter((chunk) => originals.has(chunk.index));
  const wrongChunks = compared.filter((chunk) => originals.get(chunk.index)?.digest !== chunk.digest).length;
  const sameBlocks = compared.filter((chunk) => String(originals.get(chunk.index)?.blocks) === String(chunk.blocks)).length;
  const textEqual = String(second.tokens) === String(expected);
  // The last token is computed in any case, so a chunk that ends with it is not asked for, nor are those beyond the text.
  const promised = leadingCount(originals, Math.floor((first.tokens.length - 1) / chunkTokens));
  return {
    model,
    text,
    tokens: second.tokens.length,
    killedAtToken: first.tokens.length,
    signal: first.signal,
    chunksReportedStored: first.stored.length,
    chunksRestored: restored.chunks.length,
    chunkBytes: restored.chunks[0]?.bytes ?? 0,
    restoredTokens: restored.tokens,
    computedTokens: first.tokens.length - restored.tokens,
    wrongChunks,
    sameBlocks,
    restoreMs: restored.restoreMs,
    prefillMs: done.coldPrefillMs,
    l1UsedBytesAtEnd: done.l1UsedBytes,
    textEqual,
    ok: textEqual && wrongChunks === 0 && sameBlocks === 0 && compared.length > 0 && restored.chunks.length >= promised && done.l1UsedBytes === 0,
  };
}

/** How many of the first `limit` chunks are there without a gap. */
function leadingCount(chunks: ReadonlyMap<number, unknown>, limit: number): number {
  let count = 0;
  while (count < limit && chunks.has(count)) count++;
  return count;
}
