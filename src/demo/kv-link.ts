import { KiB } from "../base/bytes.ts";
import { openDevice, type Device, type DeviceLayout } from "../device/index.ts";
import type { ObjectLayout } from "../keys/layout.ts";
import type { ObjectKey } from "../keys/object-key.ts";
import { tokenKeys } from "../keys/token-keys.ts";
import { openStorage, type Storage } from "../storage/index.ts";
import type { OpenModel } from "./model-files.ts";
import type { KvSequence, PagedKvPool } from "./paged-kv.ts";
import type { ChunkRecord } from "./story-events.ts";

export interface KvLinkOptions {
  /** L2 directory. */
  readonly directory: string;
  readonly model: OpenModel;
  readonly pool: PagedKvPool;
  /** Tokens per object, a multiple of the pool's block. */
  readonly chunkTokens: number;
}

export interface Restored {
  /** Leading tokens of the text whose K and V are in place now. */
  readonly tokens: number;
  readonly chunks: readonly ChunkRecord[];
}

/** A write buffer for a handful of chunks: in buffer-only mode it need not be larger than what is on its way. */
const l1Bytes = 512 * KiB;

/**
 * What stands between an engine and kvferry: the engine's paged memory is registered with the CPU device, chunks are named by the
 * rolling hash of their tokens, and each goes out through reserve, gather, commit and comes back through prefetch, scatter, release.
 */
export class KvLink {
  readonly #storage: Storage;
  readonly #device: Device;
  readonly #deviceLayout: DeviceLayout;
  readonly #objectLayout: ObjectLayout;
  readonly #modelName: string;
  readonly #chunkTokens: number;

  static async open(options: KvLinkOptions): Promise<KvLink> {
    const storage = await openStorage({
      l1: { sizeBytes: l1Bytes, evictionPolicy: "noop" },
      // A few hundred KiB in a directory of our own: the room that fs leaves free by default is for caches that grow.
      l2: { storePolicy: "skip_l1", adapters: [{ type: "fs", base_path: options.directory, min_free_gb: 0, min_free_percent: 0, min_free_inodes_percent: 0 }] },
    });
    return new KvLink(storage, options);
  }

  private constructor(storage: Storage, { model, pool, chunkTokens }: KvLinkOptions) {
    const { shape } = model.checkpoint;
    this.#storage = storage;
    this.#modelName = model.modelName;
    this.#chunkTokens = chunkTokens;
    this.#device = openDevice({ kind: "cpu", runtime: storage.runtime });
    const floatBytes = 4;
    this.#deviceLayout = this.#device.registerLayout({
      regions: pool.layers.map((layer) => ({ memory: new Uint8Array(layer.buffer) })),
      layers: shape.layerCount,
      planes: 2,
      heads: shape.kvHeadCount,
      headBytes: shape.headSize * floatBytes,
      blockTokens: pool.blockTokens,
      chunkTokens,
      blockCount: pool.blockCount,
      blockStride: pool.blockFloats * floatBytes,
      planeStride: pool.planeFloats * floatBytes,
      layerStride: 0,
      tokenStride: pool.tokenFloats * floatBytes,
      headStride: shape.headSize * floatBytes,
    });
    this.#objectLayout = {
      sizeBytes: this.#deviceLayout.imageBytes,
      image: { tokens: chunkTokens, planes: 2, layers: shape.layerCount, heads: `${shape.kvHeadCount}x${shape.headSize}`, dtype: "float32", window: -1 },
    };
  }

  /** Stores chunk `index` of a text. Settles when it is on disk and out of L1; undefined when it could not be stored. */
  async save(sequence: KvSequence, tokens: readonly number[], index: number): Promise<ChunkRecord | undefined> {
    const blocks = sequence.chunkBlocks(index, this.#chunkTokens);
    const record = this.#record(sequence, index);
    const write = await this.#storage.reserveWrite(this.#keys(tokens.slice(0, (index + 1) * this.#chunkTokens)).slice(index), this.#objectLayout);
    if (write.count > 0) await this.#device.gather(this.#deviceLayout, write.arena, write.refs, Int32Array.from(blocks));
    const stored = await write.commit();
    const { storedKeys } = await stored.settled;
    return storedKeys === 1 || write.count === 0 ? record : undefined;
  }

  /** Finds the leading chunks of `tokens`, puts them into fresh blocks of `sequence` and says which. */
  async restore(sequence: KvSequence, tokens: readonly number[]): Promise<Restored> {
    // The last token is computed even when its chunk is known: without it there are no logits to go on from.
    const keys = this.#keys(tokens.slice(0, tokens.length - 1));
    // A reader of a story waits rather than have words computed again that are on disk.
    const read = await this.#storage.prefetch(keys, this.#objectLayout, { deadlineMs: 30_000 });
    try {
      const restoredTokens = read.hitCount * this.#chunkTokens;
      sequence.reserve(restoredTokens);
      const blocks = Int32Array.from(sequence.blockTable);
      if (read.hitCount > 0) await this.#device.scatter(this.#deviceLayout, read.arena, read.refs, blocks);
      sequence.advanceTo(restoredTokens);
      return { tokens: restoredTokens, chunks: Array.from({ length: read.hitCount }, (_, index) => this.#record(sequence, index)) };
    } finally {
      await read.release();
    }
  }

  /** Bytes in L1 now: 0 whenever nothing is on its way. */
  l1UsedBytes(): number {
    return this.#storage.usage.usedBytes;
  }

  async close(): Promise<void> {
    await this.#device.close();
    await this.#storage.close();
  }

  /** One key per full chunk of `tokens`. */
  #keys(tokens: readonly number[]): ObjectKey[] {
    return tokenKeys(this.#storage.runtime.binding, tokens, this.#chunkTokens, { modelName: this.#modelName });
  }

  #record(sequence: KvSequence, index: number): ChunkRecord {
    const blocks = sequence.chunkBlocks(index, this.#chunkTokens);
    return { index, digest: sequence.pool.chunkDigest(blocks), bytes: this.#objectLayout.sizeBytes, blocks: [...blocks] };
  }
}
