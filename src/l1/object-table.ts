import { assert } from "../base/assert.ts";
import { PagedRows, PagedInt32Array } from "./paged-array.ts";

/**
 * The rows of L1: one per slot of the arena (an *object*, staged or resident) and one per interned key, in arrays of integers so that a
 * million keys cost 20 bytes each and no garbage. docs/architecture.md and l1/README.md hold the state table.
 *
 * The state word of an object:
 *
 * | bits | meaning |
 * |---|---|
 * | 0-1 | ObjectState |
 * | 2 | temporary: leaves when its last lease ends |
 * | 3 | marked for drop: leaves as soon as no lease and no obligation holds it |
 * | 4-5 | AdmissionClass it is charged to |
 * | 6-13 | staged: the writer's tag; resident: open obligations |
 * | 14-31 | live leases on it |
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
const auxShift = 6;
const auxUnit = 1 << auxShift;
const auxMax = 255;
const auxMask = auxMax << auxShift;
const leaseShift = 14;
const leaseUnit = 1 << leaseShift;
const leasesMax = 2 ** (32 - leaseShift) - 1;

/** Columns of a slot's row. */
const keyIdColumn = 0;
const generationColumn = 1;
const sizeColumn = 2;
const wordColumn = 3;
const slotColumns = 4;

export class ObjectTable {
  readonly #slots = new PagedRows(slotColumns);
  /**
   * By key id: slot index + 1 of the resident object, or that of a staged copy, negative, when nothing is resident. 0 = neither. Signed,
   * because V8 keeps 32-bit integers in registers only while they are signed ones.
   */
  readonly #keys = new PagedInt32Array();
  /** By key id: staged copies that #keys does not name (rare): further ones, and those beside a resident object. */
  readonly #moreStaged = new Map<number, number[]>();

  /** A slot becomes a staged object of `keyId`. */
  stage(slot: number, generation: number, keyId: number, sizeBytes: number, tag: number, temporary: boolean, charge: AdmissionClass): void {
    assert((this.#slots.get(slot, wordColumn) & stateMask) === ObjectState.free, "a slot is staged twice");
    assert(tag >= 0 && tag <= auxMax, "a writer's tag is out of range");
    this.#slots.set(slot, keyIdColumn, keyId);
    this.#slots.set(slot, generationColumn, generation);
    this.#slots.set(slot, sizeColumn, sizeBytes);
    this.#slots.set(slot, wordColumn, ObjectState.staged | (temporary ? temporaryBit : 0) | (charge << classShift) | (tag << auxShift));
    if (this.#keys.get(keyId) === 0) {
      this.#keys.set(keyId, -(slot + 1));
    } else {
      const more = this.#moreStaged.get(keyId);
      if (more === undefined) this.#moreStaged.set(keyId, [slot]);
      else more.push(slot);
    }
  }

  /** The staged object becomes the resident one of its key; there must be none. */
  publish(slot: number): void {
    const keyId = this.#slots.get(slot, keyIdColumn);
    assert(this.residentSlot(keyId) < 0, "a key has two resident objects");
    this.#unstage(slot, keyId);
    const other = this.#keys.get(keyId);
    if (other !== 0) this.#moreStaged.set(keyId, [-other - 1, ...(this.#moreStaged.get(keyId) ?? [])]);
    this.#keys.set(keyId, slot + 1);
    this.#slots.set(slot, wordColumn, ((this.#slots.get(slot, wordColumn) & ~stateMask & ~auxMask) | ObjectState.resident) >>> 0);
  }

  /** The row is free again. */
  clear(slot: number): void {
    const keyId = this.#slots.get(slot, keyIdColumn);
    const state = this.state(slot);
    if (state === ObjectState.staged) {
      this.#unstage(slot, keyId);
    } else {
      assert(state === ObjectState.resident, "a free row is cleared");
      this.#nameNextStaged(keyId);
    }
    this.#slots.set(slot, wordColumn, 0);
    this.#slots.set(slot, keyIdColumn, 0);
  }

  /** True when the key has a resident object or a staged copy. */
  hasObjects(keyId: number): boolean {
    return this.#keys.get(keyId) !== 0 || (this.#moreStaged.size > 0 && this.#moreStaged.has(keyId));
  }

  /** The resident object's slot of a key, or -1. */
  residentSlot(keyId: number): number {
    const entry = this.#keys.get(keyId);
    return entry < 0 ? -1 : entry - 1;
  }

  /** The first staged copy of a key, or -1. */
  stagedSlot(keyId: number): number {
    const entry = this.#keys.get(keyId);
    if (entry < 0) return -entry - 1;
    return this.#moreStaged.size === 0 ? -1 : (this.#moreStaged.get(keyId)?.[0] ?? -1);
  }

  /** The staged copy of a key that the writer `tag` made, or -1. */
  stagedSlotOf(keyId: number, tag: number): number {
    const first = this.stagedSlot(keyId);
    if (first < 0 || this.tag(first) === tag) return first;
    return this.#moreStaged.get(keyId)?.find((slot) => this.tag(slot) === tag) ?? -1;
  }

  /** All staged copies of a key. */
  stagedSlots(keyId: number): number[] {
    const entry = this.#keys.get(keyId);
    const more = this.#moreStaged.get(keyId) ?? [];
    return entry < 0 ? [-entry - 1, ...more] : more;
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
    return (this.#slots.get(slot, wordColumn) & auxMask) >>> auxShift;
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

  /** True when no lease and no obligation is on a resident object. */
  isUnheld(slot: number): boolean {
    return this.#slots.get(slot, wordColumn) < auxUnit;
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
    return (this.#slots.get(slot, wordColumn) & auxMask) >>> auxShift;
  }

  addObligation(slot: number): void {
    assert(this.openObligations(slot) < auxMax, "too many obligations on one object");
    this.#slots.set(slot, wordColumn, (this.#slots.get(slot, wordColumn) + auxUnit) >>> 0);
  }

  /** Returns the obligations that are left. */
  removeObligation(slot: number): number {
    const open = this.openObligations(slot);
    assert(open > 0, "an obligation ends that was never opened");
    this.#slots.set(slot, wordColumn, (this.#slots.get(slot, wordColumn) - auxUnit) >>> 0);
    return open - 1;
  }

  memoryBytes(): number {
    return this.#slots.memoryBytes() + this.#keys.memoryBytes();
  }

  #unstage(slot: number, keyId: number): void {
    if (this.#keys.get(keyId) === -(slot + 1)) {
      this.#nameNextStaged(keyId);
      return;
    }
    const more = this.#moreStaged.get(keyId);
    assert(more !== undefined && more.includes(slot), "a staged copy is not in its key's list");
    more.splice(more.indexOf(slot), 1);
    if (more.length === 0) this.#moreStaged.delete(keyId);
  }

  /** The key's entry names the next staged copy, or nothing. */
  #nameNextStaged(keyId: number): void {
    const more = this.#moreStaged.size === 0 ? undefined : this.#moreStaged.get(keyId);
    const next = more?.shift();
    this.#keys.set(keyId, next === undefined ? 0 : -(next + 1));
    if (more?.length === 0) this.#moreStaged.delete(keyId);
  }
}
