/**
 * How an engine talks to kvferry, all of it:
 *
 *   open      openStorage, openDevice, register the paged memory once
 *   save      keys from tokens, reserveWrite, gather, commit, settled
 *   restore   keys from tokens, prefetch, scatter, release
 */
import { KiB, openDevice, openStorage, tokenKeys } from "kvferry";

import { Llama } from "../../dist/demo/llama.js";
import { findModel, openModel } from "../../dist/demo/model-files.js";
import { KvSequence, PagedKvPool } from "../../dist/demo/paged-kv.js";
import { chooseToken } from "../../dist/demo/sampler.js";
import { beginToken } from "../../dist/demo/tokenizer.js";

const blockTokens = 16;
const chunkTokens = 32;
const floatBytes = 4;

export class Engine {
  static async open({ directory, modelPath, blockOrderSeed }) {
    const model = openModel(findModel(modelPath));
    const { shape } = model.checkpoint;
    const pool = new PagedKvPool(shape, { blockCount: 4 * Math.ceil(shape.contextLength / blockTokens), blockTokens, orderSeed: blockOrderSeed });
    const storage = await openStorage({
      l1: { sizeBytes: 512 * KiB, evictionPolicy: "noop" },
      l2: { storePolicy: "skip_l1", adapters: [{ type: "fs", base_path: directory, min_free_gb: 0, min_free_percent: 0, min_free_inodes_percent: 0 }] },
    });
    const device = openDevice({ kind: "cpu", runtime: storage.runtime });
    // One region per layer; within it the blocks lie [block][K, V][token][head][head size].
    const layout = device.registerLayout({
      regions: pool.layers.map((layer) => ({ memory: new Uint8Array(layer.buffer) })),
      layers: shape.layerCount,
      planes: 2,
      heads: shape.kvHeadCount,
      headBytes: shape.headSize * floatBytes,
      blockTokens,
      chunkTokens,
      blockCount: pool.blockCount,
      blockStride: pool.blockFloats * floatBytes,
      planeStride: pool.planeFloats * floatBytes,
      layerStride: 0,
      tokenStride: pool.tokenFloats * floatBytes,
      headStride: shape.headSize * floatBytes,
    });
    return new Engine(model, pool, storage, device, layout);
  }

  constructor(model, pool, storage, device, layout) {
    const { shape } = model.checkpoint;
    this.model = model;
    this.pool = pool;
    this.storage = storage;
    this.device = device;
    this.layout = layout;
    this.llama = new Llama(model.checkpoint);
    this.chunkTokens = chunkTokens;
    this.imageBytes = layout.imageBytes;
    // Size and meaning of an object: engines whose images differ never read each other's bytes.
    this.object = {
      sizeBytes: layout.imageBytes,
      image: { tokens: chunkTokens, planes: 2, layers: shape.layerCount, heads: `${shape.kvHeadCount}x${shape.headSize}`, dtype: "float32", window: -1 },
    };
  }

  // ------------------------------------------------------------------------------------------------------------ kvferry

  /** Stores every full chunk of a text; returns when all are on disk and out of L1. */
  async save(text) {
    const keys = this.#keys(text.tokens.slice(0, text.sequence.length));
    // A write is granted the longest run of chunks that fits L1 now, so a long text goes out in several windows.
    for (let first = 0; first < keys.length; ) {
      const write = await this.storage.reserveWrite(keys.slice(first), this.object);
      // Chunks that are on disk already need no slot; keyIndices says which ones were granted.
      const blocks = [...write.keyIndices].flatMap((index) => text.sequence.chunkBlocks(first + index, chunkTokens));
      if (write.count > 0) await this.device.gather(this.layout, write.arena, write.refs, Int32Array.from(blocks));
      const { failedKeys, droppedKeys } = await (await write.commit()).settled;
      if (failedKeys + droppedKeys > 0) throw new Error(`${failedKeys} chunks failed and ${droppedKeys} were dropped`);
      first += write.chunkCount;
    }
    return this.records(text);
  }

  /** A text whose leading tokens have their KV already, wherever kvferry had it. */
  async restore(tokens) {
    const sequence = new KvSequence(this.pool);
    // The last token is always computed: the logits to go on from come out of it.
    const read = await this.storage.prefetch(this.#keys(tokens.slice(0, -1)), this.object);
    const restoredTokens = read.hitCount * chunkTokens;
    sequence.reserve(restoredTokens);
    if (read.hitCount > 0) await this.device.scatter(this.layout, read.arena, read.refs, Int32Array.from(sequence.blockTable));
    sequence.advanceTo(restoredTokens);
    await read.release();
    return { tokens: [...tokens], sequence, restoredTokens };
  }

  get l1UsedBytes() {
    return this.storage.usage.usedBytes;
  }

  async close() {
    await this.device.close();
    await this.storage.close();
  }

  #keys(tokens) {
    return tokenKeys(this.storage.runtime.binding, tokens, chunkTokens, { modelName: this.model.modelName });
  }

  // ------------------------------------------------------------------------------------------------------------- engine

  start(prompt, tokens = this.model.tokenizer.encode(prompt)) {
    return { tokens: [...tokens], sequence: new KvSequence(this.pool), restoredTokens: 0 };
  }

  /** Computes what the cache lacks. Returns the logits behind the last token. */
  compute(text) {
    return this.llama.prefill(text.tokens.slice(text.sequence.length), text.sequence);
  }

  /** Goes on until the text has `count` tokens, or the model ends it. */
  write(text, count) {
    while (text.tokens.length < count) {
      const token = chooseToken(this.compute(text), text.tokens.length - 1, { temperature: 0, seed: 0 });
      if (token === beginToken) return;
      text.tokens.push(token);
    }
  }

  /** Digest and blocks of each full chunk in the cache. */
  records(text) {
    return Array.from({ length: Math.floor(text.sequence.length / chunkTokens) }, (_, index) => {
      const blocks = text.sequence.chunkBlocks(index, chunkTokens);
      return { blocks, digest: this.pool.chunkDigest(blocks) };
    });
  }

  decode(text) {
    return this.model.tokenizer.decode(text.tokens);
  }
}
