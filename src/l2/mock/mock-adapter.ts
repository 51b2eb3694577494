/**
 * `mock`: a second native arena with a bandwidth. Objects are really copied and checksummed, so what it costs is what a store costs; only
 * the medium is pretended. Full without an `eviction` block it answers skippedNoRoom per key, where LMCache's reports success.
 */
import { formatBytes, GiB, MiB, roundUp } from "../../base/bytes.ts";
import { PagedUint32Array } from "../../base/paged-array.ts";
import { keyHashBytes, KeyBatch, keyRecordBytes } from "../../keys/key-batch.ts";
import { ItemStatus, type NativeArena, type SlotRefs } from "../../native/binding.ts";
import { checkBatch, pickSlots } from "../batches.ts";
import {
  type AdapterContext,
  type L2Adapter,
  type L2CallOptions,
  type L2Capabilities,
  type L2Health,
  type L2Usage,
  LoadStatus,
  type ObjectBatch,
  StoreStatus,
} from "../contract.ts";
import { chooseVictims, type EvictionRules } from "../eviction.ts";
import { EntryState, ObjectIndex } from "../object-index.ts";
import { type ObjectPlace, ObjectRoom, type RoomLimits } from "../object-room.ts";
import { isAborted, Operations } from "../operations.ts";
import { type EvictionSpec, gibToBytes } from "../spec.ts";
import { BandwidthBucket } from "./bandwidth.ts";

export interface MockSpec {
  readonly max_size_gb: number;
  readonly mock_bandwidth_gb: number;
  readonly eviction?: EvictionSpec;
}

/** Fragments of a full arena may ask for more victims than their bytes; this many times, then the store is refused. */
const evictionsMax = 3;
const listPageKeys = 1024;
/** What it holds is pretended to be a medium, whose pages are there before anybody writes them. */
const populateAheadBytes = 512 * MiB;

export function openMockAdapter(spec: MockSpec, context: AdapterContext): Promise<L2Adapter> {
  return Promise.resolve(new MockAdapter(spec, context));
}

class MockAdapter implements L2Adapter, ObjectPlace {
  readonly type = "mock";
  readonly name: string;
  readonly capabilities: L2Capabilities;
  readonly #spec: MockSpec;
  readonly #context: AdapterContext;
  readonly #arena: NativeArena;
  readonly #bucket: BandwidthBucket;
  readonly #index: ObjectIndex;
  readonly #rules: EvictionRules;
  readonly #room: ObjectRoom;
  readonly #operations: Operations;
  /** By id: where the object lies and its exact bytes. */
  readonly #slotIndices = new PagedUint32Array();
  readonly #slotGenerations = new PagedUint32Array();
  readonly #objectBytes = new PagedUint32Array();
  /** Copies into and out of the arena that have not ended. */
  readonly #copies = new Set<Promise<Int32Array>>();
  /** Loads in flight per id. */
  readonly #readers = new Map<number, number>();
  readonly #limits: RoomLimits;

  constructor(spec: MockSpec, context: AdapterContext) {
    this.#spec = spec;
    this.#context = context;
    this.name = context.name;
    this.#operations = new Operations(`adapter ${context.name}`);
    const { native, namespaces } = context;
    this.#arena = native.openArena({ sizeBytes: gibToBytes(spec.max_size_gb), populateAheadBytes });
    const { capacityBytes } = this.#arena;
    this.#limits = { capacityBytes, maxObjects: Infinity, reason: "capacity", largestBytes: Math.min(capacityBytes, GiB) };
    this.#bucket = new BandwidthBucket(spec.mock_bandwidth_gb * GiB, context.clock);
    const table = new native.binding.InternTable(keyHashBytes, keyRecordBytes - keyHashBytes);
    this.#index = new ObjectIndex(table, context, spec.eviction?.eviction_policy ?? "noop");
    this.#rules = {
      policy: this.#index.policy,
      triggerWatermark: spec.eviction?.trigger_watermark ?? 1,
      evictionRatio: spec.eviction?.eviction_ratio ?? 0,
      sizeBytes: (id) => this.#index.footprintBytes(id),
      saltBytes: (saltId) => this.#index.bytesOfSalt(saltId),
      saltQuotaBytes: (saltId) => context.quotaBytes?.(namespaces.saltName(saltId)),
    };
    this.#room = new ObjectRoom(this.name, this.#index, this, this.#rules, context.counters);
    const { evicts } = this.#index.policy;
    this.capabilities = { persistent: false, accountsBytes: true, evicts, lists: true, shared: false, throughJavaScript: false };
  }

  describe(): string {
    const { eviction } = this.#spec;
    const full = eviction === undefined ? "no eviction: refuses when full" : `${eviction.eviction_policy} from ${eviction.trigger_watermark} of it`;
    return `${this.name}: mock, ${formatBytes(this.#arena.capacityBytes)} of memory at ${this.#spec.mock_bandwidth_gb} GiB/s in all, ${full}`;
  }

  store(batch: ObjectBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    checkBatch(batch);
    return this.#operations.run(async () => {
      const statuses = await this.#room.store(batch, batch.keys.records, options.signal);
      await this.#room.trim();
      return statuses;
    });
  }

  lookup(keys: KeyBatch): Promise<Uint8Array> {
    return this.#operations.run(() => Promise.resolve(this.holds(keys)));
  }

  holds(keys: KeyBatch): Uint8Array {
    return Uint8Array.from(this.#index.find(keys.records), (id) => (id !== 0 && this.#index.state(id) === EntryState.present ? 1 : 0));
  }

  load(batch: ObjectBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    checkBatch(batch);
    return this.#operations.run(() => this.#load(batch, options.signal));
  }

  delete(keys: KeyBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    return this.#operations.run(async () => {
      await this.#room.untilIdle(this.#index.find(keys.records), options.signal);
      return this.#room.remove(this.#index.find(keys.records), "deleted");
    });
  }

  usage(): L2Usage {
    return this.#index.usage(this.#arena.capacityBytes);
  }

  health(): L2Health {
    return { ready: !this.#operations.closed, problems: [] };
  }

  async *list(): AsyncIterable<{ readonly keys: KeyBatch; readonly sizes: Uint32Array }> {
    for (let first = 1; first <= this.#index.table.idBound; first += listPageKeys) {
      const ids: number[] = [];
      for (let id = first; id < first + listPageKeys; id++) if (this.#index.state(id) === EntryState.present) ids.push(id);
      if (ids.length === 0) continue;
      const records = new Uint8Array(ids.length * keyRecordBytes);
      this.#index.table.records(Uint32Array.from(ids), records);
      yield { keys: new KeyBatch(records), sizes: Uint32Array.from(ids, (id) => this.#objectBytes.get(id)) };
    }
  }

  async close(): Promise<void> {
    this.#bucket.release();
    await this.#operations.close();
    this.#arena.close();
  }

  // ObjectPlace ------------------------------------------------------------------------------------------------------------

  footprintBytes(objectBytes: number): number {
    return roundUp(objectBytes, this.#arena.alignBytes);
  }

  limits(): RoomLimits {
    return this.#limits;
  }

  evictable(id: number): boolean {
    return !this.#readers.has(id);
  }

  async write(ids: Uint32Array, batch: ObjectBatch, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const statuses = new Uint8Array(ids.length).fill(StoreStatus.skippedNoRoom);
    const targets = new Uint32Array(ids.length * 2);
    const placed = await this.#allocate(batch.sizes, targets);
    if (placed === 0) return statuses;
    let bytes = 0;
    for (let position = 0; position < placed; position++) bytes += batch.sizes[position];
    const dueMs = this.#bucket.take(bytes);
    const targetRefs = targets.subarray(0, placed * 2);
    let copied: Int32Array;
    try {
      copied = await this.#copy((opId) =>
        this.#context.native.engine.copySlots(opId, batch.arena, batch.slots.subarray(0, placed * 2), this.#arena, targetRefs, false),
      );
    } catch (error) {
      this.#arena.free(targetRefs);
      throw error;
    }
    for (let position = 0; position < placed; position++) {
      if (copied[position] !== ItemStatus.ok) {
        statuses[position] = StoreStatus.failed;
        this.#arena.free(targets.subarray(position * 2, position * 2 + 2));
        continue;
      }
      statuses[position] = StoreStatus.stored;
      this.#slotIndices.set(ids[position], targets[position * 2]);
      this.#slotGenerations.set(ids[position], targets[position * 2 + 1]);
      this.#objectBytes.set(ids[position], batch.sizes[position]);
    }
    await this.#bucket.wait(dueMs, signal);
    return statuses;
  }

  remove(ids: Uint32Array): Promise<Uint8Array> {
    this.#arena.free(this.#refsOf(ids));
    return Promise.resolve(new Uint8Array(ids.length).fill(1));
  }

  // -------------------------------------------------------------------------------------------------------------------------

  async #load(batch: ObjectBatch, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const statuses = new Uint8Array(batch.keys.count).fill(LoadStatus.missing);
    if (isAborted(signal)) return statuses.fill(LoadStatus.failed);
    const found = this.#index.find(batch.keys.records);
    const chosen: number[] = [];
    let bytes = 0;
    found.forEach((id, key) => {
      if (id === 0 || this.#index.state(id) !== EntryState.present) return;
      if (this.#objectBytes.get(id) !== batch.sizes[key]) {
        statuses[key] = LoadStatus.foreign;
        return;
      }
      chosen.push(key);
      bytes += batch.sizes[key];
    });
    if (chosen.length === 0) return statuses;
    const ids = Uint32Array.from(chosen, (key) => found[key]);
    const sources = this.#refsOf(ids);
    const dueMs = this.#bucket.take(bytes);
    for (const id of ids) this.#readers.set(id, (this.#readers.get(id) ?? 0) + 1);
    try {
      const copied = await this.#copy((opId) =>
        this.#context.native.engine.copySlots(opId, this.#arena, sources, batch.arena, pickSlots(batch.slots, chosen), true),
      );
      chosen.forEach((key, position) => (statuses[key] = loadStatusOf(copied[position])));
      this.#index.policy.onKeysTouched(ids.filter((id) => this.#index.state(id) === EntryState.present));
    } finally {
      for (const id of ids) this.#unread(id);
    }
    await this.#forgetDamaged(ids, sources, chosen.map((key) => statuses[key]));
    await this.#bucket.wait(dueMs, signal);
    return statuses;
  }

  /** Damaged objects go, unless the id has come to name another slot meanwhile. */
  async #forgetDamaged(ids: Uint32Array, sources: SlotRefs, statuses: readonly number[]): Promise<void> {
    const damaged = ids.filter(
      (id, position) =>
        statuses[position] === LoadStatus.corrupt &&
        this.#slotIndices.get(id) === sources[position * 2] &&
        this.#slotGenerations.get(id) === sources[position * 2 + 1],
    );
    if (damaged.length === 0) return;
    this.#context.counters.counter("kvferry_l2_damaged_objects_total", { adapter: this.name, kind: "corrupt" }).add(damaged.length);
    await this.#room.remove(damaged, "damaged");
  }

  #unread(id: number): void {
    const readers = (this.#readers.get(id) ?? 1) - 1;
    if (readers === 0) this.#readers.delete(id);
    else this.#readers.set(id, readers);
  }

  /** Copies between slots; until it is done the arena cannot move them. */
  async #copy(submit: (opId: number) => void): Promise<Int32Array> {
    const copying = this.#context.native.run(submit);
    this.#copies.add(copying);
    try {
      return await copying;
    } finally {
      this.#copies.delete(copying);
    }
  }

  /**
   * Slots for the leading objects of `sizes`; returns for how many. The room was granted, so what keeps an object out is fragments: between
   * slots that are being copied, which end soon and can be moved then; and where nothing is being copied, more is evicted.
   */
  async #allocate(sizes: Uint32Array, targets: SlotRefs): Promise<number> {
    let placed = 0;
    for (let evictions = 0; ; ) {
      placed += this.#allocateNow(sizes, placed, targets);
      if (placed === sizes.length) return placed;
      if (this.#copies.size > 0) {
        await Promise.race([...this.#copies].map((copying) => copying.catch(() => {})));
        continue;
      }
      if (++evictions > evictionsMax) return placed;
      const victims = chooseVictims(this.#rules, this.footprintBytes(sizes[placed]), 0, (id) => this.#isPresent(id) && this.evictable(id));
      if (victims.length === 0) return placed;
      await this.#room.remove(victims, "room");
    }
  }

  /** Slots for objects from `first` on, in runs of equal size; returns for how many there is an extent now. */
  #allocateNow(sizes: Uint32Array, first: number, targets: SlotRefs): number {
    let placed = first;
    while (placed < sizes.length) {
      let end = placed + 1;
      while (end < sizes.length && sizes[end] === sizes[placed]) end++;
      placed += this.#arena.allocate(sizes[placed], end - placed, targets.subarray(placed * 2, end * 2));
      if (placed < end) break;
    }
    return placed - first;
  }

  #isPresent(id: number): boolean {
    return this.#index.state(id) === EntryState.present;
  }

  #refsOf(ids: Uint32Array): SlotRefs {
    const refs = new Uint32Array(ids.length * 2);
    ids.forEach((id, position) => {
      refs[position * 2] = this.#slotIndices.get(id);
      refs[position * 2 + 1] = this.#slotGenerations.get(id);
    });
    return refs;
  }
}

function loadStatusOf(status: number): number {
  if (status === ItemStatus.ok) return LoadStatus.loaded;
  return status === ItemStatus.corrupt ? LoadStatus.corrupt : LoadStatus.failed;
}
