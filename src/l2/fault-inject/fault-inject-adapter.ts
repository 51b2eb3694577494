/**
 * `fault_inject`: another adapter behind a seeded source of trouble. Each fault is counted (`kvferry_fault_injected_total{fault}`), so that
 * a test can ask whether what it wanted to see has happened.
 *
 * Faults end inside the contract except two that are there to break it: `throw` (a call that throws instead of rejecting) and
 * `corrupt_silently` (wrong bytes answered `loaded`, which no adapter may do: it shows that the checks above the adapter work).
 * `never` holds a call until close(), which settles it as failed; it does not listen to the signal, as a hung disk does not.
 */
import { createHash } from "node:crypto";

import { AdapterError, ClosedError } from "../../base/errors.ts";
import { type Random, SeededRandom } from "../../base/random.ts";
import type { KeyBatch } from "../../keys/key-batch.ts";
import { allIndices, answerAll, checkBatch, pickBatch, pickSlots } from "../batches.ts";
import {
  type AdapterContext,
  type AdapterSpec,
  type L2Adapter,
  type L2CallOptions,
  type L2Capabilities,
  type L2Health,
  type L2Usage,
  LoadStatus,
  type ObjectBatch,
  StoreStatus,
} from "../contract.ts";
import { Operations } from "../operations.ts";

/** Probabilities that every call has. */
interface CallFaults {
  readonly delay: number;
  readonly delay_ms: number;
  readonly throw: number;
  readonly reject: number;
  readonly never: number;
}

export interface FaultInjectSpec {
  readonly inner: { readonly [field: string]: unknown };
  readonly seed: number;
  readonly rate: number;
  readonly gap_indices: readonly number[];
  readonly gap_tail_ratios: readonly number[];
  readonly store: CallFaults & { readonly fail: number; readonly refuse: number; readonly no_room: number; readonly lie: number; readonly partial: number };
  readonly load: CallFaults & { readonly fail: number; readonly short: number; readonly corrupt: number; readonly corrupt_silently: number; readonly partial: number };
  readonly lookup: CallFaults & { readonly fail: number; readonly false_yes: number; readonly false_no: number };
  readonly delete: CallFaults & { readonly fail: number };
}

export async function openFaultInjectAdapter(spec: FaultInjectSpec, context: AdapterContext): Promise<L2Adapter> {
  // The registry has parsed `inner`, so it has a type.
  return new FaultInjectAdapter(spec, context, await context.open(spec.inner as AdapterSpec, "inner"));
}

class FaultInjectAdapter implements L2Adapter {
  readonly type = "fault_inject";
  readonly name: string;
  readonly capabilities: L2Capabilities;
  readonly #spec: FaultInjectSpec;
  readonly #context: AdapterContext;
  readonly #inner: L2Adapter;
  readonly #random: Random;
  readonly #operations: Operations;
  readonly #hung = new Set<() => void>();
  readonly list: L2Adapter["list"];

  constructor(spec: FaultInjectSpec, context: AdapterContext, inner: L2Adapter) {
    this.#spec = spec;
    this.#context = context;
    this.#inner = inner;
    this.name = context.name;
    this.#random = new SeededRandom(spec.seed);
    this.#operations = new Operations(`adapter ${context.name}`);
    this.capabilities = inner.capabilities;
    if (inner.list !== undefined) this.list = inner.list.bind(inner);
  }

  describe(): string {
    return `${this.name}: FAULTS ARE INJECTED (seed ${this.#spec.seed}) into ${this.#inner.describe()}`;
  }

  store(batch: ObjectBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    checkBatch(batch);
    const faults = this.#spec.store;
    return this.#call("store", faults, batch.keys, StoreStatus.failed, async () => {
      const statuses = answerAll(batch.keys, StoreStatus.failed);
      const sent: number[] = [];
      const end = this.#partialEnd("store", faults.partial, batch.keys.count);
      for (const index of allIndices(end)) {
        if (this.#strikes("store_fail", faults.fail)) continue;
        if (this.#strikes("store_refuse", faults.refuse)) statuses[index] = StoreStatus.refused;
        else if (this.#strikes("store_no_room", faults.no_room)) statuses[index] = StoreStatus.skippedNoRoom;
        else if (this.#strikes("store_lie", faults.lie)) statuses[index] = StoreStatus.stored;
        else sent.push(index);
      }
      if (sent.length > 0) copyAnswers(await this.#inner.store(pickBatch(batch, sent), options), sent, statuses);
      return statuses;
    });
  }

  lookup(keys: KeyBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    const faults = this.#spec.lookup;
    return this.#call("lookup", faults, keys, 0, async () => {
      if (this.#strikes("lookup_fail", faults.fail)) return answerAll(keys, 0);
      const found = (await this.#inner.lookup(keys, options)).slice();
      for (let index = 0; index < found.length; index++) {
        if (found[index] === 0 && this.#strikes("lookup_false_yes", faults.false_yes)) found[index] = 1;
        else if (found[index] === 1 && this.#strikes("lookup_false_no", faults.false_no)) found[index] = 0;
      }
      return found;
    });
  }

  load(batch: ObjectBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    checkBatch(batch);
    const faults = this.#spec.load;
    return this.#call("load", faults, batch.keys, LoadStatus.failed, async () => {
      const statuses = answerAll(batch.keys, LoadStatus.failed);
      const asked: number[] = [];
      const gaps = this.#gaps(batch.keys);
      const end = this.#partialEnd("load", faults.partial, batch.keys.count);
      for (const index of allIndices(end)) {
        if (gaps.has(index)) statuses[index] = LoadStatus.missing;
        else if (!this.#strikes("load_fail", faults.fail)) asked.push(index);
      }
      if (asked.length > 0) copyAnswers(await this.#inner.load(pickBatch(batch, asked), options), asked, statuses);
      for (const index of asked) if (statuses[index] === LoadStatus.loaded) statuses[index] = this.#spoil(batch, index);
      return statuses;
    });
  }

  delete(keys: KeyBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    const faults = this.#spec.delete;
    return this.#call("delete", faults, keys, 0, async () => {
      const gone = answerAll(keys, 0);
      const sent = allIndices(keys.count).filter(() => !this.#strikes("delete_fail", faults.fail));
      if (sent.length > 0) copyAnswers(await this.#inner.delete(keys.pick(sent), options), sent, gone);
      return gone;
    });
  }

  usage(): L2Usage {
    return this.#inner.usage();
  }

  health(): L2Health {
    const { ready, problems } = this.#inner.health();
    return { ready: ready && !this.#operations.closed, problems };
  }

  async close(): Promise<void> {
    const closing = this.#operations.close();
    for (const release of this.#hung) release();
    await closing;
    await this.#inner.close();
  }

  /** Faults that every call has, then the call itself. */
  #call(word: string, faults: CallFaults, keys: KeyBatch, failed: number, start: () => Promise<Uint8Array>): Promise<Uint8Array> {
    if (this.#operations.closed) return Promise.reject(new ClosedError(`adapter ${this.name}`));
    if (this.#strikes(`${word}_throw`, faults.throw)) throw new AdapterError(this.name, `injected: ${word} throws`, { retryable: true });
    return this.#operations.run(async () => {
      if (this.#strikes(`${word}_never`, faults.never)) {
        await this.#hang();
        return answerAll(keys, failed);
      }
      if (this.#strikes(`${word}_delay`, faults.delay)) await this.#delay(faults.delay_ms * this.#random.nextFloat());
      if (this.#strikes(`${word}_reject`, faults.reject)) throw new AdapterError(this.name, `injected: ${word} rejects`, { retryable: true });
      return start();
    });
  }

  #hang(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#operations.closed) resolve();
      else this.#hung.add(resolve);
    });
  }

  /** close() cuts delays short, as it does hangs. */
  #delay(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        this.#hung.delete(end);
        resolve();
      };
      const timer = this.#context.clock.setTimer(delayMs, end, { keepAlive: true });
      this.#hung.add(end);
    });
  }

  #strikes(fault: string, probability: number): boolean {
    // No draw for faults that are off: turning one on must not move the sequence of the others further than it has to.
    if (probability <= 0 || this.#random.nextFloat() >= probability) return false;
    this.#context.counters.counter("kvferry_fault_injected_total", { adapter: this.name, fault }).add(1);
    return true;
  }

  #partialEnd(word: string, probability: number, count: number): number {
    return count > 0 && this.#strikes(`${word}_partial`, probability) ? this.#random.nextBelow(count) : count;
  }

  /** Positions that LMCache's fields make miss. */
  #gaps(keys: KeyBatch): Set<number> {
    const { gap_indices, gap_tail_ratios, rate, seed } = this.#spec;
    const gaps = new Set<number>(gap_indices);
    for (const ratio of gap_tail_ratios) gaps.add(Math.round((1 - ratio) * (keys.count - 1)));
    if (rate > 0)
      for (let index = 0; index < keys.count; index++) if (keyDraw(keys, index, seed, this.#context) < Math.trunc(rate * 1_000_000)) gaps.add(index);
    const struck = allIndices(keys.count).filter((index) => gaps.has(index)).length;
    if (struck > 0) this.#context.counters.counter("kvferry_fault_injected_total", { adapter: this.name, fault: "load_gap" }).add(struck);
    return gaps;
  }

  /** Damages a loaded slot as the draws say; returns what the load answers then. */
  #spoil(batch: ObjectBatch, index: number): LoadStatus {
    const { short, corrupt, corrupt_silently } = this.#spec.load;
    const size = batch.sizes[index];
    const slot = batch.slots.subarray(index * 2, index * 2 + 2);
    if (this.#strikes("load_short", short)) {
      const arrived = this.#random.nextBelow(size);
      batch.arena.write(slot[0], slot[1], arrived, new Uint8Array(size - arrived));
      return LoadStatus.failed;
    }
    if (this.#strikes("load_corrupt", corrupt)) {
      const before = checksumOf(batch, index);
      this.#flipByte(batch, index);
      return checksumOf(batch, index) === before ? LoadStatus.loaded : LoadStatus.corrupt;
    }
    if (this.#strikes("load_corrupt_silently", corrupt_silently)) this.#flipByte(batch, index);
    return LoadStatus.loaded;
  }

  #flipByte(batch: ObjectBatch, index: number): void {
    const offset = this.#random.nextBelow(batch.sizes[index]);
    const bytes = new Uint8Array(batch.sizes[index]);
    batch.arena.read(batch.slots[index * 2], batch.slots[index * 2 + 1], 0, bytes);
    batch.arena.write(batch.slots[index * 2], batch.slots[index * 2 + 1], offset, Uint8Array.of(bytes[offset] ^ (1 << this.#random.nextBelow(8))));
  }
}

function checksumOf(batch: ObjectBatch, index: number): number {
  const checksum = new Uint32Array(1);
  batch.arena.checksums(pickSlots(batch.slots, [index]), checksum);
  return checksum[0];
}

/** LMCache's draw per key: the same key misses every time, in every process with this seed. */
function keyDraw(keys: KeyBatch, index: number, seed: number, context: AdapterContext): number {
  const { chunkHash, modelName, kvRank, objectGroupId, cacheSalt } = keys.objectKey(index, context.namespaces);
  const text = `${seed}:${Buffer.from(chunkHash).toString("hex")}:${modelName}:${kvRank}:${objectGroupId}:${cacheSalt}`;
  // BLAKE2b with an 8-byte digest is not BLAKE2b-512 cut short, and Node offers only the latter: the draw is as even, the keys it hits differ.
  return Number(createHash("blake2b512").update(text).digest().readBigUInt64BE(0) % 1_000_000n);
}

function copyAnswers(answers: Uint8Array, indices: readonly number[], target: Uint8Array): void {
  indices.forEach((index, position) => (target[index] = answers[position]));
}
