/**
 * The engine's side of a replay: paged KV memory that a real engine would have on its GPU. One block holds one chunk. Whoever opens
 * the replay brings an implementation over a device of kvferry, so that payload takes the way it takes in use: blocks are gathered
 * into L1 slots and scattered back, by the device's copy plan and threads.
 */
import type { Storage } from "../storage/index.ts";

export type Arena = Storage["arena"];

export interface EngineMemory {
  readonly blockBytes: number;
  readonly blockCount: number;
  /** A view of the block's words. */
  words(block: number): Uint32Array;
  /** Blocks into slots; resolves when the copy is done, throws when any slot failed. */
  gather(arena: Arena, refs: Uint32Array, blocks: Int32Array): Promise<void>;
  /** Slots into blocks; resolves when the copy is done, throws when any slot failed. */
  scatter(arena: Arena, refs: Uint32Array, blocks: Int32Array): Promise<void>;
  close(): Promise<void>;
}

/** Runs of blocks, each the size of one window; a task that needs one waits until another gives its own back. */
export class BlockWindows {
  readonly windowBlocks: number;
  readonly #free: Int32Array[] = [];
  readonly #waiting: ((blocks: Int32Array) => void)[] = [];

  constructor(blockCount: number, windowBlocks: number) {
    this.windowBlocks = windowBlocks;
    for (let first = 0; first + windowBlocks <= blockCount; first += windowBlocks)
      this.#free.push(Int32Array.from({ length: windowBlocks }, (_, index) => first + index));
    if (this.#free.length === 0) throw new RangeError(`${blockCount} blocks hold no window of ${windowBlocks}`);
  }

  take(): Promise<Int32Array> {
    const blocks = this.#free.pop();
    if (blocks !== undefined) return Promise.resolve(blocks);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(blocks: Int32Array): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(blocks);
    else next(blocks);
  }
}
