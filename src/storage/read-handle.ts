import type { KeyGrid, PrefetchAnswer } from "../controllers/index.ts";
import { noSlot, type ReadLease } from "../l1/index.ts";
import type { NativeArena, SlotRefs } from "../native/binding.ts";
import { ReadSlot } from "./slot-handle.ts";

export interface ReadOwner {
  readonly arena: NativeArena;
  releaseRead(lease: ReadLease): void;
}

/**
 * What a prefetch found, held until release(): the objects of the first `hitCount` chunks. Nothing of it can leave L1 or change before.
 */
export class ReadHandle implements Disposable, AsyncDisposable {
  readonly grid: KeyGrid;
  /** Leading chunks that can be read, with all their rows. 0 is a miss, not an error. */
  readonly hitCount: number;
  /** 1 per cell (chunk by chunk) that can be read; with windows not every cell of a hit chunk is needed. */
  readonly hitCells: Uint8Array;
  /** Cells that were in L1, and that were loaded from L2. */
  readonly l1Cells: number;
  readonly l2Cells: number;
  /** Pairs [index, generation] of the hit cells in order: what device.scatter takes. */
  readonly refs: SlotRefs;
  readonly #owner: ReadOwner;
  readonly #lease: ReadLease;
  readonly #cellSlots: Uint32Array;
  #slots: ReadSlot[] | undefined;

  constructor(owner: ReadOwner, grid: KeyGrid, answer: PrefetchAnswer) {
    this.#owner = owner;
    this.grid = grid;
    this.hitCount = answer.hitChunks;
    this.hitCells = answer.hitCells;
    this.l1Cells = answer.l1Cells;
    this.l2Cells = answer.l2Cells;
    this.refs = answer.lease.refs;
    this.#lease = answer.lease;
    this.#cellSlots = answer.slots;
  }

  get arena(): NativeArena {
    return this.#owner.arena;
  }

  /** The hit cells as objects, for payload that goes to JavaScript. */
  get slots(): readonly ReadSlot[] {
    if (this.#slots === undefined) {
      this.#slots = [];
      for (let cell = 0, position = 0; cell < this.#cellSlots.length; cell++) {
        if (this.#cellSlots[cell] === noSlot) continue;
        this.#slots.push(new ReadSlot(this.arena, this.refs[2 * position], this.refs[2 * position + 1], this.grid.sizeOf(cell)));
        position++;
      }
    }
    return this.#slots;
  }

  /** True until release(), or until the lease ran out (l1.readTtlSeconds). */
  get live(): boolean {
    return this.#lease.live;
  }

  /** One of the readers has its copy; after the last (`deliveries` of prefetch) the lease ends by itself. Returns true when it ended. */
  deliver(reader: string): boolean {
    if (!this.#lease.live || !this.#lease.deliver(reader)) return false;
    this.#owner.releaseRead(this.#lease);
    return true;
  }

  /** Lets the objects go. Idempotent. */
  release(): Promise<void> {
    this[Symbol.dispose]();
    return Promise.resolve();
  }

  [Symbol.dispose](): void {
    if (this.#lease.live) this.#owner.releaseRead(this.#lease);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}
