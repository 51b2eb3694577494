import { assert } from "../base/assert.ts";
import { StateError } from "../base/errors.ts";
import type { KeyBatch } from "../keys/key-batch.ts";
import type { NativeArena, NativeInternTable } from "../native/binding.ts";
import { auditL1, type L1Audit } from "./audit.ts";
import { ClassBytes, type L1Shares } from "./class-bytes.ts";
import { ReadLease } from "./lease.ts";
import { countMarks, tellIds, type L1Counts, type L1Observer } from "./observer.ts";
import { AdmissionClass, ObjectState, ObjectTable } from "./object-table.ts";
import { Scratch } from "./scratch.ts";
import { CommitStatus, findRoom, WriteStatus, type FoundRoom, type ReserveRequest, type WriteGrant } from "./reservation.ts";

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
  // Arrays that live for one call, kept for the next: V8 takes each one of more than 64 bytes from malloc.
  readonly #reservedIds = new Scratch();
  readonly #publishedIds = new Scratch();
  readonly #publishedRefs = new Scratch();
  readonly #unstagedIds = new Scratch();
  readonly #freedIds = new Scratch();
  readonly #freedRefs = new Scratch();
  readonly #removedIds = new Scratch();
  readonly #toldIds = new Scratch();

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
    const { keys } = request;
    const count = keys.count;
    assert(count % request.rowSizes.length === 0, "a reservation holds whole chunks");
    const ids = this.#takeIds(count);
    const inserted = this.keys.intern(keys.records, ids);
    const found = findRoom(this, this.#spared, request, ids, inserted);
    const grant = this.#stage(request, ids, found);
    if (grant.keyIndices.length < count) this.#releaseUngranted(ids, found.statuses);
    return grant;
  }

  /**
   * Publishes staged objects. One CommitStatus per slot. Throws StateError when a slot is not staged under `tag` or something still writes
   * into it; then nothing was done.
   */
  commit(refs: Uint32Array, tag: number): Uint8Array {
    this.#checkStaged(refs, tag);
    this.#seal(refs);
    const count = refs.length / 2;
    const statuses = new Uint8Array(count);
    const published = this.#publishedIds.take(count);
    const publishedRefs = this.#publishedRefs.take(2 * count);
    const unstaged = this.#unstagedIds.take(count);
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
    if (publishedCount === count && count > 0) for (const observer of this.#observers) observer.onWritten?.(published, publishedRefs);
    else if (publishedCount > 0)
      for (const observer of this.#observers) observer.onWritten?.(published.subarray(0, publishedCount), publishedRefs.subarray(0, 2 * publishedCount));
    this.#free(lost);
    for (const observer of this.#observers) observer.onUnstaged?.(unstaged);
    this.#announceRoom();
    return statuses;
  }

  /**
   * Publishes loaded objects and leases whatever is resident for each key then. Nothing is owed to any adapter. A temporary object
   * leaves with its last lease, so the caller leases before it lets go.
   */
  commitLoaded(refs: Uint32Array, tag: number): void {
    this.#checkStaged(refs, tag);
    this.#seal(refs);
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
    for (let index = 0; index < slots.length; index++) assert(this.table.state(slots[index]) === ObjectState.resident, "only a resident object can be leased");
    let room = this.bytes.room(AdmissionClass.load);
    let count = 0;
    for (; count < slots.length; count++) {
      const slot = slots[count];
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
    if (count > 0) tellIds(this.#observers, (observer) => observer.onLeased, this.table, leased, this.#toldIds);
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
    if (lease.slots.length > 0) tellIds(this.#observers, (observer) => observer.onReleased, this.table, lease.slots, this.#toldIds);
    this.#free(dropped);
    if (lease.slots.length > dropped.length) this.#announceRoom();
  }

  /** Tells the observers that these objects were used: the only source of recency. */
  touch(slots: Uint32Array): void {
    if (slots.length > 0) tellIds(this.#observers, (observer) => observer.onTouched, this.table, slots, this.#toldIds);
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
    if (refs.length > 2 * dropped.length) this.#announceRoom();
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

  /** Costs O(objects). */
  counts(): L1Counts {
    return { residentObjects: this.#residentCount, stagedObjects: this.#stagedCount, ...countMarks(this.keys, this.table) };
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

  /** Stages the slots that were found and tells who listens. */
  #stage(request: ReserveRequest, ids: Uint32Array, found: FoundRoom): WriteGrant {
    const { rowSizes, tag, temporary, charge } = request;
    const { statuses, refs, chunks } = found;
    const perChunk = rowSizes.length;
    const count = refs.length / 2;
    const keyIndices = new Uint32Array(count);
    const reserved = this.#reservedIds.take(count);
    let granted = 0;
    for (let index = 0; granted < count; index++) {
      if (statuses[index] !== WriteStatus.granted) continue;
      const sizeBytes = rowSizes[index % perChunk];
      const isTemporary = typeof temporary === "boolean" ? temporary : temporary[index] !== 0;
      this.table.stage(refs[2 * granted], refs[2 * granted + 1], ids[index], sizeBytes, tag, isTemporary, charge);
      const footprint = this.bytes.footprint(sizeBytes);
      this.bytes.add(charge, footprint);
      if (perChunk > 1) this.bytes.born(footprint, 1);
      this.#stagedBytes += sizeBytes;
      keyIndices[granted] = index;
      reserved[granted] = ids[index];
      granted++;
    }
    if (perChunk === 1 && count > 0) this.bytes.born(this.bytes.footprint(rowSizes[0]), count);
    this.#stagedCount += count;
    if (count > 0) for (const observer of this.#observers) observer.onReserved?.(reserved);
    return { statuses, keyIndices, refs, chunks };
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

  /** From here on the objects can only be read, through whatever handle (law 3). */
  #seal(refs: Uint32Array): void {
    const busy = this.arena.seal(refs);
    if (busy > 0) throw new StateError(`commit: ${busy} of ${refs.length / 2} slots are still being written; await the copy first`);
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
    this.#announceRoom();
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
    const refs = this.#freedRefs.take(2 * slots.length);
    const ids = this.#freedIds.take(slots.length);
    const removed = this.#removedIds.take(slots.length);
    let removedCount = 0;
    let runBytes = 0;
    let runCount = 0;
    for (let index = 0; index < slots.length; index++) {
      const slot = slots[index];
      const keyId = this.table.keyId(slot);
      const bytes = this.bytes.footprint(this.table.sizeBytes(slot));
      if (bytes !== runBytes && runCount > 0) {
        this.bytes.died(runBytes, runCount);
        runCount = 0;
      }
      runBytes = bytes;
      runCount++;
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
    this.bytes.died(runBytes, runCount);
    if (removedCount > 0) for (const observer of this.#observers) observer.onRemoved?.(removedCount === removed.length ? removed : removed.subarray(0, removedCount));
    this.arena.free(refs);
    this.keys.release(ids);
    this.#announceRoom();
  }

  #announceRoom(): void {
    for (const observer of this.#observers) observer.onRoom?.();
  }

  #takeIds(count: number): Uint32Array {
    if (this.#ids.length < count) this.#ids = new Uint32Array(2 * count);
    return this.#ids.subarray(0, count);
  }
}

/** What find() writes for a key that is not resident. */
export const noSlot = 0xffffffff;
