/**
 * The contract of an L2 adapter: one store of objects that outlives L1. Everything is per batch, every answer is per key, and nothing
 * pretends (laws 1 and 4): "skipped for lack of room" is not "stored", a short or foreign load is not "loaded".
 *
 * Rules for implementers (the conformance suite in kvferry/testing checks them):
 * - `store` and `load` may touch the slots of a batch until their promise settles, and never after. The caller holds I/O on the slots
 *   for that time, so the memory cannot be given to anybody else.
 * - A promise that rejects means every key of the batch failed with that error. It must not leave work running on the slots.
 * - `load` must verify length, key, image and checksum before it answers `loaded`; otherwise the slot's bytes are garbage to everybody.
 * - Batches run concurrently. The first completed store of a key wins; later ones answer `already_present`.
 * - Options carry a deadline as an AbortSignal: work that has not started is given up, work that runs is finished or stopped before the
 *   promise settles.
 */
import type { Clock } from "../base/clock.ts";
import type { Counters } from "../base/counters.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { KeyBatch } from "../keys/key-batch.ts";
import type { NamespaceTable } from "../keys/namespace.ts";
import type { NativeArena, SlotRefs } from "../native/binding.ts";
import type { NativeRuntime } from "../native/runtime.ts";

/** What happened to one key of a store. */
export const StoreStatus = {
  stored: 0,
  /** The adapter already holds a complete object of this key: nothing is owed any more. */
  alreadyPresent: 1,
  /** No room, and the adapter could not or may not make any. */
  skippedNoRoom: 2,
  /** Larger than the adapter can ever hold. */
  skippedTooLarge: 3,
  /** An error; trying again may help. */
  failed: 4,
  /** An error; trying again will not help (read-only, refused by the other side). */
  refused: 5,
} as const;
export type StoreStatus = (typeof StoreStatus)[keyof typeof StoreStatus];

/** What happened to one key of a load. Everything but `loaded` is a miss. */
export const LoadStatus = {
  loaded: 0,
  missing: 1,
  /** Checksum, length or format is wrong; the adapter forgets (and where it can, deletes) the object. */
  corrupt: 2,
  /** An intact object of another key or image. */
  foreign: 3,
  failed: 4,
} as const;
export type LoadStatus = (typeof LoadStatus)[keyof typeof LoadStatus];

/** Capability manifest: what callers may rely on, instead of instanceof. */
export interface L2Capabilities {
  /** Objects are there again after the process ends. */
  readonly persistent: boolean;
  /** The adapter knows its capacity and usage; usage() is meaningful. */
  readonly accountsBytes: boolean;
  /** The adapter evicts by itself when full. */
  readonly evicts: boolean;
  /** list() works. */
  readonly lists: boolean;
  /** Several processes may use the same place at once. */
  readonly shared: boolean;
  /** Payload bytes pass through JavaScript (about 10 us per object and one thread). */
  readonly throughJavaScript: boolean;
}

/** Objects of one store or load: key i lies in slot i. */
export interface ObjectBatch {
  readonly keys: KeyBatch;
  readonly arena: NativeArena;
  /** Pairs [index, generation]. */
  readonly slots: SlotRefs;
  /** Object bytes per key. */
  readonly sizes: Uint32Array;
}

export interface L2CallOptions {
  readonly signal?: AbortSignal;
}

export interface L2Usage {
  readonly usedBytes: number;
  /** 0 = no limit known. */
  readonly capacityBytes: number;
  readonly objectCount: number;
  /** Positive entries only. */
  readonly bytesBySalt: Readonly<Record<string, number>>;
}

/** State in words for status and banner; `problems` is empty when all is well. */
export interface L2Health {
  readonly ready: boolean;
  readonly problems: readonly string[];
}

export interface L2Adapter {
  readonly type: string;
  /** Unique among the adapters of a storage: `fs`, `fs#1`. */
  readonly name: string;
  readonly capabilities: L2Capabilities;
  /** One line for the start-up banner: place, limits that follow, what was refused and why. */
  describe(): string;
  /** One StoreStatus per key. */
  store(batch: ObjectBatch, options?: L2CallOptions): Promise<Uint8Array>;
  /** 1 per key that a load would probably find, else 0. Existence is never proof: load decides. */
  lookup(keys: KeyBatch, options?: L2CallOptions): Promise<Uint8Array>;
  /** One LoadStatus per key. */
  load(batch: ObjectBatch, options?: L2CallOptions): Promise<Uint8Array>;
  /**
   * Synchronous and free of I/O: 1 per key whose complete object the adapter is known to hold, so that nothing is owed to it. Left out
   * by adapters that would have to ask somebody.
   */
  holds?(keys: KeyBatch): Uint8Array;
  /** 1 per key that was there and is gone now, else 0. */
  delete(keys: KeyBatch, options?: L2CallOptions): Promise<Uint8Array>;
  usage(): L2Usage;
  health(): L2Health;
  /** Pages of keys with sizes, in no particular order. */
  list?(): AsyncIterable<{ readonly keys: KeyBatch; readonly sizes: Uint32Array }>;
  /** Waits for the adapter's own outstanding work, then frees everything. Idempotent. */
  close(): Promise<void>;
}

/** What an eviction policy asks an adapter about an id of its own index. */
export interface AdapterEvictionContext {
  saltId(id: number): number;
  sizeBytes(id: number): number;
  /** What a salt holds in this adapter and what it may hold (Infinity = no limit of its own). */
  saltUsage(saltId: number): { readonly usedBytes: number; readonly quotaBytes: number };
  /** Keeps an id from naming another object while the policy remembers it after its object is gone. Every retain is followed by one release. */
  retain(id: number): void;
  release(id: number): void;
}

/** The part of policies/contract.ts's EvictionPolicy that adapters call. Ids are the adapter's own dense integers. */
export interface AdapterEvictionPolicy {
  readonly name: string;
  readonly isolatesSalts: boolean;
  readonly evicts: boolean;
  readonly trackedCount: number;
  onKeysCreated(ids: Uint32Array): void;
  onKeysTouched(ids: Uint32Array): void;
  onKeysRemoved(ids: Uint32Array): void;
  getEvictionVictims(ratio: number, eligible?: (id: number) => boolean, saltId?: number): Uint32Array;
  getVictimsForBytes(bytes: number, eligible?: (id: number) => boolean, saltId?: number): Uint32Array;
  saltIds(): readonly number[];
}

/** What every adapter gets; nothing else from outside (law 8). */
export interface AdapterContext {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly namespaces: NamespaceTable;
  /** Engine and arena factory; in a simulation the stepped ones. */
  readonly native: NativeRuntime;
  /** An eviction policy by its configured name; passed in, because policies live above this room. */
  createEvictionPolicy(name: string, context: AdapterEvictionContext): AdapterEvictionPolicy;
  /** Bytes this salt may hold under an isolating policy; undefined = no quota is kept here. */
  quotaBytes?(cacheSalt: string): number | undefined;
  /** Makes an adapter from a nested spec, for wrappers such as fault_inject. */
  open(spec: AdapterSpec, nameSuffix: string): Promise<L2Adapter>;
}

/** One `--l2-adapter` JSON object: `type` and the fields of that type, LMCache's spelling. */
export interface AdapterSpec {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Names that a spec may use and that rooms above this one know. Left out: kvferry's own. */
export interface KnownNames {
  readonly evictionPolicies: readonly string[];
  /** Checks a spec inside a spec, as fault_inject has one; set by the registry. */
  readonly parseNested?: (spec: unknown, path: string) => AdapterSpec;
}

/** How a type of adapter is known to the registry. */
export interface AdapterType {
  readonly type: string;
  /** One sentence for help and errors. */
  readonly summary: string;
  /** Refuses a spec with a ConfigError naming `path.field`, what came and what is allowed (with the nearest known name); returns it with defaults filled in. Opens nothing. */
  parse(spec: AdapterSpec, path: string, known?: Partial<KnownNames>): AdapterSpec;
  open(spec: AdapterSpec, context: AdapterContext): Promise<L2Adapter>;
  /** JSON Schema of the spec, for `--print-config-schema` and the docs. */
  readonly jsonSchema: Record<string, unknown>;
}
