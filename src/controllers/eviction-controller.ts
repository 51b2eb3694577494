import type { Clock, Timer } from "../base/clock.ts";
import type { Counter, Counters } from "../base/counters.ts";
import { errorText } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { PagedUint32Array } from "../base/paged-array.ts";
import { KeyBatch, keyRecordBytes } from "../keys/key-batch.ts";
import type { NamespaceTable } from "../keys/namespace.ts";
import type { L1Manager } from "../l1/index.ts";
import { planL1Eviction, type EvictionContext, type EvictionPolicy, type QuotaTable, type SaltUsage } from "../policies/index.ts";

export interface EvictionOptions {
  readonly triggerWatermark: number;
  readonly evictionRatio: number;
}

/** While L1 is over its watermark, one pass per this time, as LMCache's loop has it. Below it no timer runs. */
const passPauseMs = 1_000;

/**
 * Keeps the eviction policy informed of what L1 holds and carries out what it decides: at once when an admission needs room, and in
 * passes while usage is at or above the watermark. A policy that throws is counted and reported, and the loop goes on.
 */
export class EvictionController {
  readonly #l1: L1Manager;
  readonly #policy: EvictionPolicy;
  readonly #namespaces: NamespaceTable;
  readonly #quotas: QuotaTable;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #options: EvictionOptions;
  readonly #evictedKeys: Counter;
  readonly #evictedBytes: Counter;
  readonly #policyErrors: Counter;
  /** Bytes by salt id and by key id, kept for policies that isolate salts. */
  readonly #saltBytes = new Map<number, number>();
  readonly #keyBytes = new PagedUint32Array();
  readonly #keySalt = new PagedUint32Array();
  #timer: Timer | undefined;
  #closed = false;

  constructor(
    dependencies: {
      readonly l1: L1Manager;
      readonly createPolicy: (context: EvictionContext) => EvictionPolicy;
      readonly namespaces: NamespaceTable;
      readonly quotas: QuotaTable;
      readonly clock: Clock;
      readonly counters: Counters;
      readonly logger: Logger;
    },
    options: EvictionOptions,
  ) {
    this.#l1 = dependencies.l1;
    this.#namespaces = dependencies.namespaces;
    this.#quotas = dependencies.quotas;
    this.#clock = dependencies.clock;
    this.#logger = dependencies.logger;
    this.#options = options;
    this.#policy = dependencies.createPolicy(this.#context());
    const { counters } = dependencies;
    this.#evictedKeys = counters.counter("kvferry_l1_evicted_keys_total");
    this.#evictedBytes = counters.counter("kvferry_l1_evicted_bytes_total");
    this.#policyErrors = counters.counter("kvferry_policy_errors_total", { kind: "eviction", policy: this.#policy.name });
    if (this.#policy.evicts) this.#observe();
  }

  get policy(): EvictionPolicy {
    return this.#policy;
  }

  /** Evicts at least `bytes` if the policy can; returns the bytes given up. Salts over their quota pay first. */
  makeRoom(bytes: number): number {
    if (!this.#policy.evicts) return 0;
    return this.#evict(this.#ask(() => this.#policy.getVictimsForBytes(bytes, (id) => this.#l1.isEvictable(id))));
  }

  /** One pass of LMCache's loop: watermark and ratio (salts over quota first where the policy isolates). Returns the bytes given up. */
  pass(): number {
    const tier = {
      usedBytes: this.#l1.usedBytes,
      capacityBytes: this.#l1.arena.capacityBytes,
      salts: this.#policy.isolatesSalts ? [...this.#saltBytes.keys()].map((saltId) => ({ saltId, ...this.#saltUsage(saltId) })) : undefined,
      sizeBytes: (id: number) => this.#l1.residentBytes(id),
    };
    return this.#evict(this.#ask(() => planL1Eviction(this.#policy, tier, this.#options, (id) => this.#l1.isEvictable(id))));
  }

  bytesBySalt(): Record<string, number> {
    return Object.fromEntries([...this.#saltBytes].map(([saltId, bytes]) => [this.#namespaces.saltName(saltId), bytes]));
  }

  /** Salts that hold bytes in L1 now, kept only for policies that isolate salts. */
  get saltCount(): number {
    return this.#saltBytes.size;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #evict(victims: Uint32Array | undefined): number {
    if (victims === undefined || victims.length === 0) return 0;
    const before = this.#l1.residentCount;
    const bytes = this.#l1.evict(victims);
    this.#evictedKeys.add(before - this.#l1.residentCount);
    this.#evictedBytes.add(bytes);
    return bytes;
  }

  #observe(): void {
    const policy = this.#policy;
    this.#l1.observe({
      onReserved: (ids) => this.#ask(() => policy.onKeysReserved(ids)),
      onWritten: (ids) => {
        this.#account(ids);
        this.#ask(() => policy.onKeysCreated(ids));
        this.#watch();
      },
      onLoaded: (ids) => {
        this.#account(ids);
        this.#ask(() => policy.onKeysCreated(ids));
        this.#watch();
      },
      onTouched: (ids) => this.#ask(() => policy.onKeysTouched(ids)),
      onRemoved: (ids) => {
        this.#ask(() => policy.onKeysRemoved(ids));
        this.#unaccount(ids);
      },
    });
  }

  /** Arms the next pass when usage has reached the watermark (or a salt its quota). */
  #watch(): void {
    if (this.#timer !== undefined || this.#closed) return;
    const isOver = this.#l1.usedBytes >= this.#options.triggerWatermark * this.#l1.arena.capacityBytes;
    if (!isOver && !this.#policy.isolatesSalts) return;
    this.#timer = this.#clock.setTimer(passPauseMs, () => {
      this.#timer = undefined;
      if (this.#closed) return;
      const freedBytes = this.pass();
      // A salt gives up a part per pass: it may still be over its quota when nothing is written any more.
      const saltPaid = this.#policy.isolatesSalts && freedBytes > 0;
      if (saltPaid || this.#l1.usedBytes >= this.#options.triggerWatermark * this.#l1.arena.capacityBytes) this.#watch();
    });
  }

  #context(): EvictionContext {
    const one = new Uint32Array(1);
    return {
      saltId: (id) => this.#saltOf(id),
      sizeBytes: (id) => this.#l1.residentBytes(id),
      retain: (id) => {
        one[0] = id;
        this.#l1.keys.retain(one);
      },
      release: (id) => {
        one[0] = id;
        this.#l1.keys.release(one);
      },
      saltUsage: (saltId) => this.#saltUsage(saltId),
    };
  }

  #saltUsage(saltId: number): SaltUsage {
    return { usedBytes: this.#saltBytes.get(saltId) ?? 0, quotaBytes: this.#quotas.get(this.#namespaces.saltName(saltId)) };
  }

  #saltOf(id: number): number {
    const record = new Uint8Array(keyRecordBytes);
    this.#l1.keys.records(Uint32Array.of(id), record);
    return this.#namespaces.saltId(new KeyBatch(record).namespaceId(0));
  }

  /** The keys' resident bytes count for their salts from now on. */
  #account(ids: Uint32Array): void {
    if (!this.#policy.isolatesSalts) return;
    for (const id of ids) {
      const saltId = this.#saltOf(id);
      const bytes = this.#l1.residentBytes(id);
      this.#saltBytes.set(saltId, (this.#saltBytes.get(saltId) ?? 0) + bytes - this.#keyBytes.get(id));
      this.#keyBytes.set(id, bytes);
      this.#keySalt.set(id, saltId);
    }
  }

  #unaccount(ids: Uint32Array): void {
    if (!this.#policy.isolatesSalts) return;
    for (const id of ids) {
      const bytes = this.#keyBytes.get(id);
      if (bytes === 0) continue;
      const saltId = this.#keySalt.get(id);
      const left = (this.#saltBytes.get(saltId) ?? 0) - bytes;
      if (left > 0) this.#saltBytes.set(saltId, left);
      else this.#saltBytes.delete(saltId);
      this.#keyBytes.set(id, 0);
    }
  }

  #ask<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.#policyErrors.add(1);
      this.#logger.error("eviction_policy", `eviction policy ${this.#policy.name} threw: ${errorText(error)}`);
      return undefined;
    }
  }
}
