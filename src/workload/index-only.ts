/**
 * Hit ratios of a trace at a given capacity, by keys alone. The rule, for every request in order:
 * 1. count the leading ids that are present, before anything is touched: these are its hits (a prefix cache can use no others);
 * 2. for each id in touch order: one that is present is touched (LRU moves it to the young end, FIFO leaves it); one that is absent
 *    is inserted young, after exactly the oldest was evicted if the cache is full, the request's own ids included.
 * No pins, no watermark, no ratio: the eviction policy alone decides, and it is the same class that runs in L1.
 */
import { assert } from "../base/assert.ts";
import type { TraceRequest } from "./trace.ts";

export type TouchOrder = "head-first" | "tail-first";
export const touchOrders: readonly TouchOrder[] = ["head-first", "tail-first"];

/** What the rule asks of an eviction policy; every policy of src/policies/eviction fits. */
export interface IndexPolicy {
  readonly name: string;
  readonly evicts: boolean;
  onKeysCreated(ids: Uint32Array): void;
  onKeysTouched(ids: Uint32Array): void;
  onKeysRemoved(ids: Uint32Array): void;
  getVictimsForBytes(bytes: number): Uint32Array;
}

/** In this simulation every chunk has size 1, so that a capacity in blocks is one in bytes, and all belong to one salt. */
export const indexPolicyContext = { saltId: () => 0, sizeBytes: () => 1 } as const;

export interface IndexOnlyResult {
  readonly requests: number;
  readonly chunks: { readonly requested: number; readonly hit: number; readonly unique: number };
  /** Hits over requested chunks. */
  readonly prefixHitRatio: number;
  readonly evictions: number;
  readonly residentAtEnd: number;
  /** What a cache that never evicts would reach on the same requests. */
  readonly infinitePrefixHitRatio: number;
}

/** One simulation; feed it requests, then read the result. */
export class IndexOnlySimulation {
  readonly #policy: IndexPolicy;
  readonly #capacityBlocks: number;
  readonly #touchOrder: TouchOrder;
  /** Hash ids may be any 53-bit number; policies want small dense ones. */
  readonly #denseIds = new Map<number, number>();
  #present = new Uint8Array(1 << 16);
  #residentCount = 0;
  #requests = 0;
  #requested = 0;
  #hit = 0;
  #infiniteHit = 0;
  #evictions = 0;

  constructor(policy: IndexPolicy, capacityBlocks: number, touchOrder: TouchOrder) {
    if (!policy.evicts) throw new RangeError(`policy ${policy.name} evicts nothing, so a capacity in blocks has no meaning for it`);
    if (!Number.isSafeInteger(capacityBlocks) || capacityBlocks < 1) throw new RangeError(`capacityBlocks must be an integer of 1 or more, got ${capacityBlocks}`);
    this.#policy = policy;
    this.#capacityBlocks = capacityBlocks;
    this.#touchOrder = touchOrder;
  }

  add(request: Pick<TraceRequest, "hashIds">): void {
    const known = this.#denseIds.size;
    const ids = Uint32Array.from(request.hashIds, (hashId) => this.#denseId(hashId));
    let infiniteHits = 0;
    while (infiniteHits < ids.length && ids[infiniteHits] <= known) infiniteHits++;
    let hits = 0;
    while (hits < ids.length && this.#present[ids[hits]] === 1) hits++;
    this.#requests++;
    this.#requested += ids.length;
    this.#hit += hits;
    this.#infiniteHit += infiniteHits;
    if (this.#touchOrder === "head-first") for (let index = 0; index < ids.length; index++) this.#touch(ids[index]);
    else for (let index = ids.length - 1; index >= 0; index--) this.#touch(ids[index]);
  }

  result(): IndexOnlyResult {
    return {
      requests: this.#requests,
      chunks: { requested: this.#requested, hit: this.#hit, unique: this.#denseIds.size },
      prefixHitRatio: ratio(this.#hit, this.#requested),
      evictions: this.#evictions,
      residentAtEnd: this.#residentCount,
      infinitePrefixHitRatio: ratio(this.#infiniteHit, this.#requested),
    };
  }

  #touch(id: number): void {
    const batch = Uint32Array.of(id);
    if (this.#present[id] === 1) {
      this.#policy.onKeysTouched(batch);
      return;
    }
    if (this.#residentCount === this.#capacityBlocks) {
      const victims = this.#policy.getVictimsForBytes(1);
      assert(victims.length === 1 && this.#present[victims[0]] === 1, `policy ${this.#policy.name} must name one resident victim when the cache is full`);
      this.#present[victims[0]] = 0;
      this.#policy.onKeysRemoved(victims);
      this.#residentCount--;
      this.#evictions++;
    }
    this.#present[id] = 1;
    this.#residentCount++;
    this.#policy.onKeysCreated(batch);
  }

  /** Dense ids count from 1 in order of first appearance. */
  #denseId(hashId: number): number {
    const known = this.#denseIds.get(hashId);
    if (known !== undefined) return known;
    const id = this.#denseIds.size + 1;
    this.#denseIds.set(hashId, id);
    if (id >= this.#present.length) {
      const larger = new Uint8Array(this.#present.length * 2);
      larger.set(this.#present);
      this.#present = larger;
    }
    return id;
  }
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
