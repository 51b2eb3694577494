/**
 * The three kinds of policy. A policy is a pure decision: no I/O, no timers, no globals, no payload bytes (law 8). It gets ids or key
 * batches, answers synchronously, and may keep its own state. Policies are registered by name (registry.ts) and may come from a
 * user's module by path.
 */
import type { KeyBatch } from "../keys/key-batch.ts";
import type { NamespaceTable } from "../keys/namespace.ts";

/** An adapter as policies see it. */
export interface AdapterDescriptor {
  /** Position in the configuration; never reused in one process. */
  readonly index: number;
  readonly name: string;
  readonly type: string;
}

// ---------------------------------------------------------------------------------------------------------------- store

/** Keys that one adapter must store: all of the batch, or those at `keyIndices` in that order. */
export interface StoreTarget {
  readonly adapterIndex: number;
  readonly keyIndices: "all" | Uint32Array;
}

export interface PolicyContext {
  readonly namespaces: NamespaceTable;
}

/** L1 has no room for a new object and eviction cannot make any. */
export interface StorePressure {
  readonly neededBytes: number;
  /** Bytes of committed objects whose stores have not been sent to any adapter yet: what `drop_oldest` can take from. */
  readonly unsentBytes: number;
  /** What the caller or the configuration allows at most. */
  readonly waitMs: number;
}

/** wait in the admission queue, refuse the new object, or give up the oldest unsent obligations until it fits. */
export type PressureAnswer =
  | { readonly action: "wait"; readonly timeoutMs: number }
  | { readonly action: "drop_newest" }
  | { readonly action: "drop_oldest" };

/** Why an adapter's part of an obligation ended without `stored`. */
export type StoreFailureReason = "no_room" | "too_large" | "io_error" | "refused" | "deadline" | "adapter_threw" | "corrupt";
export type StoreDropReason = "no_target" | "queue_full" | "removed" | "shutdown" | "policy" | "cleared";

/** What becomes of the L1 copy once its obligation has ended. */
export type L1Decision = "keep" | "drop";

/** The ending of one key's obligation, over all adapters it was owed to. */
export interface ObligationEnding {
  readonly storedCount: number;
  readonly failedCount: number;
  readonly droppedCount: number;
}

export interface StorePolicy {
  readonly name: string;
  /** Which adapters must store which keys of one commit. An empty answer is an obligation that ends at once. */
  selectStoreTargets(keys: KeyBatch, adapters: readonly AdapterDescriptor[]): readonly StoreTarget[];
  /** Asked once per key when its obligation has ended in any way. Under `skip_l1` always `drop`. */
  decideL1(ending: ObligationEnding): L1Decision;
  /** Asked when a write must wait for room. Left out: the configured answer (`l2.storePressure`, default wait). */
  onPressure?(pressure: StorePressure): PressureAnswer;
  /** Told after each batch of endings of one adapter. */
  onStored?(adapter: AdapterDescriptor, keys: KeyBatch): void;
  onFailed?(adapter: AdapterDescriptor, keys: KeyBatch, reason: StoreFailureReason): void;
  onDropped?(adapter: AdapterDescriptor | undefined, keys: KeyBatch, reason: StoreDropReason): void;
  /** Told when no obligation is open any more. */
  onIdle?(): void;
}

// ------------------------------------------------------------------------------------------------------------- prefetch

/** One bit per cell: found[row][column] = 1. */
export type FoundRows = readonly Uint8Array[];

export interface PrefetchRow {
  /** -1 = whole prefix; w >= 1 = only the last w chunks of the prefix are needed. */
  readonly windowChunks: number;
}

export interface LoadPlan {
  /** Cells to take from L1, per row. */
  readonly fromL1: FoundRows;
  /** Cells to load per adapter index, per row; a cell is planned at most once. */
  readonly fromL2: ReadonlyMap<number, FoundRows>;
  /** Prefix length, in chunks, that the plan serves if every load succeeds. */
  readonly hitChunks: number;
}

export interface PrefetchPolicy {
  readonly name: string;
  planLoad(
    rows: readonly PrefetchRow[],
    columns: number,
    l1Found: FoundRows,
    l2Found: ReadonlyMap<number, FoundRows>,
    fetching: "prefix" | "full",
  ): LoadPlan;
  /** 1 per key whose loaded copy stays in L1 after its readers are gone; 0 = temporary. */
  planL1Retention(keys: KeyBatch): Uint8Array;
}

// ------------------------------------------------------------------------------------------------------------- eviction

/** Ids are dense small integers (interned keys); a policy may index arrays by them. */
export type EvictionIds = Uint32Array;

/** What an eviction policy may ask about an id. */
export interface EvictionContext {
  /** Salt of a tracked id, as a small integer; what IsolatedLRU separates by. */
  saltId(id: number): number;
  /** Bytes of a tracked id. */
  sizeBytes(id: number): number;
  /**
   * Keeps an id from being recycled while the policy remembers it after its object is gone (ARC's ghosts). Called from within
   * onKeysRemoved, so the owner must give up its own reference only after that call. Every retain is followed by one release.
   */
  retain?(id: number): void;
  release?(id: number): void;
  /** Bytes that a salt holds in this tier now, and what it may hold (Infinity = no limit of its own): what IsolatedLRU shares room by. */
  saltUsage?(saltId: number): SaltUsage;
}

export interface SaltUsage {
  readonly usedBytes: number;
  readonly quotaBytes: number;
}

export interface EvictionPolicy {
  readonly name: string;
  /** True when getEvictionVictims wants a saltId (IsolatedLRU). */
  readonly isolatesSalts: boolean;
  /** False for noop: a full tier cannot be relieved by it. */
  readonly evicts: boolean;
  onKeysCreated(ids: EvictionIds): void;
  /** A write of these keys was reserved. Default: as created. */
  onKeysReserved(ids: EvictionIds): void;
  onKeysTouched(ids: EvictionIds): void;
  onKeysRemoved(ids: EvictionIds): void;
  /**
   * LMCache's rule: clamp ratio to 0..1, n = floor(tracked x ratio), at least 1 if ratio > 0 and anything is tracked; ineligible ids
   * are skipped without counting; oldest first. With `saltId`, only that salt's.
   */
  getEvictionVictims(ratio: number, eligible?: (id: number) => boolean, saltId?: number): Uint32Array;
  /** Oldest eligible ids until `bytes` are covered or nothing is left: what an admission that needs room asks. */
  getVictimsForBytes(bytes: number, eligible?: (id: number) => boolean, saltId?: number): Uint32Array;
  readonly trackedCount: number;
  /** Salts with tracked keys; empty for policies that do not isolate. */
  saltIds(): readonly number[];
}
