import { assert } from "../base/assert.ts";
import { StateError } from "../base/errors.ts";
import type { KeyBatch } from "../keys/key-batch.ts";
import type { NativeArena, NativeInternTable } from "../native/binding.ts";
import { auditL1, type L1Audit } from "./audit.ts";
import { ClassBytes, type L1Shares } from "./class-bytes.ts";
import { ReadLease } from "./lease.ts";
import { AdmissionClass, ObjectState, ObjectTable } from "./object-table.ts";

/** Answer to one key of a reservation. */
export const WriteStatus = {
  /** A staged slot is the caller's to fill. */
  granted: 0,
  /** A complete object of this key is in L1 already. */
  resident: 1,
  /** A writer with the same tag is filling one, or the key was named before in this call. */
  staged: 2,
  /** No room for this key, or for a key of an earlier chunk. */
  noRoom: 3,
} as const;
export type WriteStatus = (typeof WriteStatus)[keyof typeof WriteStatus];

/** What became of one staged object at commit. */
export const CommitStatus = {
  published: 0,
  /** Another writer's commit came first; this copy was freed (law 3: first commit wins). */
  lostRace: 1,
} as const;

export interface ReserveRequest {
  /** Chunk-major: all keys of a chunk together. */
  readonly keys: KeyBatch;
  /** Object bytes per position within a chunk; its length is the number of keys per chunk. */
  readonly rowSizes: readonly number[];
  /** The writer: one staged copy per key and tag. */
  readonly tag: number;
  /** Leaves L1 when its last lease ends. One for all, or one per key. */
  readonly temporary: boolean | Uint8Array;
  readonly charge: AdmissionClass;
  /** 0 = leave this key alone (it is answered `resident`). Left out = all are wanted. */
  readonly wanted?: Uint8Array;
  /** Asked for the bytes that are missing before slots are taken: evicts at once (law 5). */
  readonly makeRoom?: (bytes: number) => void;
}

export interface WriteGrant {
  /** One WriteStatus per key. */
  readonly statuses: Uint8Array;
  /** Key indices that were granted, ascending. */
  readonly keyIndices: Uint32Array;
  /** Pairs [index, generation] of the granted slots, in the order of keyIndices. */
  readonly refs: Uint32Array;
  /** Leading whole chunks in which no key is `noRoom`. */
  readonly chunks: number;
}

/** Called inside the call that causes it; must not call back into L1. All ids are live during the call. */
export interface L1Observer {
  onReserved?(keyIds: Uint32Array): void;
  /** Published by a writer, not temporary. */
  onWritten?(keyIds: Uint32Array, refs: Uint32Array): void;
  /** Published by a load and leased at once. */
  onLoaded?(keyIds: Uint32Array): void;
  onLeased?(keyIds: Uint32Array): void;
  onReleased?(keyIds: Uint32Array): void;
  onTouched?(keyIds: Uint32Array): void;
  /** The key is neither resident nor staged any more. */
  onRemoved?(keyIds: Uint32Array): void;
  /** Slots went back to the arena: whoever waits for room may ask again. */
  onFreed?(): void;
  /** A staged copy of each key was published or freed: whoever joined it may look. */
  onUnstaged?(keyIds: Uint32Array): void;
}

export interface L1Counts {
  readonly residentObjects: number;
  readonly stagedObjects: number;
  readonly leasedObjects: number;
  readonly temporaryObjects: number;
  readonly markedForDrop: number;
}

const initialScratch = 1024;

/**
 * Keys to objects in the arena: staging, publishing, leases, dropping (state table in l1/README.md). All calls are synchronous and
 * belong to one thread; whoever must wait for room does so in Admission, above this class.
 *
 * Invariants
 * - A reader finds resident objects only; a key has at most one (law 3).
 * - A slot goes back to the arena only when it is marked for drop or staged, no lease is on it and no obligation is open on it; the
 *   arena itself keeps it until its last I/O ends (law 2).
 * - Each object holds exactly one reference on its key id.
 */
export class L1Manager {
  readonly arena: NativeArena;
  readonly keys: NativeInternTable;
  readonly table = new ObjectTable();
  /** Who pays for what, and what each class may take. */
  readonly bytes: ClassBytes;
  readonly #observers: L1Observer[] = [];
  readonly #leases = new Set<ReadLease>();
  #residentCount = 0;
  #stagedCount = 0;
  #stagedBytes = 0;
  /** Keys that eviction must leave alone while a reservation that names them makes room. */
  readonly #spared = new Set<number>();
  #ids = new Uint32Array(initialScratch);
  #refs = new Uint32Array(2 * initialScratch);

  constructor(arena: NativeArena, keys: NativeInternTable, shares: L1Shares = { store: 0.25, load: 0.25 }) {
    this.arena = arena;
    this.keys = keys;
    this.bytes = new ClassBytes(arena, shares);
  }

  observe(observer: L1Observer): void {
    this.#observers.push(observer);
  }

  get usedBytes(): number {
    return this.arena.usedBytes();
  }

  get stagedBytes(): number {
    return this.#stagedBytes;
  }

  // ----------------------------------------------------------------------------------------------------------- write

  /**
   * Stages slots for the longest run of whole chunks that fits now. Keys that are resident or staged under this tag take nothing. A key
   * named twice is one key.
   */
  reserve(request: ReserveRequest): WriteGrant {
    const { keys, rowSizes, tag } = request;
    const count = keys.count;
    const perChunk = rowSizes.length;
    assert(count % perChunk === 0, "a reservation holds whole chunks");
    const ids = this.#takeIds(count);
    const inserted = this.keys.intern(keys.records, ids);
    const statuses = new Uint8Array(count);
    let needed = this.#classify(ids, tag, statuses, request.wanted);
    // Keys that are all new to the table cannot be named twice.
    if (needed > inserted) needed -= this.#markRepeats(ids, statuses);
    const chunks = this.#chunksWithinLimit(request, ids, statuses, needed);
    const grant = this.#allocate(request, ids, statuses, needed, chunks);
    if (grant.keyIndices.length < count) this.#releaseUngranted(ids, statuses);
    return grant;
  }

  /** Publishes staged objects. One CommitStatus per slot. Throws StateError when a slot is not staged under `tag`; then nothing was done. */
  commit(refs: Uint32Array, tag: number): Uint8Array {
    this.#checkStaged(refs, tag);
    const count = refs.length / 2;
    const statuses = new Uint8Array(count);
    const published = new Uint32Array(count);
    const publishedRefs = new Uint32Array(2 * count);
    const unstaged = new Uint32Array(count);
    const lost: number[] = [];
    let publishedCount = 0;
    for (let index = 0; index < count; index++) {
      const slot = refs[2 * index];
      const keyId = this.table.keyId(slot);
      unstaged[index] = keyId;
      if (this.table.residentSlot(keyId) >= 0) {
        statuses[index] = CommitStatus.lostRace;
        lost.push(slot);
        continue;
      }
      this.#publish(slot);
      if (this.table.isTemporary(slot)) continue;
      this.#setCharge(slot, AdmissionClass.none);
      published[publishedCount] = keyId;
      publishedRefs[2 * publishedCount] = slot;
      publishedRefs[2 * publishedCount + 1] = refs[2 * index + 1];
      publishedCount++;
    }
    if (publishedCount > 0)
      for (const observer of this.#observers)
        observer.onWritten?.(published.subarray(0, publishedCount), publishedRefs.subarray(0, 2 * publishedCount));
    this.#free(lost);
    for (const observer of this.#observers) observer.onUnstaged?.(unstaged);
    return statuses;
  }

  /**
   * Publishes loaded objects and leases whatever is resident for each key then. Nothing is owed to any adapter. A temporary object
   * leaves with its last lease, so the caller leases before it lets go.
   */
  commitLoaded(refs: Uint32Array, tag: number): void {
    this.#checkStaged(refs, tag);
    const count = refs.length / 2;
    const unstaged = new Uint32Array(count);
    const loaded: number[] = [];
    const lost: number[] = [];
    for (let index = 0; index < count; index++) {
      const slot = refs[2 * index];
      const keyId = this.table.keyId(slot);
      unstaged[index] = keyId;
      if (this.table.residentSlot(keyId) >= 0) {
        lost.push(slot);
      } else {
        this.#publish(slot);
        loaded.push(keyId);
      }
    }
    if (loaded.length > 0) for (const observer of this.#observers) observer.onLoaded?.(Uint32Array.from(loaded));
    this.#free(lost);
    // Waiters lease in this call, so that a temporary object that somebody waits for is never dropped under them.
    for (const observer of this.#observers) observer.onUnstaged?.(unstaged);
    this.#dropUnheldTemporaries(refs);
  }

  /** Frees staged objects. Throws StateError when a slot is not staged under `tag`; then nothing was done. */
  abort(refs: Uint32Array, tag: number): void {
    this.#checkStaged(refs, tag);
    const unstaged = new Uint32Array(refs.length / 2);
    const slots: number[] = [];
    for (let index = 0; index < unstaged.length; index++) {
      slots.push(refs[2 * index]);
      unstaged[index] = this.table.keyId(refs[2 * index]);
    }
    // The ids must outlive the observers' look, and #free gives back the last reference of a key that is gone.
    this.keys.retain(unstaged);
    this.#free(slots);
    for (const observer of this.#observers) observer.onUnstaged?.(unstaged);
    this.keys.release(unstaged);
  }

  // ------------------------------------------------------------------------------------------------------------ read

  /** Writes the slot of each key's resident object of exactly `sizeBytes` (per row), or 0xffffffff. Inserts nothing. Returns how many were found. */
  find(keys: KeyBatch, rowSizes: readonly number[], outSlots: Uint32Array): number {
    const ids = this.#takeIds(keys.count);
    this.keys.find(keys.records, ids);
    let found = 0;
    for (let index = 0; index < keys.count; index++) {
      const slot = ids[index] === 0 ? -1 : this.table.residentSlot(ids[index]);
      if (slot >= 0 && this.table.sizeBytes(slot) === rowSizes[index % rowSizes.length]) {
        outSlots[index] = slot;
        found++;
      } else {
        outSlots[index] = noSlot;
      }
    }
    return found;
  }

  /** 1 per key of which a writer or load is filling a copy now. */
  findStaged(keys: KeyBatch, outIds: Uint32Array): Uint8Array {
    this.keys.find(keys.records, outIds);
    const staged = new Uint8Array(keys.count);
    for (let index = 0; index < keys.count; index++) staged[index] = outIds[index] !== 0 && this.table.stagedSlot(outIds[index]) >= 0 ? 1 : 0;
    return staged;
  }

  /**
   * Leases the longest leading run of `slots` that the loads' share allows: bytes under a lease cannot be evicted, so they count
   * against it. Each slot must be resident.
   */
  lease(slots: ArrayLike<number>, owner: string, deliveries: number, deadlineMs: number): ReadLease {
    let room = this.bytes.room(AdmissionClass.load);
    let count = 0;
    for (; count < slots.length; count++) {
      const slot = slots[count];
      assert(this.table.state(slot) === ObjectState.resident, "only a resident object can be leased");
      if (this.table.charge(slot) === AdmissionClass.none) {
        room -= this.bytes.footprint(this.table.sizeBytes(slot));
        if (room < 0) break;
        this.#setCharge(slot, AdmissionClass.load);
      }
      this.table.addLease(slot);
    }
    const leased = new Uint32Array(count);
    const refs = new Uint32Array(2 * count);
    for (let index = 0; index < count; index++) {
      const slot = slots[index];
      leased[index] = slot;
      refs[2 * index] = slot;
      refs[2 * index + 1] = this.table.generation(slot);
    }
    const lease = new ReadLease(owner, leased, refs, deliveries, deadlineMs);
    this.#leases.add(lease);
    if (count > 0) this.#tell((observer) => observer.onLeased, () => this.#idsOf(leased));
    return lease;
  }

  /** Ends a lease. Throws StateError when it has ended already. */
  release(lease: ReadLease): void {
    if (!this.#leases.delete(lease)) throw new StateError(`the lease of ${lease.owner} has ended already`);
    lease.end();
    const dropped: number[] = [];
    for (let index = 0; index < lease.slots.length; index++) {
      const slot = lease.slots[index];
      if (this.table.removeLease(slot) > 0) continue;
      // What is still owed to an adapter goes on counting, against the stores' share.
      if (this.table.charge(slot) === AdmissionClass.load) this.#setCharge(slot, this.table.openObligations(slot) > 0 ? AdmissionClass.store : AdmissionClass.none);
      if (this.table.isTemporary(slot)) this.table.markForDrop(slot);
      if (this.#isFree(slot)) dropped.push(slot);
    }
    if (lease.slots.length > 0) this.#tell((observer) => observer.onReleased, () => this.#idsOf(lease.slots));
    this.#free(dropped);
  }

  /** Splits off the part of a lease from `first` on and ends it: those objects turned out not to be part of the answer. */
  trim(lease: ReadLease, first: number): ReadLease {
    if (first >= lease.slots.length) return lease;
    const kept = this.lease(lease.slots.subarray(0, first), lease.owner, lease.deliveries, lease.deadlineMs);
    this.release(lease);
    return kept;
  }

  /** Tells the observers that these objects were used: the only source of recency. */
  touch(slots: Uint32Array): void {
    if (slots.length > 0) this.#tell((observer) => observer.onTouched, () => this.#idsOf(slots));
  }

  /** Ends every lease whose deadline has passed. Its I/O goes on; the arena keeps the memory until it is done. */
  expireLeases(nowMs: number): number {
    let expired = 0;
    for (const lease of this.#leases) {
      if (lease.deadlineMs > nowMs) continue;
      this.release(lease);
      expired++;
    }
    return expired;
  }

  get leaseCount(): number {
    return this.#leases.size;
  }

  // ------------------------------------------------------------------------------------------- obligations and drops

  /** One more obligation holds each object, charged to the stores' share until it ends. */
  openObligations(refs: Uint32Array): void {
    for (let offset = 0; offset < refs.length; offset += 2) {
      const slot = refs[offset];
      this.table.addObligation(slot);
      if (this.table.charge(slot) === AdmissionClass.none) this.#setCharge(slot, AdmissionClass.store);
    }
  }

  /** Ends one obligation per object. Where `drop` is 1 the object leaves as soon as nothing else holds it. */
  closeObligations(refs: ArrayLike<number>, drop: ArrayLike<number>): void {
    const dropped: number[] = [];
    for (let index = 0; 2 * index < refs.length; index++) {
      const slot = refs[2 * index];
      if (drop[index] !== 0) this.table.markForDrop(slot);
      if (this.table.removeObligation(slot) > 0) continue;
      if (this.table.charge(slot) === AdmissionClass.store) this.#setCharge(slot, this.table.leases(slot) > 0 ? AdmissionClass.load : AdmissionClass.none);
      if (this.#isFree(slot)) dropped.push(slot);
    }
    this.#free(dropped);
  }

  /** True when eviction may take the key's object now. */
  isEvictable(keyId: number): boolean {
    const slot = this.table.residentSlot(keyId);
    return slot >= 0 && this.table.isUnheld(slot) && (this.#spared.size === 0 || !this.#spared.has(keyId));
  }

  /** Aligned bytes of the key's resident object; 0 when there is none. */
  residentBytes(keyId: number): number {
    const slot = this.table.residentSlot(keyId);
    return slot < 0 ? 0 : this.bytes.footprint(this.table.sizeBytes(slot));
  }

  /** Drops the evictable ones of these keys' objects. Returns the aligned bytes given up. */
  evict(keyIds: ArrayLike<number>): number {
    const dropped: number[] = [];
    let bytes = 0;
    for (let index = 0; index < keyIds.length; index++) {
      const slot = this.table.residentSlot(keyIds[index]);
      // Marked and held by nobody means: named twice in this call.
      if (!this.isEvictable(keyIds[index]) || this.table.isMarkedForDrop(slot)) continue;
      this.table.markForDrop(slot);
      bytes += this.bytes.footprint(this.table.sizeBytes(slot));
      dropped.push(slot);
    }
    this.#free(dropped);
    return bytes;
  }

  /**
   * Removes what is resident for these keys. An object that is leased or owed leaves only with `force`, and then as soon as it is not any
   * more. Per key: 1 = gone, 2 = will go, 0 = was not there, 3 = held and not forced.
   */
  remove(keys: KeyBatch, force: boolean): Uint8Array {
    const ids = this.#takeIds(keys.count).slice();
    this.keys.find(keys.records, ids);
    return this.#remove(ids, force);
  }

  /** Removes everything that is resident, as remove() does. Returns how many objects are gone and how many will go. */
  clear(force: boolean): { removed: number; pending: number; held: number } {
    const ids: number[] = [];
    for (let id = 1; id <= this.keys.idBound; id++) if (this.table.residentSlot(id) >= 0) ids.push(id);
    const answers = this.#remove(Uint32Array.from(ids), force);
    const tally = [0, 0, 0, 0];
    for (const answer of answers) tally[answer]++;
    return { removed: tally[1], pending: tally[2], held: tally[3] };
  }

  counts(): L1Counts {
    let temporaryObjects = 0;
    let markedForDrop = 0;
    let leasedObjects = 0;
    for (let id = 1; id <= this.keys.idBound; id++) {
      const slot = this.table.residentSlot(id);
      if (slot < 0) continue;
      if (this.table.leases(slot) > 0) leasedObjects++;
      if (this.table.isTemporary(slot)) temporaryObjects++;
      if (this.table.isMarkedForDrop(slot)) markedForDrop++;
    }
    return { residentObjects: this.#residentCount, stagedObjects: this.#stagedCount, leasedObjects, temporaryObjects, markedForDrop };
  }

  /** Recounts everything from the rows. Costs O(objects). */
  audit(): L1Audit {
    return auditL1({
      arena: this.arena,
      keys: this.keys,
      table: this.table,
      leases: this.#leases,
      bytes: this.bytes,
      residentCount: this.#residentCount,
      stagedCount: this.#stagedCount,
      stagedBytes: this.#stagedBytes,
    });
  }

  get residentCount(): number {
    return this.#residentCount;
  }

  get stagedCount(): number {
    return this.#stagedCount;
  }

  // --------------------------------------------------------------------------------------------------------- private

  /** Fills `statuses` and returns how many keys need a slot. Those are marked `granted` for now; duplicates become `staged`. */
  #classify(ids: Uint32Array, tag: number, statuses: Uint8Array, wanted: Uint8Array | undefined): number {
    let needed = 0;
    for (let index = 0; index < statuses.length; index++) {
      const id = ids[index];
      if (wanted !== undefined && wanted[index] === 0) statuses[index] = WriteStatus.resident;
      else if (!this.table.hasObjects(id)) needed++;
      else if (this.table.residentSlot(id) >= 0) statuses[index] = WriteStatus.resident;
      else if (this.table.stagedSlotOf(id, tag) >= 0) statuses[index] = WriteStatus.staged;
      else needed++;
    }
    return needed;
  }

  /** A key named twice would be staged twice (LMCache loses the first buffer so, N16): the second becomes `staged`. */
  #markRepeats(ids: Uint32Array, statuses: Uint8Array): number {
    const seen = new Set<number>();
    let repeats = 0;
    for (let index = 0; index < statuses.length; index++) {
      if (statuses[index] !== WriteStatus.granted) continue;
      if (seen.has(ids[index])) {
        statuses[index] = WriteStatus.staged;
        repeats++;
      }
      seen.add(ids[index]);
    }
    return repeats;
  }

  /** Leading chunks whose new objects fit into what the class may still take; makes room for them where the arena has too little. */
  #chunksWithinLimit(request: ReserveRequest, ids: Uint32Array, statuses: Uint8Array, needed: number): number {
    const { rowSizes, charge, makeRoom } = request;
    const perChunk = rowSizes.length;
    const chunkCount = statuses.length / perChunk;
    const footprints = rowSizes.map((size) => this.bytes.footprint(size));
    const largest = perChunk === 1 ? footprints[0] : Math.max(...footprints);
    const room = this.bytes.room(charge, largest);
    const fitsWhole = needed * largest <= room && perChunk === 1;
    let neededBytes = fitsWhole ? needed * largest : 0;
    let chunks = fitsWhole ? chunkCount : 0;
    for (; chunks < chunkCount; chunks++) {
      let chunkBytes = 0;
      for (let row = 0; row < perChunk; row++) if (statuses[chunks * perChunk + row] === WriteStatus.granted) chunkBytes += footprints[row];
      if (neededBytes + chunkBytes > room) break;
      neededBytes += chunkBytes;
    }
    const missingBytes = neededBytes - (this.bytes.capacityBytes - this.usedBytes);
    if (missingBytes > 0 && makeRoom !== undefined) this.#makeRoomBeside(ids, statuses, () => makeRoom(missingBytes));
    return chunks;
  }

  /** Room for some keys of a request must not come from others of it: they are about to be answered `resident`. */
  #makeRoomBeside(ids: Uint32Array, statuses: Uint8Array, makeRoom: () => void): void {
    for (let index = 0; index < statuses.length; index++) if (statuses[index] === WriteStatus.resident) this.#spared.add(ids[index]);
    try {
      makeRoom();
    } finally {
      this.#spared.clear();
    }
  }

  #allocate(request: ReserveRequest, ids: Uint32Array, statuses: Uint8Array, needed: number, chunkLimit: number): WriteGrant {
    const { rowSizes, tag, temporary, charge } = request;
    const perChunk = rowSizes.length;
    let chunks = chunkLimit;
    const refsByRow = this.#takeSlots(statuses, rowSizes, chunks);
    for (let row = 0; row < perChunk; row++) chunks = Math.min(chunks, coveredChunks(statuses, row, perChunk, chunks, refsByRow[row].length / 2));
    for (let index = chunks * perChunk; index < statuses.length; index++) if (statuses[index] === WriteStatus.granted) statuses[index] = WriteStatus.noRoom;

    const keyIndices = new Uint32Array(needed);
    const refs = new Uint32Array(2 * needed);
    const reserved = new Uint32Array(needed);
    const used = new Array<number>(perChunk).fill(0);
    let granted = 0;
    for (let index = 0; index < chunks * perChunk; index++) {
      if (statuses[index] !== WriteStatus.granted) continue;
      const row = index % perChunk;
      const slot = refsByRow[row][used[row]];
      const generation = refsByRow[row][used[row] + 1];
      used[row] += 2;
      const isTemporary = typeof temporary === "boolean" ? temporary : temporary[index] !== 0;
      this.table.stage(slot, generation, ids[index], rowSizes[row], tag, isTemporary, charge);
      const bytes = this.bytes.footprint(rowSizes[row]);
      this.bytes.add(charge, bytes);
      this.#stagedBytes += rowSizes[row];
      keyIndices[granted] = index;
      refs[2 * granted] = slot;
      refs[2 * granted + 1] = generation;
      reserved[granted] = ids[index];
      granted++;
    }
    for (let row = 0; row < perChunk; row++) {
      const surplus = refsByRow[row].subarray(used[row]);
      if (surplus.length > 0) this.arena.free(surplus);
    }
    this.#stagedCount += granted;
    if (granted > 0) for (const observer of this.#observers) observer.onReserved?.(reserved.subarray(0, granted));
    return { statuses, keyIndices: keyIndices.subarray(0, granted), refs: refs.subarray(0, 2 * granted), chunks };
  }

  /** Takes the slots that the first `chunks` chunks need, per row; a row may get fewer. */
  #takeSlots(statuses: Uint8Array, rowSizes: readonly number[], chunks: number): Uint32Array[] {
    const perChunk = rowSizes.length;
    return rowSizes.map((sizeBytes, row) => {
      let count = 0;
      for (let index = row; index < chunks * perChunk; index += perChunk) if (statuses[index] === WriteStatus.granted) count++;
      if (count === 0) return new Uint32Array(0);
      const scratch = perChunk === 1 ? this.#takeRefs(count) : new Uint32Array(2 * count);
      return scratch.subarray(0, 2 * this.arena.allocate(sizeBytes, count, scratch));
    });
  }

  #releaseUngranted(ids: Uint32Array, statuses: Uint8Array): void {
    let kept = 0;
    for (let index = 0; index < statuses.length; index++) if (statuses[index] !== WriteStatus.granted) ids[kept++] = ids[index];
    if (kept > 0) this.keys.release(ids.subarray(0, kept));
  }

  #checkStaged(refs: Uint32Array, tag: number): void {
    for (let offset = 0; offset < refs.length; offset += 2) {
      const slot = refs[offset];
      if (this.table.state(slot) !== ObjectState.staged || this.table.generation(slot) !== refs[offset + 1] || this.table.tag(slot) !== tag)
        throw new StateError(`slot ${slot} is not staged by this writer (committed, aborted or expired already)`, "KVFERRY_STALE_HANDLE");
    }
  }

  #publish(slot: number): void {
    this.table.publish(slot);
    this.#stagedCount--;
    this.#stagedBytes -= this.table.sizeBytes(slot);
    this.#residentCount++;
  }

  #setCharge(slot: number, charge: AdmissionClass): void {
    const bytes = this.bytes.footprint(this.table.sizeBytes(slot));
    this.bytes.remove(this.table.charge(slot), bytes);
    this.bytes.add(charge, bytes);
    this.table.setCharge(slot, charge);
  }

  /** Marked for drop and held by nobody. */
  #isFree(slot: number): boolean {
    return this.table.isMarkedForDrop(slot) && this.table.isUnheld(slot);
  }

  #dropUnheldTemporaries(refs: Uint32Array): void {
    const dropped: number[] = [];
    for (let offset = 0; offset < refs.length; offset += 2) {
      const slot = refs[offset];
      if (this.table.state(slot) !== ObjectState.resident || this.table.generation(slot) !== refs[offset + 1]) continue;
      if (this.table.leases(slot) > 0) continue;
      if (this.table.isTemporary(slot)) dropped.push(slot);
      else if (this.table.charge(slot) === AdmissionClass.load) this.#setCharge(slot, AdmissionClass.none);
    }
    this.#free(dropped);
  }

  #remove(ids: Uint32Array, force: boolean): Uint8Array {
    const answers = new Uint8Array(ids.length);
    const dropped: number[] = [];
    for (let index = 0; index < ids.length; index++) {
      const slot = ids[index] === 0 ? -1 : this.table.residentSlot(ids[index]);
      if (slot < 0) continue;
      const held = this.table.leases(slot) > 0 || this.table.openObligations(slot) > 0;
      if (held && !force) {
        answers[index] = 3;
      } else if (held) {
        this.table.markForDrop(slot);
        answers[index] = 2;
      } else if (!this.table.isMarkedForDrop(slot)) {
        // Marked and held by nobody means: named twice in this call.
        this.table.markForDrop(slot);
        dropped.push(slot);
        answers[index] = 1;
      }
    }
    this.#free(dropped);
    return answers;
  }

  /** Gives slots back to the arena and their references to the key table. */
  #free(slots: readonly number[]): void {
    if (slots.length === 0) return;
    const refs = new Uint32Array(2 * slots.length);
    const ids = new Uint32Array(slots.length);
    const removed = new Uint32Array(slots.length);
    let removedCount = 0;
    for (let index = 0; index < slots.length; index++) {
      const slot = slots[index];
      const keyId = this.table.keyId(slot);
      const bytes = this.bytes.footprint(this.table.sizeBytes(slot));
      this.bytes.remove(this.table.charge(slot), bytes);
      if (this.table.state(slot) === ObjectState.staged) {
        this.#stagedCount--;
        this.#stagedBytes -= this.table.sizeBytes(slot);
      } else {
        this.#residentCount--;
      }
      refs[2 * index] = slot;
      refs[2 * index + 1] = this.table.generation(slot);
      ids[index] = keyId;
      this.table.clear(slot);
      if (!this.table.hasObjects(keyId)) removed[removedCount++] = keyId;
    }
    if (removedCount > 0) for (const observer of this.#observers) observer.onRemoved?.(removed.subarray(0, removedCount));
    this.arena.free(refs);
    this.keys.release(ids);
    for (const observer of this.#observers) observer.onFreed?.();
  }

  #idsOf(slots: Uint32Array): Uint32Array {
    const ids = new Uint32Array(slots.length);
    for (let index = 0; index < slots.length; index++) ids[index] = this.table.keyId(slots[index]);
    return ids;
  }

  /** Calls the observers that listen; the ids are gathered only if somebody does. */
  #tell(listener: (observer: L1Observer) => ((ids: Uint32Array) => void) | undefined, gather: () => Uint32Array): void {
    let ids: Uint32Array | undefined;
    for (const observer of this.#observers) {
      const call = listener(observer);
      if (call === undefined) continue;
      ids ??= gather();
      call.call(observer, ids);
    }
  }

  #takeIds(count: number): Uint32Array {
    if (this.#ids.length < count) this.#ids = new Uint32Array(2 * count);
    return this.#ids.subarray(0, count);
  }

  #takeRefs(count: number): Uint32Array {
    if (this.#refs.length < 2 * count) this.#refs = new Uint32Array(4 * count);
    return this.#refs.subarray(0, 2 * count);
  }
}

/** What find() writes for a key that is not resident. */
export const noSlot = 0xffffffff;

/** Leading chunks for whose `row` the `available` slots suffice. */
function coveredChunks(statuses: Uint8Array, row: number, perChunk: number, chunks: number, available: number): number {
  let used = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    if (statuses[chunk * perChunk + row] !== WriteStatus.granted) continue;
    if (used === available) return chunk;
    used++;
  }
  return chunks;
}
