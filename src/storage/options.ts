import type { Clock } from "../base/clock.ts";
import type { Counters } from "../base/counters.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { KeyBatch } from "../keys/key-batch.ts";
import type { ObjectLayout } from "../keys/layout.ts";
import type { ObjectKey } from "../keys/object-key.ts";
import type { L1Audit } from "../l1/index.ts";
import type { ArenaStats } from "../native/binding.ts";
import type { NativeRuntime } from "../native/runtime.ts";

/** What a storage gets from outside (law 8); all of it has a default for real use. */
export interface StorageDependencies {
  readonly clock?: Clock;
  readonly random?: Random;
  readonly logger?: Logger;
  readonly counters?: Counters;
  /** A runtime that the caller owns and closes; the simulation passes a stepped one. */
  readonly runtime?: NativeRuntime;
  /** Most memory the process may use; default: what the kernel says. */
  readonly memoryLimitBytes?: number;
}

/** Keys of one object group and rank, one per chunk, with what their bytes mean. */
export interface KeyRow {
  readonly keys: KeyBatch | readonly ObjectKey[];
  readonly layout: ObjectLayout;
  /** -1 (default) = the whole prefix is needed, w >= 1 = its last w chunks. */
  readonly windowChunks?: number;
}

export interface WriteOptions {
  readonly signal?: AbortSignal;
  /** How long to wait for room; default l1.storeWaitMs. Infinity waits until the signal fires. */
  readonly timeoutMs?: number;
}

export interface PrefetchOptions {
  readonly signal?: AbortSignal;
  /** When the prefix in hand is the answer; default l2.loadDeadlineMs. */
  readonly deadlineMs?: number;
  /** "prefix" (default): leading chunks. "full": all found chunks; the hit count is then the chunks present in every row. */
  readonly fetching?: "prefix" | "full";
  /** Whose lease it is, for status. */
  readonly owner?: string;
  /** Distinct readers that will retrieve (deliver) before the lease ends by itself; default 1. */
  readonly deliveries?: number;
  /** Answer from L1 alone. */
  readonly skipL2?: boolean;
}

export interface CloseOptions {
  /** How long open obligations and loads may take; default 30,000. */
  readonly deadlineMs?: number;
}

export interface CloseReport {
  /** Keys whose stores ended because of the close. Their objects are in no adapter that had not stored them. */
  readonly unfinishedKeys: number;
  /** True when some adapter still works on slots: their memory stays mapped until the process ends (law 2). */
  readonly memoryKept: boolean;
}

/** What Storage.audit counts; with no sessions and no I/O all counts are 0 in buffer-only mode. */
export interface StorageAudit extends L1Audit {
  readonly openWrites: number;
  /** Requests that wait for room. */
  readonly waiting: number;
  readonly openObligationKeys: number;
  readonly loadsInFlight: number;
  /** Prefetches that hold a turn, that wait for one, and keys whose staged copy somebody waits for. */
  readonly prefetchTurns: number;
  readonly prefetchQueue: number;
  readonly joinedKeys: number;
  readonly saltsWithBytes: number;
  readonly arena: ArenaStats;
}

/** State in numbers and words; also what `kvferry status` will show. */
export interface StorageStatus {
  readonly l1: Readonly<Record<string, unknown>> & { readonly capacityBytes: number; readonly usedBytes: number; readonly peakUsedBytes: number };
  readonly policies: { readonly store: string; readonly prefetch: string; readonly eviction: string };
  readonly obligations: { readonly openKeys: number; readonly unsentBytes: number; readonly lanes: readonly Record<string, unknown>[] };
  readonly adapters: readonly Record<string, unknown>[];
  readonly engine: unknown;
  readonly counters: Readonly<Record<string, number>>;
}
