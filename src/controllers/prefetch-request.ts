import { noSlot, type L1Manager, type ReadLease } from "../l1/index.ts";
import type { Join, Joins } from "./joins.ts";
import type { PrefetchAnswer, PrefetchCall } from "./prefetch-controller.ts";

/**
 * What one prefetch has in hand: the slots it holds a lease on, per cell, and the staged copies it waits for. Cells fill in any order;
 * finish() keeps those that are part of the answer and lets the others go.
 */
export class PrefetchRequest implements Join {
  readonly call: PrefetchCall;
  readonly #l1: L1Manager;
  readonly #leaseDeadlineMs: number;
  readonly #slots: Uint32Array;
  readonly #leases: ReadLease[] = [];
  /** 1 = waits for a staged copy. */
  readonly #joining: Uint8Array;
  /** 1 = was in L1 when the request came. */
  readonly #early: Uint8Array;
  #joiningCount = 0;
  #heldCount = 0;
  #first = true;
  #stopped = false;
  #joinedWaiter: (() => void) | undefined;

  constructor(call: PrefetchCall, l1: L1Manager, leaseDeadlineMs: number) {
    this.call = call;
    this.#l1 = l1;
    this.#leaseDeadlineMs = leaseDeadlineMs;
    this.#slots = new Uint32Array(call.grid.cellCount).fill(noSlot);
    this.#joining = new Uint8Array(call.grid.cellCount);
    this.#early = new Uint8Array(call.grid.cellCount);
  }

  get complete(): boolean {
    return this.#heldCount === this.#slots.length;
  }

  has(cell: number): boolean {
    return this.#slots[cell] !== noSlot;
  }

  isJoining(cell: number): boolean {
    return this.#joining[cell] !== 0;
  }

  /** True when some cell that is not held is being filled by somebody now. */
  get hasStaged(): boolean {
    const ids = new Uint32Array(this.#slots.length);
    const staged = this.#l1.findStaged(this.call.grid.keys, ids);
    return staged.some((bit, cell) => bit !== 0 && !this.has(cell) && this.#joining[cell] === 0);
  }

  /** True when some cell is neither held, nor joined, nor asked for. */
  hasUnasked(asked: Uint8Array): boolean {
    return asked.some((bit, cell) => bit === 0 && !this.has(cell) && this.#joining[cell] === 0);
  }

  /** 1 per cell in hand. */
  foundCells(): Uint8Array {
    const found = new Uint8Array(this.#slots.length);
    for (let cell = 0; cell < found.length; cell++) found[cell] = this.has(cell) ? 1 : 0;
    return found;
  }

  /** Leases every cell that L1 has and the request does not hold yet. */
  takeResident(): void {
    const { grid } = this.call;
    const found = new Uint32Array(grid.cellCount);
    if (this.#l1.find(grid.keys, grid.rowSizes, found) > 0) {
      const cells: number[] = [];
      for (let cell = 0; cell < found.length; cell++) if (found[cell] !== noSlot && !this.has(cell)) cells.push(cell);
      this.#hold(cells, found);
    }
    if (this.#first) this.#early.set(this.foundCells());
    this.#first = false;
  }

  /** Waits for staged copies of cells that are not in hand; with `wanted`, of those only. */
  joinStaged(joins: Joins, wanted?: Uint8Array): void {
    const ids = new Uint32Array(this.#slots.length);
    const staged = this.#l1.findStaged(this.call.grid.keys, ids);
    for (let cell = 0; cell < staged.length; cell++) {
      if (staged[cell] === 0 || this.has(cell) || this.#joining[cell] !== 0 || wanted?.[cell] === 0) continue;
      this.#joining[cell] = 1;
      this.#joiningCount++;
      joins.add(ids[cell], this, cell);
    }
  }

  onUnstaged(cell: number, slot: number): void {
    if (this.#joining[cell] === 0) return;
    this.#joining[cell] = 0;
    this.#joiningCount--;
    if (slot >= 0 && !this.#stopped && !this.has(cell) && this.#l1.table.sizeBytes(slot) === this.call.grid.sizeOf(cell)) {
      const slots = new Uint32Array(this.#slots.length);
      slots[cell] = slot;
      this.#hold([cell], slots);
    }
    if (this.#joiningCount === 0) this.#joinedWaiter?.();
  }

  /** Resolves (to true) when no staged copy is waited for any more. */
  joined(): Promise<true> {
    if (this.#joiningCount === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      this.#joinedWaiter = () => resolve(true);
    });
  }

  /** From now on nothing that is published is leased for this request. */
  stopJoining(): void {
    this.#stopped = true;
  }

  /** Lets everything go, so that the request may wait for room. */
  releaseAll(): void {
    for (const lease of this.#leases.splice(0)) if (lease.live) this.#l1.release(lease);
    this.#slots.fill(noSlot);
    this.#heldCount = 0;
  }

  /** A lease that ran out under a very slow request holds nothing any more: look again at what is there. */
  renewExpired(): void {
    if (this.#leases.every((lease) => lease.live)) return;
    this.releaseAll();
    this.takeResident();
  }

  /** One lease over the cells of the answer; everything else is let go. Touches what is kept, so that recency follows use. */
  finish(hitChunks: number, hitCells: Uint8Array): PrefetchAnswer {
    this.#stopped = true;
    const kept: number[] = [];
    let l1Cells = 0;
    for (let cell = 0; cell < hitCells.length; cell++) {
      if (hitCells[cell] === 0) {
        this.#slots[cell] = noSlot;
        continue;
      }
      kept.push(this.#slots[cell]);
      l1Cells += this.#early[cell];
    }
    const [only] = this.#leases;
    const reuse = this.#leases.length === 1 && only.live && only.slots.length === kept.length;
    const lease = reuse ? only : this.#l1.lease(kept, this.call.owner, this.call.deliveries, this.#leaseDeadlineMs);
    for (const partial of this.#leases) if (partial !== lease && partial.live) this.#l1.release(partial);
    this.#l1.touch(lease.slots);
    return { hitChunks, hitCells, slots: this.#slots, l1Cells, l2Cells: kept.length - l1Cells, lease };
  }

  #hold(cells: readonly number[], slots: Uint32Array): void {
    if (cells.length === 0) return;
    const lease = this.#l1.lease(
      cells.map((cell) => slots[cell]),
      this.call.owner,
      this.call.deliveries,
      this.#leaseDeadlineMs,
    );
    // The loads' share may have allowed only the first of them.
    for (let index = 0; index < lease.slots.length; index++) this.#slots[cells[index]] = lease.slots[index];
    this.#heldCount += lease.slots.length;
    this.#leases.push(lease);
  }
}
