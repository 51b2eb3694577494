/**
 * Stores and removals of an adapter that accounts for its bytes: a store reserves room before a byte moves, evicts on demand when there
 * is none, and joins what is already under way for the same key, so that the first completed store of a key wins and no limit is passed.
 */
import { assert } from "../base/assert.ts";
import type { Counters } from "../base/counters.ts";
import { allIndices, pickBatch, pickRecords } from "./batches.ts";
import { StoreStatus, type ObjectBatch } from "./contract.ts";
import { chooseVictims, chooseWatermarkVictims, type EvictionRules } from "./eviction.ts";
import { EntryState, type ObjectIndex } from "./object-index.ts";
import { isAborted, untilAborted } from "./operations.ts";

export interface RoomLimits {
  /** Infinity = no limit. */
  readonly capacityBytes: number;
  readonly maxObjects: number;
  /** Why a store is refused when this is reached: `capacity`, `free_space`, `inodes`. */
  readonly reason: string;
  /** An object above this can never be held. */
  readonly largestBytes: number;
}

/** Where the bytes really lie. Failure is a status per key; write rejects only over slots that are not the caller's to give. */
export interface ObjectPlace {
  footprintBytes(objectBytes: number): number;
  limits(): RoomLimits;
  /** One StoreStatus per id; `alreadyPresent` means that the place held an object which the index did not know. */
  write(ids: Uint32Array, batch: ObjectBatch, signal: AbortSignal | undefined): Promise<Uint8Array>;
  /** One entry per id: 1 = its bytes are free (or were not there), 0 = it could not be removed. */
  remove(ids: Uint32Array): Promise<Uint8Array>;
  /** False while something reads the object and removing it would not free bytes now. */
  evictable(id: number): boolean;
}

/** By how much everything that is there or reserved passes the limits; negative = room. */
interface Over {
  readonly bytes: number;
  readonly objects: number;
  readonly reason: string;
}

const noVictims = new Uint32Array(0);

export class ObjectRoom {
  readonly #name: string;
  readonly #index: ObjectIndex;
  readonly #place: ObjectPlace;
  readonly #rules: EvictionRules;
  readonly #counters: Counters;
  /** Per id in state storing or removing: settles when it has left that state. */
  readonly #busy = new Map<number, Promise<void>>();
  readonly #writing = new Set<Promise<void>>();
  readonly #removing = new Set<Promise<void>>();
  /** Room of the waves that are writing. */
  readonly #granted = { bytes: 0, objects: 0 };
  #turn: Promise<void> = Promise.resolve();

  constructor(name: string, index: ObjectIndex, place: ObjectPlace, rules: EvictionRules, counters: Counters) {
    this.#name = name;
    this.#index = index;
    this.#place = place;
    this.#rules = rules;
    this.#counters = counters;
  }

  /** Stores a batch; `records` are the index's records of its keys. One StoreStatus per key. */
  async store(batch: ObjectBatch, records: Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
    const statuses = new Uint8Array(batch.keys.count).fill(StoreStatus.failed);
    let pending = allIndices(batch.keys.count);
    while (pending.length > 0 && !isAborted(signal)) {
      const wave = this.#admit(batch, records, pending, statuses);
      if (wave.indices.length > 0) await this.#storeWave(wave, batch, statuses, signal);
      else if (wave.blockers.size > 0) await untilAborted(Promise.race(wave.blockers), signal);
      pending = wave.later;
    }
    return statuses;
  }

  /** Removes objects in state present, others are left alone. What cannot be removed stays. 1 per id that was there and is gone. */
  remove(ids: Uint32Array, reason: string): Promise<Uint8Array> {
    return this.#take(ids, reason, true);
  }

  /** As remove, for objects that are no objects any more: the index forgets them even where their bytes cannot be removed. */
  async forget(ids: Uint32Array, reason: string): Promise<void> {
    await this.#take(ids, reason, false);
  }

  async #take(ids: Uint32Array, reason: string, keepsFailed: boolean): Promise<Uint8Array> {
    const gone = new Uint8Array(ids.length);
    const chosen: number[] = [];
    const seen = new Set<number>();
    for (let index = 0; index < ids.length; index++) {
      if (ids[index] === 0 || seen.has(ids[index]) || this.#index.state(ids[index]) !== EntryState.present) continue;
      seen.add(ids[index]);
      chosen.push(index);
    }
    if (chosen.length === 0) return gone;
    const victims = Uint32Array.from(chosen, (index) => ids[index]);
    // A user's policy that throws does so before anything has changed.
    this.#index.policy.onKeysRemoved(victims);
    for (const id of victims) this.#index.advance(id, EntryState.present, EntryState.removing);
    const removal = this.#runRemoval(victims, reason, keepsFailed);
    const settled = removal.then(() => {});
    for (const id of victims) this.#busy.set(id, settled);
    this.#removing.add(settled);
    const results = await removal;
    this.#removing.delete(settled);
    chosen.forEach((index, position) => (gone[index] = results[position]));
    return gone;
  }

  /** Waits until none of `ids` is being stored or removed. */
  async untilIdle(ids: Uint32Array, signal?: AbortSignal): Promise<void> {
    const blockers = new Set<Promise<void>>();
    for (const id of ids) {
      const blocker = this.#busy.get(id);
      if (blocker !== undefined) blockers.add(blocker);
    }
    if (blockers.size > 0) await untilAborted(Promise.all(blockers), signal);
  }

  /** Evicts down to the limits: after a scan has counted what an earlier process left. */
  async fit(): Promise<void> {
    const over = this.#overLimit();
    if (over.bytes <= 0 && over.objects <= 0) return;
    const victims = chooseVictims(this.#rules, Math.max(0, over.bytes), Math.max(0, over.objects), this.#eligible);
    if (victims.length > 0) await this.remove(victims, "room");
  }

  /** Evicts what the watermark asks for. */
  async trim(): Promise<void> {
    const index = this.#index;
    const used = index.bytesIn(EntryState.present);
    const victims = chooseWatermarkVictims(this.#rules, used, this.#place.limits().capacityBytes, this.#eligible);
    if (victims.length > 0) await this.remove(victims, "watermark");
  }

  readonly #eligible = (id: number): boolean => this.#index.state(id) === EntryState.present && this.#place.evictable(id);

  /** Sorts the pending keys, synchronously: known, busy, too large, later, or of the next wave and reserved for it. */
  #admit(batch: ObjectBatch, records: Uint8Array, pending: readonly number[], statuses: Uint8Array): Wave {
    const index = this.#index;
    const ids = index.intern(pickRecords(records, index.table.recordBytes, pending));
    const limits = this.#place.limits();
    const wave = new Wave();
    const returned: number[] = [];
    const touched: number[] = [];
    let waveBytes = 0;
    for (let position = 0; position < pending.length; position++) {
      const key = pending[position];
      const id = ids[position];
      const footprint = this.#place.footprintBytes(batch.sizes[key]);
      const state = index.state(id);
      if (state === EntryState.absent && footprint <= limits.largestBytes && (wave.indices.length === 0 || waveBytes + footprint <= limits.capacityBytes)) {
        index.enter(id, EntryState.storing, batch.keys.namespaceId(key), footprint);
        this.#busy.set(id, wave.done);
        wave.indices.push(key);
        wave.ids.push(id);
        waveBytes += footprint;
        continue;
      }
      returned.push(id);
      if (state === EntryState.present) {
        statuses[key] = StoreStatus.alreadyPresent;
        touched.push(id);
      } else if (state === EntryState.absent && footprint > limits.largestBytes) {
        statuses[key] = StoreStatus.skippedTooLarge;
        this.#refused("too_large", 1);
      } else {
        wave.later.push(key);
        const blocker = this.#busy.get(id);
        assert(blocker !== undefined || wave.indices.length > 0, `object ${id} is busy with nothing`);
        if (blocker !== undefined) wave.blockers.add(blocker);
      }
    }
    if (touched.length > 0) index.policy.onKeysTouched(Uint32Array.from(touched));
    index.release(returned);
    return wave;
  }

  async #storeWave(wave: Wave, batch: ObjectBatch, statuses: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const index = this.#index;
    try {
      await this.#takeTurn(wave, statuses, signal);
      if (wave.indices.length === 0 || isAborted(signal)) return;
      this.#writing.add(wave.done);
      const written = await this.#place.write(Uint32Array.from(wave.ids), pickBatch(batch, wave.indices), signal);
      const created: number[] = [];
      wave.indices.forEach((key, position) => {
        const id = wave.ids[position];
        statuses[key] = written[position];
        if (written[position] === StoreStatus.stored || written[position] === StoreStatus.alreadyPresent) {
          index.advance(id, EntryState.storing, EntryState.present);
          this.#busy.delete(id);
          created.push(id);
        } else this.#leave(id);
      });
      if (created.length > 0) index.policy.onKeysCreated(Uint32Array.from(created));
    } finally {
      this.#writing.delete(wave.done);
      this.#granted.bytes -= wave.grantedBytes;
      this.#granted.objects -= wave.grantedObjects;
      // What is still storing was aborted or rejected: its room goes back and its bytes never become an object.
      for (const id of wave.ids) if (this.#busy.get(id) === wave.done) this.#leave(id);
      wave.finish();
    }
  }

  /** Waves get their room one after another, in order; who waits holds nothing, so that two waves never wait for each other's room. */
  async #takeTurn(wave: Wave, statuses: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const previous = this.#turn;
    let endTurn = (): void => {};
    this.#turn = new Promise((resolve) => (endTurn = resolve));
    try {
      await untilAborted(previous, signal);
      if (!isAborted(signal)) await this.#makeRoom(wave, statuses, signal);
      if (isAborted(signal)) return;
      wave.grantedBytes = this.#bytesOf(wave);
      wave.grantedObjects = wave.ids.length;
      this.#granted.bytes += wave.grantedBytes;
      this.#granted.objects += wave.grantedObjects;
    } finally {
      // A wave that was aborted in the queue still keeps its place in it.
      void previous.then(endTurn);
    }
  }

  /**
   * Evicts until the wave fits beside what was granted before, waiting for removals and for writes that will be evictable. Where neither
   * helps, keys leave the wave from its end: the first chunks of a prefix are worth more than the last. Nothing is evicted for a wave that
   * cannot fit anyway.
   */
  async #makeRoom(wave: Wave, statuses: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const index = this.#index;
    while (wave.indices.length > 0 && !isAborted(signal)) {
      const over = this.#overLimit(wave);
      if (over.bytes <= 0 && over.objects <= 0) return;
      const wantedBytes = over.bytes - index.bytesIn(EntryState.removing);
      const wantedObjects = over.objects - index.countIn(EntryState.removing);
      if (wantedBytes <= 0 && wantedObjects <= 0) {
        await untilAborted(Promise.race(this.#removing), signal);
        continue;
      }
      const hopeless = wantedBytes > index.bytesIn(EntryState.present) || wantedObjects > index.countIn(EntryState.present);
      const victims = hopeless ? noVictims : chooseVictims(this.#rules, Math.max(0, wantedBytes), Math.max(0, wantedObjects), this.#eligible);
      if (victims.length > 0) {
        const gone = await this.remove(victims, "room");
        if (!gone.includes(1)) this.#dropWhatDoesNotFit(wave, statuses);
      } else if (this.#removing.size > 0) await untilAborted(Promise.race(this.#removing), signal);
      else if (this.#rules.policy.evicts && this.#writing.size > 0) await untilAborted(Promise.race(this.#writing), signal);
      else if (hopeless && this.#rules.policy.evicts) this.#dropLast(wave, statuses, over);
      else this.#dropWhatDoesNotFit(wave, statuses);
    }
  }

  #bytesOf(wave: Wave): number {
    let bytes = 0;
    for (const id of wave.ids) bytes += this.#index.footprintBytes(id);
    return bytes;
  }

  /** What is there, what was granted, and this wave, against the limits. */
  #overLimit(wave?: Wave): Over {
    const { capacityBytes, maxObjects, reason } = this.#place.limits();
    const index = this.#index;
    const { present, removing } = EntryState;
    const waveBytes = wave === undefined ? 0 : this.#bytesOf(wave);
    return {
      bytes: index.bytesIn(present) + index.bytesIn(removing) + this.#granted.bytes + waveBytes - capacityBytes,
      objects: index.countIn(present) + index.countIn(removing) + this.#granted.objects + (wave?.ids.length ?? 0) - maxObjects,
      reason,
    };
  }

  #dropWhatDoesNotFit(wave: Wave, statuses: Uint8Array): void {
    for (let over = this.#overLimit(wave); wave.indices.length > 0 && (over.bytes > 0 || over.objects > 0); over = this.#overLimit(wave))
      this.#dropLast(wave, statuses, over);
  }

  #dropLast(wave: Wave, statuses: Uint8Array, over: Over): void {
    statuses[wave.indices.pop() as number] = StoreStatus.skippedNoRoom;
    this.#leave(wave.ids.pop() as number);
    this.#refused(over.bytes > 0 ? over.reason : "objects", 1);
  }

  async #runRemoval(ids: Uint32Array, reason: string, keepsFailed: boolean): Promise<Uint8Array> {
    const gone = await this.#place.remove(ids);
    const kept: number[] = [];
    let bytes = 0;
    let objects = 0;
    ids.forEach((id, position) => {
      if (gone[position] === 1) {
        bytes += this.#index.footprintBytes(id);
        objects++;
        this.#leave(id);
      } else if (!keepsFailed) this.#leave(id);
      else {
        this.#index.advance(id, EntryState.removing, EntryState.present);
        this.#busy.delete(id);
        kept.push(id);
      }
    });
    if (kept.length > 0) this.#index.policy.onKeysCreated(Uint32Array.from(kept));
    this.#counters.counter("kvferry_l2_removed_objects_total", { adapter: this.#name, reason }).add(objects);
    this.#counters.counter("kvferry_l2_removed_bytes_total", { adapter: this.#name, reason }).add(bytes);
    return gone;
  }

  #leave(id: number): void {
    this.#busy.delete(id);
    this.#index.leave(id);
  }

  #refused(reason: string, count: number): void {
    this.#counters.counter("kvferry_l2_refused_objects_total", { adapter: this.#name, reason }).add(count);
  }
}

/** Keys of one store that move together. */
class Wave {
  readonly indices: number[] = [];
  readonly ids: number[] = [];
  readonly later: number[] = [];
  readonly blockers = new Set<Promise<void>>();
  readonly done: Promise<void>;
  grantedBytes = 0;
  grantedObjects = 0;
  #finish: () => void = () => {};

  constructor() {
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  finish(): void {
    this.#finish();
  }
}
