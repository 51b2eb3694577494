import { createHash } from "node:crypto";

import { SeededRandom } from "../base/random.ts";
import type { LlamaShape } from "./checkpoint.ts";

/** Tokens per block, as most engines have it. */
export const blockTokens = 16;

/** K and V. */
const planes = 2;

/**
 * Paged KV memory of one model: per layer one array [block][K, V][token][kv head][head size] of float32, which is vLLM's NHD layout
 * with blocks first. Blocks are handed out in an order that a seed decides, so that two pools never agree by accident about where a
 * token lies. The memory is shared (SharedArrayBuffer), as kvferry's CPU device wants it.
 */
export class PagedKvPool {
  readonly blockTokens: number;
  readonly blockCount: number;
  readonly layerCount: number;
  /** Floats of one token in one plane of one layer. */
  readonly tokenFloats: number;
  readonly layers: readonly Float32Array[];
  readonly #free: number[];

  constructor(shape: LlamaShape, options: { readonly blockCount: number; readonly blockTokens?: number; readonly orderSeed?: number }) {
    this.blockTokens = options.blockTokens ?? blockTokens;
    this.blockCount = options.blockCount;
    this.layerCount = shape.layerCount;
    this.tokenFloats = shape.kvHeadCount * shape.headSize;
    this.layers = Array.from({ length: shape.layerCount }, () => new Float32Array(new SharedArrayBuffer(this.blockCount * this.blockFloats * Float32Array.BYTES_PER_ELEMENT)));
    this.#free = shuffled(this.blockCount, options.orderSeed ?? 0);
  }

  get planeFloats(): number {
    return this.blockTokens * this.tokenFloats;
  }

  get blockFloats(): number {
    return planes * this.planeFloats;
  }

  get freeCount(): number {
    return this.#free.length;
  }

  take(): number {
    const block = this.#free.pop();
    if (block === undefined) throw new RangeError(`all ${this.blockCount} KV blocks are in use`);
    return block;
  }

  give(block: number): void {
    this.#free.push(block);
  }

  /**
   * The image of one chunk of blocks as an object holds it: [K, V][layer][token][head][head size]. Written without kvferry's copy plan
   * on purpose: it is the second opinion that the demo and the tests compare with.
   */
  chunkImage(blocks: ArrayLike<number>): Uint8Array {
    const tokens = blocks.length * this.blockTokens;
    const image = new Float32Array(planes * this.layerCount * tokens * this.tokenFloats);
    let target = 0;
    for (let plane = 0; plane < planes; plane++)
      for (const layer of this.layers)
        for (let index = 0; index < blocks.length; index++) {
          const source = blocks[index] * this.blockFloats + plane * this.planeFloats;
          image.set(layer.subarray(source, source + this.planeFloats), target);
          target += this.planeFloats;
        }
    return new Uint8Array(image.buffer);
  }

  /** SHA-256 of chunkImage, in hexadecimal. */
  chunkDigest(blocks: ArrayLike<number>): string {
    return createHash("sha256").update(this.chunkImage(blocks)).digest("hex");
  }
}

/** The KV cache of one text: a block table over a pool. */
export class KvSequence {
  readonly pool: PagedKvPool;
  readonly #blockTable: number[] = [];
  #length = 0;

  constructor(pool: PagedKvPool) {
    this.pool = pool;
  }

  /** Tokens whose K and V are in place. */
  get length(): number {
    return this.#length;
  }

  get blockTable(): readonly number[] {
    return this.#blockTable;
  }

  /** Makes room for positions below `length`. */
  reserve(length: number): void {
    while (this.#blockTable.length * this.pool.blockTokens < length) this.#blockTable.push(this.pool.take());
  }

  /** Declares positions below `length` as filled: by the forward pass, or by a scatter from kvferry. */
  advanceTo(length: number): void {
    if (length > this.#blockTable.length * this.pool.blockTokens) throw new RangeError(`${length} tokens do not fit ${this.#blockTable.length} blocks`);
    this.#length = length;
  }

  /** Blocks of chunk `index` when a chunk has `chunkTokens` tokens. */
  chunkBlocks(index: number, chunkTokens: number): readonly number[] {
    const blocks = chunkTokens / this.pool.blockTokens;
    return this.#blockTable.slice(index * blocks, (index + 1) * blocks);
  }

  /** Offset of K of `position` within a layer's array; V lies `pool.planeFloats` behind it. */
  keyOffset(position: number): number {
    const { pool } = this;
    const block = this.#blockTable[Math.floor(position / pool.blockTokens)];
    return block * pool.blockFloats + (position % pool.blockTokens) * pool.tokenFloats;
  }

  release(): void {
    for (const block of this.#blockTable) this.pool.give(block);
    this.#blockTable.length = 0;
    this.#length = 0;
  }
}

function shuffled(count: number, seed: number): number[] {
  const random = new SeededRandom(seed);
  const order = Array.from({ length: count }, (_, index) => index);
  for (let index = count - 1; index > 0; index--) {
    const other = random.nextBelow(index + 1);
    [order[index], order[other]] = [order[other], order[index]];
  }
  return order;
}
