/** What all evicting policies share: how many victims a ratio means, and a place to gather them. */

/** Says whether an id may leave now (not leased, not owed, not in flight). */
export type Eligible = (id: number) => boolean;

/**
 * LMCache's rule: the ratio is of tracked keys, not of bytes; clamp it to 0..1, n = floor(tracked x ratio), and at least 1 when the ratio
 * is above 0 and anything is tracked.
 */
export function victimCount(trackedCount: number, ratio: number): number {
  if (!(ratio > 0) || trackedCount === 0) return 0;
  return Math.max(1, Math.floor(trackedCount * Math.min(1, ratio)));
}

/** How much a request for victims still wants: a number of ids, or a number of bytes. */
export class VictimBudget {
  readonly #victims: number[] = [];
  readonly #sizeBytes: ((id: number) => number) | undefined;
  #missing: number;

  private constructor(missing: number, sizeBytes?: (id: number) => number) {
    this.#missing = missing;
    this.#sizeBytes = sizeBytes;
  }

  static ofCount(count: number): VictimBudget {
    return new VictimBudget(count);
  }

  static ofBytes(bytes: number, sizeBytes: (id: number) => number): VictimBudget {
    return new VictimBudget(bytes, sizeBytes);
  }

  get open(): boolean {
    return this.#missing > 0;
  }

  take(id: number): void {
    this.#victims.push(id);
    this.#missing -= this.#sizeBytes === undefined ? 1 : this.#sizeBytes(id);
  }

  /** In the order they were taken. */
  victims(): Uint32Array {
    return Uint32Array.from(this.#victims);
  }
}
