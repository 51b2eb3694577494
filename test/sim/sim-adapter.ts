/**
 * An L2 adapter for the simulation: remembers which keys it holds, checks every byte it is given against the key's payload, and goes wrong
 * in every way the contract knows, by its own seeded stream. It keeps the contract otherwise: it touches slots only until it answers.
 */
import type { Clock } from "../../src/base/clock.ts";
import { AdapterError } from "../../src/base/errors.ts";
import type { Random } from "../../src/base/random.ts";
import { type KeyBatch, keyRecordBytes } from "../../src/keys/key-batch.ts";
import {
  type L2Adapter,
  type L2CallOptions,
  type L2Capabilities,
  type L2Health,
  type L2Usage,
  LoadStatus,
  type ObjectBatch,
  StoreStatus,
} from "../../src/l2/contract.ts";
import type { Faults } from "./faults.ts";
import { isPayloadOf, payloadOf } from "./payload.ts";

export interface SimAdapterOptions {
  readonly name: string;
  readonly latencyMs: number;
  /** Answers aborted calls at once instead of letting them run. */
  readonly heedsSignals: boolean;
  /** Implements holds(). */
  readonly knowsKeys: boolean;
  /** Later than every deadline of the storage. */
  readonly lateMs: number;
}

export interface SimAdapterContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly faults: Faults;
  /** Something happened that must never happen. */
  readonly fail: (message: string) => void;
  /** Notes for the trace. */
  readonly note: (text: string) => void;
}

export class SimAdapter implements L2Adapter {
  readonly type = "sim";
  readonly name: string;
  readonly capabilities: L2Capabilities = { persistent: true, accountsBytes: false, evicts: false, lists: false, shared: false, throughJavaScript: true };
  readonly holds: L2Adapter["holds"];
  /** Keys it holds, by the hex of their records. */
  readonly held = new Set<string>();
  /** Keys answered stored or already present, over all calls. */
  storedAnswers = 0;
  closed = false;
  readonly #options: SimAdapterOptions;
  readonly #context: SimAdapterContext;
  readonly #hung = new Set<() => void>();
  /** Slot indices under the calls that have not been answered, with counts. */
  readonly #slotsInUse = new Map<number, number>();
  #windowUntilMs = 0;
  #window: "none" | "no_space" | "bandwidth_zero" = "none";

  constructor(options: SimAdapterOptions, context: SimAdapterContext) {
    this.name = options.name;
    this.#options = options;
    this.#context = context;
    if (options.knowsKeys) this.holds = (keys) => this.#holds(keys);
  }

  describe(): string {
    return `${this.name}: simulated`;
  }

  get slotsInUse(): ReadonlyMap<number, number> {
    return this.#slotsInUse;
  }

  async #store(batch: ObjectBatch, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const { faults } = this.#context;
    const count = batch.keys.count;
    this.#checkBytes(batch, signal, "at the start of a store");
    await this.#work("store", signal);
    if (this.#gaveUp(signal)) return new Uint8Array(count).fill(StoreStatus.failed);
    this.#checkBytes(batch, signal, "at the end of a store");
    if (faults.strikes("store_reject")) throw new AdapterError(this.name, "injected: the store rejects");
    const statuses = new Uint8Array(count);
    const noSpace = this.#inWindow("no_space");
    const end = count > 1 && faults.strikes("store_partial") ? this.#context.random.nextBelow(count) : count;
    for (let index = 0; index < count; index++) statuses[index] = this.#storeKey(batch.keys, index, index < end, noSpace);
    if (faults.strikes("store_wrong_length")) return new Uint8Array(count + 1);
    for (const status of statuses) if (status === StoreStatus.stored || status === StoreStatus.alreadyPresent) this.storedAnswers++;
    return statuses;
  }

  #storeKey(keys: KeyBatch, index: number, inPart: boolean, noSpace: boolean): StoreStatus {
    const { faults } = this.#context;
    const key = keyText(keys, index);
    if (this.held.has(key)) return StoreStatus.alreadyPresent;
    if (!inPart || faults.strikes("store_fail")) return StoreStatus.failed;
    if (noSpace || faults.strikes("store_no_room")) return StoreStatus.skippedNoRoom;
    if (faults.strikes("store_refuse")) return StoreStatus.refused;
    if (faults.strikes("store_too_large")) return StoreStatus.skippedTooLarge;
    if (!faults.strikes("store_lie")) this.held.add(key);
    return StoreStatus.stored;
  }

  store(batch: ObjectBatch, { signal }: L2CallOptions = {}): Promise<Uint8Array> {
    this.#begin("store", batch.keys.count);
    return this.#using(batch, () => this.#store(batch, signal));
  }

  load(batch: ObjectBatch, { signal }: L2CallOptions = {}): Promise<Uint8Array> {
    this.#begin("load", batch.keys.count);
    for (let index = 0; index < batch.keys.count; index++)
      if (this.#slotsInUse.has(batch.slots[2 * index])) this.#context.fail(`${this.name} must load into slot ${batch.slots[2 * index]}, which it still works on`);
    return this.#using(batch, () => this.#load(batch, signal));
  }

  async #load(batch: ObjectBatch, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const { faults, random } = this.#context;
    const count = batch.keys.count;
    // The first bytes arrive at once, the rest at the end: a slot that changed hands in between would be seen by its next reader.
    for (let index = 0; index < count; index++) this.#write(batch, index, signal, Uint8Array.of(0xee));
    await this.#work("load", signal);
    if (this.#gaveUp(signal)) return new Uint8Array(count).fill(LoadStatus.failed);
    const statuses = new Uint8Array(count);
    for (let index = 0; index < count; index++) statuses[index] = this.#loadKey(batch, index, signal);
    if (faults.strikes("load_reject")) throw new AdapterError(this.name, "injected: the load rejects");
    if (faults.strikes("load_wrong_length")) return new Uint8Array(random.nextBelow(count));
    return statuses;
  }

  #loadKey(batch: ObjectBatch, index: number, signal: AbortSignal | undefined): LoadStatus {
    const { faults, random } = this.#context;
    const key = keyText(batch.keys, index);
    const size = batch.sizes[index];
    if (!this.held.has(key) || faults.strikes("load_missing")) return LoadStatus.missing;
    if (faults.strikes("load_fail")) return LoadStatus.failed;
    const payload = payloadOf(recordOf(batch.keys, index), size);
    if (faults.strikes("load_short")) {
      this.#write(batch, index, signal, payload.subarray(0, random.nextBelow(size)));
      return LoadStatus.failed;
    }
    if (faults.strikes("load_corrupt")) {
      payload[random.nextBelow(size)] ^= 1 << random.nextBelow(8);
      this.#write(batch, index, signal, payload);
      this.held.delete(key);
      return LoadStatus.corrupt;
    }
    if (faults.strikes("load_foreign")) {
      const other = recordOf(batch.keys, index).slice();
      other[0] ^= 0xff;
      this.#write(batch, index, signal, payloadOf(other, size));
      return LoadStatus.foreign;
    }
    this.#write(batch, index, signal, payload);
    return LoadStatus.loaded;
  }

  async lookup(keys: KeyBatch, { signal }: L2CallOptions = {}): Promise<Uint8Array> {
    const { faults, random } = this.#context;
    this.#begin("lookup", keys.count);
    if (faults.strikes("lookup_hang")) await this.#hang();
    const slow = faults.strikes("lookup_slow") ? 1000 : 1;
    await this.#sleep(slow * this.#options.latencyMs * random.nextFloat() * 0.2, signal);
    if (faults.strikes("lookup_reject")) throw new AdapterError(this.name, "injected: the lookup rejects");
    if (faults.strikes("lookup_wrong_length")) return new Uint8Array(keys.count + 2).fill(1);
    const found = new Uint8Array(keys.count);
    for (let index = 0; index < keys.count; index++) {
      const key = keyText(keys, index);
      if (faults.strikes("lost_behind_back")) this.held.delete(key);
      const isHeld = this.held.has(key);
      found[index] = isHeld ? (faults.strikes("lookup_false_no") ? 0 : 1) : faults.strikes("lookup_false_yes") ? 1 : 0;
    }
    return found;
  }

  delete(keys: KeyBatch): Promise<Uint8Array> {
    const gone = new Uint8Array(keys.count);
    for (let index = 0; index < keys.count; index++) gone[index] = this.held.delete(keyText(keys, index)) ? 1 : 0;
    return Promise.resolve(gone);
  }

  usage(): L2Usage {
    return { usedBytes: 0, capacityBytes: 0, objectCount: this.held.size, bytesBySalt: {} };
  }

  health(): L2Health {
    return { ready: !this.closed, problems: [] };
  }

  /** Ends what hangs, waits for what runs. */
  async close(): Promise<void> {
    const { faults } = this.#context;
    this.closed = true;
    this.release();
    while (this.#slotsInUse.size > 0) await Promise.resolve();
    if (faults.strikes("close_slow")) await new Promise<void>((resolve) => void this.#context.clock.setTimer(200 * this.#options.latencyMs, resolve));
    if (faults.strikes("close_reject")) throw new AdapterError(this.name, "injected: close rejects");
  }

  /** Lets hanging calls go on. */
  release(): void {
    for (const resume of [...this.#hung]) resume();
  }

  // ----------------------------------------------------------------------------------------------------------- faults

  /** What every call does first; may throw synchronously, which no adapter should. */
  #begin(word: "store" | "load" | "lookup", count: number): void {
    this.#context.note(`${this.name}.${word} ${count}`);
    if (this.closed) throw new AdapterError(this.name, "is closed");
    if (this.#context.faults.strikes(`${word}_throw`)) throw new AdapterError(this.name, `injected: ${word} throws`);
  }

  async #work(word: "store" | "load", signal: AbortSignal | undefined): Promise<void> {
    const { faults, random } = this.#context;
    this.#openWindow();
    let latencyMs = this.#options.latencyMs * (0.2 + random.nextFloat());
    if (faults.strikes(`${word}_slow`)) latencyMs *= 1000;
    if (faults.strikes(`${word}_late`)) latencyMs += this.#options.lateMs;
    if (faults.strikes(`${word}_never`)) await this.#hang();
    if (this.#inWindow("bandwidth_zero")) latencyMs += Math.max(0, this.#windowUntilMs - this.#context.clock.nowMs());
    await this.#sleep(latencyMs, signal);
  }

  #gaveUp(signal: AbortSignal | undefined): boolean {
    return this.closed || (this.#options.heedsSignals && signal?.aborted === true);
  }

  #openWindow(): void {
    const { faults, clock, random } = this.#context;
    if (clock.nowMs() < this.#windowUntilMs) return;
    this.#window = "none";
    if (faults.strikes("no_space_window")) this.#window = "no_space";
    else if (faults.strikes("bandwidth_zero")) this.#window = "bandwidth_zero";
    if (this.#window !== "none") this.#windowUntilMs = clock.nowMs() + 500 + random.nextBelow(20_000);
  }

  #inWindow(kind: "no_space" | "bandwidth_zero"): boolean {
    return !this.#context.faults.healed && this.#window === kind && this.#context.clock.nowMs() < this.#windowUntilMs;
  }

  #hang(): Promise<void> {
    if (this.closed || this.#context.faults.healed) return Promise.resolve();
    return new Promise((resolve) => {
      const resume = (): void => {
        this.#hung.delete(resume);
        resolve();
      };
      this.#hung.add(resume);
    });
  }

  /** Ends early when the adapter closes or heals, and on the signal if the adapter listens to it. */
  #sleep(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.closed) return Promise.resolve();
    return new Promise((resolve) => {
      const resume = (): void => {
        timer.cancel();
        this.#hung.delete(resume);
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      const onAbort = (): void => {
        if (this.#options.heedsSignals) resume();
      };
      const timer = this.#context.clock.setTimer(delayMs, resume);
      this.#hung.add(resume);
      signal?.addEventListener("abort", onAbort);
      if (signal?.aborted === true) onAbort();
    });
  }

  #holds(keys: KeyBatch): Uint8Array {
    if (this.#context.faults.strikes("holds_throw")) throw new AdapterError(this.name, "injected: holds throws");
    return Uint8Array.from({ length: keys.count }, (_, index) => (this.held.has(keyText(keys, index)) ? 1 : 0));
  }

  // ------------------------------------------------------------------------------------------------------------ slots

  async #using(batch: ObjectBatch, work: () => Promise<Uint8Array>): Promise<Uint8Array> {
    for (let index = 0; index < batch.keys.count; index++) addTo(this.#slotsInUse, batch.slots[2 * index], 1);
    try {
      return await work();
    } finally {
      for (let index = 0; index < batch.keys.count; index++) addTo(this.#slotsInUse, batch.slots[2 * index], -1);
    }
  }

  #checkBytes(batch: ObjectBatch, signal: AbortSignal | undefined, when: string): void {
    for (let index = 0; index < batch.keys.count; index++) {
      const bytes = new Uint8Array(batch.sizes[index]);
      if (!this.#touch(signal, () => batch.arena.read(batch.slots[2 * index], batch.slots[2 * index + 1], 0, bytes))) continue;
      if (!isPayloadOf(bytes, recordOf(batch.keys, index))) this.#context.fail(`${this.name} was given wrong bytes ${when}`);
    }
  }

  #write(batch: ObjectBatch, index: number, signal: AbortSignal | undefined, bytes: Uint8Array): void {
    this.#touch(signal, () => batch.arena.write(batch.slots[2 * index], batch.slots[2 * index + 1], 0, bytes));
  }

  /** A slot may be stale only for a call that was told to stop: the storage gave it up, and C++ keeps the memory from everybody else. */
  #touch(signal: AbortSignal | undefined, touch: () => void): boolean {
    try {
      touch();
      return true;
    } catch (error) {
      if (signal?.aborted !== true) this.#context.fail(`${this.name} lost a slot that it works on: ${String(error)}`);
      return false;
    }
  }
}

export function keyText(keys: KeyBatch, index: number): string {
  return Buffer.from(recordOf(keys, index)).toString("base64");
}

export function recordOf(keys: KeyBatch, index: number): Uint8Array {
  return keys.records.subarray(index * keyRecordBytes, (index + 1) * keyRecordBytes);
}

export function addTo(counts: Map<number, number>, slot: number, amount: number): void {
  const count = (counts.get(slot) ?? 0) + amount;
  if (count === 0) counts.delete(slot);
  else counts.set(slot, count);
}
