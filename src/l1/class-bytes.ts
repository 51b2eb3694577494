import { roundUp } from "../base/bytes.ts";
import type { NativeArena } from "../native/binding.ts";
import { AdmissionClass } from "./object-table.ts";

/** Parts of the capacity that stores leave to loads and loads leave to stores. */
export interface L1Shares {
  readonly store: number;
  readonly load: number;
}

/**
 * Whose bytes L1 holds: sums per admission class, and what each class may hold (law 5). Each class leaves the other its share, and at least
 * one of the largest objects seen; an L1 of one or two objects is one pool.
 */
export class ClassBytes {
  /** The arena's, read once: each look at the addon's own property costs as much as the rest of an object's life. */
  readonly capacityBytes: number;
  readonly #alignBytes: number;
  readonly #shares: L1Shares;
  readonly #charged = [0, 0, 0];
  /** Most objects have the size of the one before. */
  #lastSizeBytes = 0;
  #lastFootprint = 0;
  /** Live objects by footprint: the shares follow what is there, not what once was. */
  readonly #countByFootprint = new Map<number, number>();
  #largestObjectBytes = 0;

  constructor(arena: NativeArena, shares: L1Shares) {
    this.capacityBytes = arena.capacityBytes;
    this.#alignBytes = arena.alignBytes;
    this.#shares = shares;
  }

  /** Bytes an object takes in the arena. */
  footprint(sizeBytes: number): number {
    if (sizeBytes !== this.#lastSizeBytes) {
      this.#lastSizeBytes = sizeBytes;
      this.#lastFootprint = roundUp(sizeBytes, this.#alignBytes);
    }
    return this.#lastFootprint;
  }

  of(charge: AdmissionClass): number {
    return this.#charged[charge];
  }

  add(charge: AdmissionClass, bytes: number): void {
    this.#charged[charge] += bytes;
  }

  /** `count` objects of this footprint exist from now on. */
  born(footprint: number, count: number): void {
    this.#countByFootprint.set(footprint, (this.#countByFootprint.get(footprint) ?? 0) + count);
    if (footprint > this.#largestObjectBytes) this.#largestObjectBytes = footprint;
  }

  /** `count` objects of this footprint are gone. */
  died(footprint: number, count: number): void {
    const left = (this.#countByFootprint.get(footprint) ?? 0) - count;
    if (left > 0) {
      this.#countByFootprint.set(footprint, left);
      return;
    }
    this.#countByFootprint.delete(footprint);
    if (footprint === this.#largestObjectBytes) this.#largestObjectBytes = Math.max(0, ...this.#countByFootprint.keys());
  }

  remove(charge: AdmissionClass, bytes: number): void {
    this.#charged[charge] -= bytes;
  }

  /** Most bytes of one class, if its objects take `objectBytes` each. What is charged to nobody is bounded by the arena alone. */
  limit(charge: AdmissionClass, objectBytes = 0): number {
    const capacity = this.capacityBytes;
    const largest = Math.max(objectBytes, this.#largestObjectBytes);
    if (charge === AdmissionClass.none || capacity < 3 * largest) return capacity;
    const otherShare = charge === AdmissionClass.store ? this.#shares.load : this.#shares.store;
    return capacity - Math.max(Math.floor(otherShare * capacity), largest);
  }

  /** What the class may still take. */
  room(charge: AdmissionClass, objectBytes = 0): number {
    return this.limit(charge, objectBytes) - this.#charged[charge];
  }
}
