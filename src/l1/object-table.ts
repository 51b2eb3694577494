import { assert } from "../base/assert.ts";
import { PagedRows } from "./paged-array.ts";

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

/** Columns of a slot's row. */
const keyIdColumn = 0;
const generationColumn = 1;
const sizeColumn = 2;
const wordColumn = 3;
/** Staged: the writer's tag. Resident: open obligations. */
const auxColumn = 4;
const slotColumns = 5;

/** Columns of a key's row: slot index + 1 of its resident object and of its first staged copy, 0 when there is none. */
const residentColumn = 0;
const stagedColumn = 1;
const keyColumns = 2;

export class ObjectTable {
  readonly #slots = new PagedRows(slotColumns);
  readonly #keys = new PagedRows(keyColumns);
  /** By key id: staged copies beyond the first (rare). */
  readonly #moreStaged = new Map<number, number[]>();

  /** A slot becomes a staged object of `keyId`. */
  stage(slot: number, generation: number, keyId: number, sizeBytes: number, tag: number, temporary: boolean, charge: AdmissionClass): void {
    assert((this.#slots.get(slot, wordColumn) & stateMask) === ObjectState.free, "a slot is staged twice");
    this.#slots.set(slot, keyIdColumn, keyId);
    this.#slots.set(slot, generationColumn, generation);
    this.#slots.set(slot, sizeColumn, sizeBytes);
    this.#slots.set(slot, wordColumn, ObjectState.staged | (temporary ? temporaryBit : 0) | (charge << classShift));
    this.#slots.set(slot, auxColumn, tag);
    if (this.#keys.get(keyId, stagedColumn) === 0) {
      this.#keys.set(keyId, stagedColumn, slot + 1);
    } else {
      const more = this.#moreStaged.get(keyId);
      if (more === undefined) this.#moreStaged.set(keyId, [slot]);
      else more.push(slot);
    }
  }

  /** The staged object becomes the resident one of its key; there must be none. */
  publish(slot: number): void {
    const keyId = this.#slots.get(slot, keyIdColumn);
    assert(this.#keys.get(keyId, residentColumn) === 0, "a key has two resident objects");
    this.#unstage(slot);
    this.#keys.set(keyId, residentColumn, slot + 1);
    this.#slots.set(slot, wordColumn, ((this.#slots.get(slot, wordColumn) & ~stateMask) | ObjectState.resident) >>> 0);
    this.#slots.set(slot, auxColumn, 0);
  }

  /** The row is free again. */
  clear(slot: number): void {
    const state = this.state(slot);
    if (state === ObjectState.staged) this.#unstage(slot);
    else {
      assert(state === ObjectState.resident, "a free row is cleared");
      this.#keys.set(this.#slots.get(slot, keyIdColumn), residentColumn, 0);
    }
    this.#slots.set(slot, wordColumn, 0);
    this.#slots.set(slot, keyIdColumn, 0);
    this.#slots.set(slot, auxColumn, 0);
  }

  /** The resident object's slot of a key, or -1. */
  residentSlot(keyId: number): number {
    return this.#keys.get(keyId, residentColumn) - 1;
  }

  /** The first staged copy of a key, or -1. */
  stagedSlot(keyId: number): number {
    return this.#keys.get(keyId, stagedColumn) - 1;
  }

  /** The staged copy of a key that the writer `tag` made, or -1. */
  stagedSlotOf(keyId: number, tag: number): number {
    const first = this.#keys.get(keyId, stagedColumn) - 1;
    if (first < 0 || this.#slots.get(first, auxColumn) === tag) return first;
    return this.#moreStaged.get(keyId)?.find((slot) => this.#slots.get(slot, auxColumn) === tag) ?? -1;
  }

  /** All staged copies of a key. */
  stagedSlots(keyId: number): number[] {
    const first = this.#keys.get(keyId, stagedColumn) - 1;
    return first < 0 ? [] : [first, ...(this.#moreStaged.get(keyId) ?? [])];
  }

  state(slot: number): ObjectState {
    return (this.#slots.get(slot, wordColumn) & stateMask) as ObjectState;
  }

  keyId(slot: number): number {
    return this.#slots.get(slot, keyIdColumn);
  }

  generation(slot: number): number {
    return this.#slots.get(slot, generationColumn);
  }

  sizeBytes(slot: number): number {
    return this.#slots.get(slot, sizeColumn);
  }

  tag(slot: number): number {
    return this.#slots.get(slot, auxColumn);
  }

  isTemporary(slot: number): boolean {
    return (this.#slots.get(slot, wordColumn) & temporaryBit) !== 0;
  }

  isMarkedForDrop(slot: number): boolean {
    return (this.#slots.get(slot, wordColumn) & dropBit) !== 0;
  }

  markForDrop(slot: number): void {
    this.#slots.set(slot, wordColumn, (this.#slots.get(slot, wordColumn) | dropBit) >>> 0);
  }

  charge(slot: number): AdmissionClass {
    return ((this.#slots.get(slot, wordColumn) & classMask) >>> classShift) as AdmissionClass;
  }

  setCharge(slot: number, charge: AdmissionClass): void {
    this.#slots.set(slot, wordColumn, ((this.#slots.get(slot, wordColumn) & ~classMask) | (charge << classShift)) >>> 0);
  }

  leases(slot: number): number {
    return this.#slots.get(slot, wordColumn) >>> leaseShift;
  }

  addLease(slot: number): void {
    const word = this.#slots.get(slot, wordColumn);
    assert(word >>> leaseShift < leasesMax, "too many leases on one object");
    this.#slots.set(slot, wordColumn, (word + leaseUnit) >>> 0);
  }

  /** Returns the leases that are left. */
  removeLease(slot: number): number {
    const word = this.#slots.get(slot, wordColumn);
    assert(word >>> leaseShift > 0, "a lease is released that nobody holds");
    this.#slots.set(slot, wordColumn, (word - leaseUnit) >>> 0);
    return (word >>> leaseShift) - 1;
  }

  openObligations(slot: number): number {
    return this.#slots.get(slot, auxColumn);
  }

  addObligation(slot: number): void {
    this.#slots.set(slot, auxColumn, this.#slots.get(slot, auxColumn) + 1);
  }

  removeObligation(slot: number): number {
    const open = this.#slots.get(slot, auxColumn);
    assert(open > 0, "an obligation ends that was never opened");
    this.#slots.set(slot, auxColumn, open - 1);
    return open - 1;
  }

  memoryBytes(): number {
    return this.#slots.memoryBytes() + this.#keys.memoryBytes();
  }

  #unstage(slot: number): void {
    const keyId = this.#slots.get(slot, keyIdColumn);
    const more = this.#moreStaged.size === 0 ? undefined : this.#moreStaged.get(keyId);
    if (this.#keys.get(keyId, stagedColumn) === slot + 1) {
      const next = more?.shift();
      this.#keys.set(keyId, stagedColumn, next === undefined ? 0 : next + 1);
    } else {
      assert(more !== undefined && more.includes(slot), "a staged copy is not in its key's list");
      more.splice(more.indexOf(slot), 1);
    }
    if (more?.length === 0) this.#moreStaged.delete(keyId);
  }
}
