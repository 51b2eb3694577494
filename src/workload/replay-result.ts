/** What a replay reports; docs/replay.md explains each field. Field names are stable: scripts and CI read them. */

/** The run at one moment; counts and bytes are totals since the start. */
export interface ReplaySample {
  readonly atMs: number;
  readonly requests: number;
  readonly chunksRequested: number;
  readonly chunksHit: number;
  readonly l1UsedBytes: number;
  /** Payload bytes that an L2 adapter has confirmed. Without adapters: bytes committed to L1. */
  readonly storedBytes: number;
  /** Payload bytes loaded into the engine's memory and verified. */
  readonly loadedBytes: number;
  /** Chunks committed in L1 whose store is still owed to an adapter. */
  readonly queuedChunks: number;
  /** Writers that wait for room in L1. */
  readonly waitingWriters: number;
}

/** Chunk stores of one adapter that ended for one reason. */
export interface StoreLoss {
  readonly adapter: string;
  readonly ending: "failed" | "dropped";
  readonly reason: string;
  readonly chunks: number;
}

export interface ReplayResult {
  readonly trace: string;
  readonly requests: number;
  readonly chunks: { readonly requested: number; readonly hit: number; readonly stored: number };
  /** Leading chunks found, over all chunks requested. */
  readonly prefixHitRatio: number;
  /** What the same requests would give in a store that starts empty and never loses a chunk. */
  readonly infinitePrefixHitRatio: number;
  readonly bytes: { readonly stored: number; readonly loaded: number; readonly verified: number; readonly wrong: number };
  readonly l1: { readonly capacityBytes: number; readonly peakBytes: number; readonly usedBytesAtEnd: number };
  /** One per committed chunk, over all adapters that owed it; each ends as exactly one of the other three. */
  readonly obligations: { readonly created: number; readonly stored: number; readonly failed: number; readonly dropped: number };
  /** What the failed and dropped ones ended for, per adapter and reason; `none` = no adapter was named for them. */
  readonly storeLosses: readonly StoreLoss[];
  readonly seconds: number;
  readonly payloadBytesPerBlock: number;
  readonly seed: number;
  readonly brokenLines: number;
  /** Longest time that the process's event loop could not serve anybody else. */
  readonly eventLoopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly policies: { readonly eviction: string; readonly store: string; readonly prefetch: string };
  readonly adapters: readonly string[];
  /** One sentence per promise of kvferry that did not hold; empty in every run that is not a bug or an error. */
  readonly problems: readonly string[];
  /** What a store refused or lost: counted, reported, and a miss later. */
  readonly warnings: readonly string[];
  /** Set when a signal ended the run early. */
  readonly interruptedBy: "SIGINT" | "SIGTERM" | "SIGHUP" | null;
}
