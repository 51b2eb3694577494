import type { L1Manager } from "../l1/index.ts";

/** Waits for one staged copy of a key to be published or freed. */
export interface Join {
  /** Called inside the commit or abort; `slot` is the resident object's, or -1 when the copy is gone and none is resident. */
  onUnstaged(cell: number, slot: number): void;
}

/**
 * Single flight: who needs a key that is being filled already, by a load or by a store of this process, waits for that copy instead
 * of making another. Waiters are called inside the publishing call, so they can lease before a temporary object could be dropped.
 */
export class Joins {
  readonly #l1: L1Manager;
  readonly #byKey = new Map<number, { join: Join; cell: number }[]>();

  constructor(l1: L1Manager) {
    this.#l1 = l1;
    l1.observe({ onUnstaged: (keyIds) => this.#onUnstaged(keyIds) });
  }

  /** `keyId` must be staged now: the staged copy keeps the id alive until the join is called. */
  add(keyId: number, join: Join, cell: number): void {
    const waiting = this.#byKey.get(keyId);
    if (waiting === undefined) this.#byKey.set(keyId, [{ join, cell }]);
    else waiting.push({ join, cell });
  }

  get waitingKeys(): number {
    return this.#byKey.size;
  }

  #onUnstaged(keyIds: Uint32Array): void {
    if (this.#byKey.size === 0) return;
    for (const keyId of keyIds) {
      const waiting = this.#byKey.get(keyId);
      if (waiting === undefined) continue;
      const slot = this.#l1.table.residentSlot(keyId);
      // Another writer's copy of the key may still be coming.
      if (slot < 0 && this.#l1.table.stagedSlot(keyId) >= 0) continue;
      this.#byKey.delete(keyId);
      for (const { join, cell } of waiting) join.onUnstaged(cell, slot);
    }
  }
}
