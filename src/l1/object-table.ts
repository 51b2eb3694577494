import { assert } from "../base/assert.ts";
import { PagedUint32Array } from "./paged-array.ts";

/**
 * The rows of L1: one per slot of the arena (an *object*, staged or resident) and one per interned key, in arrays of integers so that a
 * million keys cost 28 bytes each and no garbage. docs/architecture.md and l1/README.md hold the state table.
 *
 * The state word of an object:
 *
 * | bits | meaning |
 * |---|---|
 * | 0-1 | ObjectState |
 * | 2 | temporary: leaves when its last lease ends |
 * | 3 | marked for drop: leaves as soon as no lease and no obligation holds it |
 * | 4-5 | AdmissionClass it is charged to |
 * | 6-31 | live leases on it |
 */
export const ObjectState = { free: 0, staged: 1, resident: 2 } as const;
export type ObjectState = (typeof ObjectState)[keyof typeof ObjectState];

/** Whose share of L1 the bytes of an object count against. */
export const AdmissionClass = { none: 0, store: 1, load: 2 } as const;
export type AdmissionClass = (typeof AdmissionClass)[keyof typeof AdmissionClass];

const stateMask = 3;
const temporaryBit = 1 << 2;
const dropBit = 1 << 3;
const classShift = 4;
const classMask = 3 << classShift;
const leaseShift = 6;
const leaseUnit = 1 << leaseShift;
const leasesMax = 2 ** (32 - leaseShift) - 1;

export class ObjectTable {
  readonly #keyId = new PagedUint32Array();
  readonly #generation = new PagedUint32Array();
  readonly #sizeBytes = new PagedUint32Array();
  readonly #word = new PagedUint32Array();
  /** Staged: the writer's tag. Resident: open obligations. */
  readonly #aux = new PagedUint32Array();
  /** By key id: slot index + 1 of the resident object, 0 when there is none. */
  readonly #resident = new PagedUint32Array();
  /** By key id: slot index + 1 of the first staged copy; further copies (rare) are in #moreStaged. */
  readonly #staged = new PagedUint32Array();
  readonly #moreStaged = new Map<number, number[]>();

  /** A slot becomes a staged object of `keyId`. */
  stage(slot: number, generation: number, keyId: number, sizeBytes: number, tag: number, temporary: boolean, charge: AdmissionClass): void {
    assert((this.#word.get(slot) & stateMask) === ObjectState.free, "a slot is staged twice");
    this.#keyId.set(slot, keyId);
    this.#generation.set(slot, generation);
    this.#sizeBytes.set(slot, sizeBytes);
    this.#word.set(slot, ObjectState.staged | (temporary ? temporaryBit : 0) | (charge << classShift));
    this.#aux.set(slot, tag);
    if (this.#staged.get(keyId) === 0) {
      this.#staged.set(keyId, slot + 1);
    } else {
      const more = this.#moreStaged.get(keyId);
      if (more === undefined) this.#moreStaged.set(keyId, [slot]);
      else more.push(slot);
    }
  }

  /** The staged object becomes the resident one of its key; there must be none. */
  publish(slot: number): void {
    const keyId = this.#keyId.get(slot);
    assert(this.#resident.get(keyId) === 0, "a key has two resident objects");
    this.#unstage(slot);
    this.#resident.set(keyId, slot + 1);
    this.#word.set(slot, ((this.#word.get(slot) & ~stateMask) | ObjectState.resident) >>> 0);
    this.#aux.set(slot, 0);
  }

  /** The row is free again. */
  clear(slot: number): void {
    const state = this.state(slot);
    if (state === ObjectState.staged) this.#unstage(slot);
    else {
      assert(state === ObjectState.resident, "a free row is cleared");
      this.#resident.set(this.#keyId.get(slot), 0);
    }
    this.#word.set(slot, 0);
    this.#keyId.set(slot, 0);
    this.#aux.set(slot, 0);
  }

  /** The resident object's slot of a key, or -1. */
  residentSlot(keyId: number): number {
    return this.#resident.get(keyId) - 1;
  }

  /** The first staged copy of a key, or -1. */
  stagedSlot(keyId: number): number {
    return this.#staged.get(keyId) - 1;
  }

  /** The staged copy of a key that the writer `tag` made, or -1. */
  stagedSlotOf(keyId: number, tag: number): number {
    const first = this.#staged.get(keyId) - 1;
    if (first < 0 || this.#aux.get(first) === tag) return first;
    return this.#moreStaged.get(keyId)?.find((slot) => this.#aux.get(slot) === tag) ?? -1;
  }

  /** All staged copies of a key. */
  stagedSlots(keyId: number): number[] {
    const first = this.#staged.get(keyId) - 1;
    return first < 0 ? [] : [first, ...(this.#moreStaged.get(keyId) ?? [])];
  }

  state(slot: number): ObjectState {
    return (this.#word.get(slot) & stateMask) as ObjectState;
  }

  keyId(slot: number): number {
    return this.#keyId.get(slot);
  }

  generation(slot: number): number {
    return this.#generation.get(slot);
  }

  sizeBytes(slot: number): number {
    return this.#sizeBytes.get(slot);
  }

  tag(slot: number): number {
    return this.#aux.get(slot);
  }

  isTemporary(slot: number): boolean {
    return (this.#word.get(slot) & temporaryBit) !== 0;
  }

  isMarkedForDrop(slot: number): boolean {
    return (this.#word.get(slot) & dropBit) !== 0;
  }

  markForDrop(slot: number): void {
    this.#word.set(slot, (this.#word.get(slot) | dropBit) >>> 0);
  }

  charge(slot: number): AdmissionClass {
    return ((this.#word.get(slot) & classMask) >>> classShift) as AdmissionClass;
  }

  setCharge(slot: number, charge: AdmissionClass): void {
    this.#word.set(slot, ((this.#word.get(slot) & ~classMask) | (charge << classShift)) >>> 0);
  }

  leases(slot: number): number {
    return this.#word.get(slot) >>> leaseShift;
  }

  addLease(slot: number): void {
    const word = this.#word.get(slot);
    assert(word >>> leaseShift < leasesMax, "too many leases on one object");
    this.#word.set(slot, (word + leaseUnit) >>> 0);
  }

  /** Returns the leases that are left. */
  removeLease(slot: number): number {
    const word = this.#word.get(slot);
    assert(word >>> leaseShift > 0, "a lease is released that nobody holds");
    this.#word.set(slot, (word - leaseUnit) >>> 0);
    return (word >>> leaseShift) - 1;
  }

  openObligations(slot: number): number {
    return this.#aux.get(slot);
  }

  addObligation(slot: number): void {
    this.#aux.set(slot, this.#aux.get(slot) + 1);
  }

  removeObligation(slot: number): number {
    const open = this.#aux.get(slot);
    assert(open > 0, "an obligation ends that was never opened");
    this.#aux.set(slot, open - 1);
    return open - 1;
  }

  memoryBytes(): number {
    let bytes = 0;
    for (const array of [this.#keyId, this.#generation, this.#sizeBytes, this.#word, this.#aux, this.#resident, this.#staged])
      bytes += array.memoryBytes();
    return bytes;
  }

  #unstage(slot: number): void {
    const keyId = this.#keyId.get(slot);
    const more = this.#moreStaged.get(keyId);
    if (this.#staged.get(keyId) === slot + 1) {
      const next = more?.shift();
      this.#staged.set(keyId, next === undefined ? 0 : next + 1);
    } else {
      assert(more !== undefined && more.includes(slot), "a staged copy is not in its key's list");
      more.splice(more.indexOf(slot), 1);
    }
    if (more?.length === 0) this.#moreStaged.delete(keyId);
  }
}
