import { KiB } from "../../src/base/bytes.ts";
import { KeyBatch, keyRecordBytes } from "../../src/keys/key-batch.ts";
import { AdmissionClass, CommitStatus, L1Manager, noSlot, WriteStatus, type ReadLease } from "../../src/l1/index.ts";
import { loadBinding } from "../../src/native/load.ts";

type Code = "SUCCESS" | "KEY_NOT_EXIST" | "KEY_NOT_READABLE" | "KEY_NOT_WRITABLE" | "KEY_IN_WRONG_STATE" | "KEY_IS_LOCKED" | "OUT_OF_MEMORY";
export type KeyAnswer = [Code] | [Code, number];
export type Event = [string, number[]];

/** A rule of ours that differs on purpose came into play; what LMCache answers from here on is not comparable. */
export class Divergence extends Error {}

interface StagedCopy {
  readonly key: number;
  readonly tag: number;
  readonly refs: Uint32Array;
  readonly objectNumber: number;
  readonly temporary: boolean;
  readonly deadlineMs: number;
}

interface Locks {
  leases: ReadLease[];
  expiryMs: number;
}

const binding = loadBinding();

/**
 * LMCache's L1 calls expressed in ours, for replaying the recorded answers: counted read locks become leases (one per count), write tags stay
 * tags, an all-or-nothing reservation is one of ours that is given back when it was not granted whole. It holds no object state of its own:
 * what is resident, staged and used is asked from L1Manager.
 */
export class LmcacheL1 {
  readonly l1: L1Manager;
  readonly #writeTtlMs: number;
  readonly #readTtlMs: number;
  readonly #tags = new Map<string, number>();
  readonly #staged: StagedCopy[] = [];
  readonly #locks = new Map<number, Locks>();
  readonly #numberOfSlot = new Map<string, number>();
  #events: Event[] = [];
  #nowMs = 1_000_000;
  #objectNumber = 0;

  constructor(slots: number, unit: number, writeTtlSeconds: number, readTtlSeconds: number) {
    // The arena's smallest size is 64 KiB; a spacer takes what the recorded one did not have.
    const sizeBytes = Math.max(64 * KiB, slots * unit);
    const arena = new binding.Arena({ sizeBytes });
    this.l1 = new L1Manager(arena, new binding.InternTable(32, 16), { store: 0, load: 0 });
    this.spacerBytes = sizeBytes - slots * unit;
    if (this.spacerBytes > 0) arena.allocate(this.spacerBytes, 1, new Uint32Array(2));
    this.#writeTtlMs = writeTtlSeconds * 1000;
    this.#readTtlMs = readTtlSeconds * 1000;
    const note = (name: string) => (ids: Uint32Array) => this.#note(name, ids);
    this.l1.observe({
      onReserved: note("reserved_write"),
      onWritten: note("write_finished"),
      onLoaded: note("finish_write_and_reserve_read"),
      onLeased: note("reserved_read"),
      onReleased: note("read_finished"),
      onTouched: note("accessed"),
      onRemoved: note("deleted"),
    });
  }

  readonly spacerBytes: number;

  takeEvents(): Event[] {
    return this.#events.splice(0);
  }

  get usedBytes(): number {
    return this.l1.usedBytes - this.spacerBytes;
  }

  /** LMCache's [objects, staged, liveWriteReservations, readLocked, temporary]. */
  counts(): number[] {
    const counts = this.l1.counts();
    const temporaryStaged = this.#staged.filter(({ temporary }) => temporary).length;
    return [
      counts.residentObjects + counts.stagedObjects,
      counts.stagedObjects,
      this.#staged.filter(({ deadlineMs }) => deadlineMs > this.#nowMs).length,
      counts.leasedObjects,
      counts.temporaryObjects + temporaryStaged,
    ];
  }

  /** Where a write's time runs out ours gives the slot back, and where a temporary's last lease does ours frees it: LMCache does neither. */
  advanceMs(deltaMs: number): void {
    this.#nowMs += deltaMs;
    if (this.#staged.some(({ deadlineMs }) => deadlineMs <= this.#nowMs)) throw new Divergence("expired write: ours is given back");
    for (const [key, locks] of this.#locks) {
      if (locks.expiryMs > this.#nowMs || locks.leases.length === 0) continue;
      const slot = this.#residentSlot(key);
      if (slot >= 0 && this.l1.table.isTemporary(slot)) throw new Divergence("expired read of a temporary: ours is freed");
      for (const lease of locks.leases.splice(0)) this.l1.release(lease);
    }
    // LMCache says nothing when a lock runs out.
    this.#events = [];
  }

  reserveWrite(keys: number[], temporary: number[], sizeBytes: number, tagName: string): Map<number, KeyAnswer> {
    const batch = keysOf(keys);
    const tag = this.#tag(tagName);
    const temporaries = Uint8Array.from(temporary);
    const request = { keys: batch, rowSizes: [sizeBytes], tag, temporary: temporaries, charge: AdmissionClass.none } as const;
    const grant = this.l1.reserve(request);
    const answers = new Map<number, KeyAnswer>();
    const whole = !grant.statuses.includes(WriteStatus.noRoom);
    if (!whole) {
      if (grant.refs.length > 0) this.l1.abort(grant.refs, tag);
      this.#events = [];
    }
    keys.forEach((key, index) => {
      const status = grant.statuses[index];
      if (status === WriteStatus.resident || (status === WriteStatus.staged && keys.indexOf(key) === index)) answers.set(key, ["KEY_NOT_WRITABLE"]);
      else if (!answers.has(key)) answers.set(key, ["OUT_OF_MEMORY"]);
    });
    if (!whole) return answers;
    grant.keyIndices.forEach((keyIndex, position) => {
      const refs = grant.refs.slice(2 * position, 2 * position + 2);
      const objectNumber = ++this.#objectNumber;
      this.#staged.push({ key: keys[keyIndex], tag, refs, objectNumber, temporary: temporary[keyIndex] !== 0, deadlineMs: this.#nowMs + this.#writeTtlMs });
      answers.set(keys[keyIndex], ["SUCCESS", objectNumber]);
      this.#numberOfSlot.set(refs.join(), objectNumber);
    });
    return answers;
  }

  finishWrite(keys: number[], tagName: string): Map<number, KeyAnswer> {
    const taken = this.#takeStaged(keys, tagName);
    const refs = joinRefs(taken);
    if (taken.length > 0) this.l1.commit(refs, this.#tag(tagName));
    return this.#answers(keys, taken);
  }

  finishWriteAndReserveRead(keys: number[], readers: number, tagName: string): Map<number, KeyAnswer> {
    const taken = this.#takeStaged(keys, tagName);
    const isLost = (copy: StagedCopy) => this.#residentSlot(copy.key) >= 0;
    const lost = taken.filter(isLost);
    const leaseAll = (): void => {
      this.#events = this.#events.filter(([name]) => name !== "deleted");
      const before = this.#events.length;
      for (const copy of taken) this.#lock(copy.key, readers);
      this.#events.length = before;
      if (lost.length > 0) this.#events.unshift(["reserved_read", lost.map(({ key }) => key)]);
    };
    if (taken.length > 0) {
      // Leases are taken inside the publishing call, as a waiting load's are.
      this.#onPublished = leaseAll;
      this.l1.commitLoaded(joinRefs(taken), this.#tag(tagName));
      this.#onPublished = undefined;
    }
    const answers = this.#answers(keys, taken);
    for (const copy of taken) answers.set(copy.key, ["SUCCESS", this.#numberOf(this.#residentSlot(copy.key))]);
    return answers;
  }

  #onPublished: (() => void) | undefined;

  /** Connected once: the join point of commitLoaded. */
  connect(): this {
    this.l1.observe({ onUnstaged: () => this.#onPublished?.() });
    return this;
  }

  finishWriteAndDelete(keys: number[], tagName: string): Map<number, KeyAnswer> {
    const taken = this.#takeStaged(keys, tagName);
    if (taken.length > 0) this.l1.abort(joinRefs(taken), this.#tag(tagName));
    return this.#answers(keys, taken);
  }

  reserveRead(keys: number[], readers: number): Map<number, KeyAnswer> {
    const answers = new Map<number, KeyAnswer>();
    const locked: number[] = [];
    for (const key of keys) {
      const slot = this.#residentSlot(key);
      if (slot < 0) {
        answers.set(key, ["KEY_NOT_EXIST"]);
        continue;
      }
      this.#lock(key, readers);
      locked.push(key);
      answers.set(key, ["SUCCESS", this.#numberOf(slot)]);
    }
    this.#events = locked.length > 0 ? [["reserved_read", locked]] : [];
    return answers;
  }

  unsafeRead(keys: number[]): Map<number, KeyAnswer> {
    const answers = new Map<number, KeyAnswer>();
    for (const key of keys) {
      const slot = this.#residentSlot(key);
      if (slot < 0) answers.set(key, ["KEY_NOT_EXIST"]);
      else answers.set(key, this.l1.table.leases(slot) > 0 ? ["SUCCESS", this.#numberOf(slot)] : ["KEY_NOT_READABLE"]);
    }
    return answers;
  }

  finishRead(keys: number[], readers: number): Map<number, KeyAnswer> {
    const answers = new Map<number, KeyAnswer>();
    const finished: number[] = [];
    const deleted: number[] = [];
    for (const key of keys) {
      if (this.#residentSlot(key) < 0) {
        answers.set(key, ["KEY_NOT_EXIST"]);
        continue;
      }
      const leases = this.#locks.get(key)?.leases ?? [];
      if (leases.length === 0) {
        answers.set(key, ["KEY_IN_WRONG_STATE"]);
        continue;
      }
      for (const lease of leases.splice(Math.max(0, leases.length - readers))) this.l1.release(lease);
      finished.push(key);
      if (this.#residentSlot(key) < 0 && !this.isStaged(key)) deleted.push(key);
      answers.set(key, ["SUCCESS"]);
    }
    this.#events = [];
    if (finished.length > 0) this.#events.push(["read_finished", finished]);
    if (deleted.length > 0) this.#events.push(["deleted", deleted]);
    return answers;
  }

  delete(keys: number[], force: boolean): Map<number, KeyAnswer> {
    const answers = new Map<number, KeyAnswer>();
    for (const key of keys) {
      const slot = this.#residentSlot(key);
      if (slot < 0 && !this.isStaged(key)) {
        answers.set(key, ["KEY_NOT_EXIST"]);
        continue;
      }
      if (this.isStaged(key) && !force) {
        answers.set(key, ["KEY_IS_LOCKED"]);
        continue;
      }
      if (force) this.#endHolders(key);
      if (slot < 0) {
        answers.set(key, ["SUCCESS"]);
        continue;
      }
      const [answer] = this.l1.remove(keysOf([key]), force);
      answers.set(key, answer === 0 || answer === 1 ? ["SUCCESS"] : ["KEY_IS_LOCKED"]);
    }
    this.#joinEvents();
    return answers;
  }

  clear(force: boolean): void {
    if (force) for (const key of new Set([...this.#locks.keys(), ...this.#staged.map((copy) => copy.key)])) this.#endHolders(key);
    this.l1.clear(force);
    this.#joinEvents();
  }

  touch(keys: number[]): void {
    this.l1.touch(Uint32Array.from(keys.map((key) => this.#residentSlot(key)).filter((slot) => slot >= 0)));
  }

  isEvictable(key: number): boolean {
    const slot = this.#residentSlot(key);
    return slot >= 0 && this.l1.isEvictable(this.l1.table.keyId(slot));
  }

  /** Ours lets a forced removal wait for readers and writers; here they end first, so that the recorded outcome can be compared. */
  #endHolders(key: number): void {
    const mine = (copy: StagedCopy) => copy.key === key;
    for (const copy of this.#staged.filter(mine)) this.l1.abort(copy.refs, copy.tag);
    this.#staged.splice(0, this.#staged.length, ...this.#staged.filter((copy) => !mine(copy)));
    for (const lease of this.#locks.get(key)?.leases.splice(0) ?? []) if (lease.live) this.l1.release(lease);
  }

  isStaged(key: number): boolean {
    return this.#staged.some((copy) => copy.key === key);
  }

  #lock(key: number, readers: number): void {
    const slot = this.#residentSlot(key);
    const locks = this.#locks.get(key) ?? { leases: [], expiryMs: 0 };
    locks.leases = locks.leases.filter(({ live }) => live);
    for (let reader = 0; reader < Math.min(128, Math.max(1, readers)); reader++) locks.leases.push(this.l1.lease([slot], `reader of ${key}`, 1, Infinity));
    locks.expiryMs = this.#nowMs + this.#readTtlMs;
    this.#locks.set(key, locks);
  }

  #takeStaged(keys: number[], tagName: string): StagedCopy[] {
    const taken: StagedCopy[] = [];
    for (const key of keys) {
      const position = this.#staged.findIndex((copy) => copy.key === key && copy.tag === this.#tag(tagName));
      if (position >= 0) taken.push(...this.#staged.splice(position, 1));
    }
    return taken;
  }

  #answers(keys: number[], taken: readonly StagedCopy[]): Map<number, KeyAnswer> {
    return new Map(keys.map((key): [number, KeyAnswer] => [key, taken.some((copy) => copy.key === key) ? ["SUCCESS"] : ["KEY_NOT_EXIST"]]));
  }

  isResident(key: number): boolean {
    return this.#residentSlot(key) >= 0;
  }

  #residentSlot(key: number): number {
    const id = new Uint32Array(1);
    this.l1.keys.find(keysOf([key]).records, id);
    return id[0] === 0 ? -1 : this.l1.table.residentSlot(id[0]);
  }

  #numberOf(slot: number): number {
    return this.#numberOfSlot.get(`${slot},${this.l1.table.generation(slot)}`) ?? -1;
  }

  #tag(name: string): number {
    let tag = this.#tags.get(name);
    if (tag === undefined) this.#tags.set(name, (tag = this.#tags.size + 1));
    return tag;
  }

  #note(name: string, ids: Uint32Array): void {
    const records = new Uint8Array(ids.length * keyRecordBytes);
    this.l1.keys.records(ids, records);
    const batch = new KeyBatch(records);
    const keys = Array.from(ids, (_, index) => new Uint32Array(batch.chunkHash(index).slice().buffer)[0] - 1);
    this.#events.push([name, keys]);
  }

  /** LMCache reports one call's deletions together. */
  #joinEvents(): void {
    const deleted = this.#events.filter(([name]) => name === "deleted").flatMap(([, keys]) => keys);
    this.#events = deleted.length > 0 ? [["deleted", deleted]] : [];
  }
}

export function keysOf(names: readonly number[]): KeyBatch {
  const records = new Uint8Array(names.length * keyRecordBytes);
  const words = new Uint32Array(records.buffer);
  names.forEach((name, index) => (words[(index * keyRecordBytes) / 4] = name + 1));
  return new KeyBatch(records);
}

function joinRefs(copies: readonly StagedCopy[]): Uint32Array {
  const refs = new Uint32Array(2 * copies.length);
  copies.forEach((copy, index) => refs.set(copy.refs, 2 * index));
  return refs;
}

export { CommitStatus, noSlot };
