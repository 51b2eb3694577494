/**
 * The replay itself: for each request of a trace look up its chunks, load the leading ones that are there and check every byte, store
 * the rest. Requests go in order, and lookup k starts when store k-1 is admitted: it joins stores that are still in flight, as an
 * engine's lookups do. Payload moves in windows of a bounded number of bytes, so that no step holds the event loop or L1 for long;
 * a write that finds no room waits, because a replay may lose nothing.
 */
import { assert } from "../base/assert.ts";
import { sleep, type Clock } from "../base/clock.ts";
import { KeyBatch, keyRecordBytes } from "../keys/key-batch.ts";
import { imageFingerprint } from "../keys/layout.ts";
import type { ReadHandle, Storage, WriteHandle } from "../storage/index.ts";
import { BlockWindows, type EngineMemory } from "./engine-memory.ts";
import { chunkHashOf, countWrongBytes, fillPayload } from "./payload.ts";
import type { TraceRequest } from "./trace.ts";

export interface ReplayOptions {
  readonly requests: readonly TraceRequest[];
  readonly storage: Storage;
  readonly engine: EngineMemory;
  readonly clock: Clock;
  /** Becomes the model name of the keys: traces number their chunks from 0, each in its own way. */
  readonly traceName: string;
  readonly seed: number;
  /** Trace milliseconds per real millisecond; Infinity = as fast as possible. */
  readonly speed: number;
  /** Blocks that one reserve, gather, commit or prefetch, scatter moves. */
  readonly windowBlocks: number;
  /** No new request starts once it fires, and writers that wait for room give up. */
  readonly signal: AbortSignal;
  /** How long one admission or lookup may wait; default a minute. */
  readonly patienceMs?: number;
}

/** Totals so far; read at any time. */
export interface ReplayCounts {
  requests: number;
  chunksRequested: number;
  chunksHit: number;
  /** Chunks that this run committed to L1. */
  chunksStored: number;
  bytesCommitted: number;
  bytesLoaded: number;
  bytesVerified: number;
  bytesWrong: number;
  waitingWriters: number;
}

/** Payload words that JavaScript fills or checks in one turn of the event loop, over all windows: 256 KiB, about 0.2 ms. */
const wordsPerTurn = 64 * 1024;

/**
 * How long one admission or lookup may wait. Nothing should ever wait that long: it bounds a run whose L1 can never make room (a
 * policy that neither evicts nor drops), so that it ends with a sentence instead of standing still.
 */
const defaultPatienceMs = 60_000;

export class Replay {
  readonly counts: ReplayCounts = {
    requests: 0,
    chunksRequested: 0,
    chunksHit: 0,
    chunksStored: 0,
    bytesCommitted: 0,
    bytesLoaded: 0,
    bytesVerified: 0,
    bytesWrong: 0,
    waitingWriters: 0,
  };
  readonly #options: ReplayOptions;
  readonly #layout: { readonly sizeBytes: number };
  readonly #windows: BlockWindows;
  readonly #patienceMs: number;
  /** Copies that run beside the main loop, and the first error of one. */
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #wordsThisTurn = 0;
  #turns: Promise<void> = Promise.resolve();
  readonly #namespaceId: number;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.#layout = { sizeBytes: options.engine.blockBytes };
    this.#patienceMs = options.patienceMs ?? defaultPatienceMs;
    this.#namespaceId = options.storage.namespaces.register({ modelName: `replay/${options.traceName}`, cacheSalt: "", fingerprint: imageFingerprint(this.#layout) });
    this.#windows = new BlockWindows(options.engine.blockCount, options.windowBlocks);
  }

  /** Replays until the end or the signal; resolves when every copy it started has ended. Stores to L2 may still be in flight then. */
  async run(): Promise<void> {
    const { requests, clock, speed, signal } = this.#options;
    const startMs = clock.nowMs();
    const firstMs = requests[0]?.timestampMs ?? 0;
    try {
      for (const request of requests) {
        if (signal.aborted || this.#failure !== undefined) break;
        if (speed !== Infinity) await this.#waitUntil(startMs + (request.timestampMs - firstMs) / speed);
        if (signal.aborted) break;
        await this.#replayRequest(request);
      }
    } catch (error) {
      if (!signal.aborted) this.#failure ??= { error };
    }
    while (this.#running.size > 0) await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #replayRequest(request: TraceRequest): Promise<void> {
    const keys = this.#keysOf(request.hashIds);
    const hits = await this.#loadPrefix(request.hashIds, keys);
    this.counts.chunksHit += hits;
    this.counts.chunksRequested += keys.count;
    await this.#storeRest(request.hashIds, keys, hits);
    this.counts.requests++;
  }

  /** Loads the longest prefix that is there, window by window; returns its chunks. A window that is short is asked on: room, not absence, may have cut it. */
  async #loadPrefix(ids: readonly number[], keys: KeyBatch): Promise<number> {
    const { storage, signal } = this.#options;
    let hits = 0;
    while (hits < keys.count) {
      const blocks = await this.#windows.take();
      let read: ReadHandle;
      try {
        read = await storage.prefetch(keys.slice(hits, Math.min(keys.count, hits + blocks.length)), this.#layout, { deadlineMs: this.#patienceMs, signal });
      } catch (error) {
        this.#windows.give(blocks);
        throw error;
      }
      if (read.hitCount === 0) {
        await read.release();
        this.#windows.give(blocks);
        break;
      }
      this.#runBeside(this.#scatterAndVerify(read, blocks, ids.slice(hits, hits + read.hitCount)));
      hits += read.hitCount;
    }
    return hits;
  }

  async #scatterAndVerify(read: ReadHandle, blocks: Int32Array, ids: readonly number[]): Promise<void> {
    const { engine, seed } = this.#options;
    try {
      await engine.scatter(read.arena, read.refs, blocks.subarray(0, ids.length));
      await read.release();
      this.counts.bytesLoaded += ids.length * engine.blockBytes;
      for (let index = 0; index < ids.length; index++) {
        const words = engine.words(blocks[index]);
        await this.#inSlices(words, (slice, first) => {
          this.counts.bytesWrong += countWrongBytes(slice, ids[index], seed, first);
          this.counts.bytesVerified += slice.byteLength;
        });
      }
    } finally {
      this.#windows.give(blocks);
    }
  }

  /** Stores keys[first..] window by window; resolves when all of them are admitted. */
  async #storeRest(ids: readonly number[], keys: KeyBatch, first: number): Promise<void> {
    const { storage, signal } = this.#options;
    for (let next = first; next < keys.count; ) {
      const blocks = await this.#windows.take();
      let write: WriteHandle;
      this.counts.waitingWriters++;
      try {
        write = await storage.reserveWrite(keys.slice(next, Math.min(keys.count, next + blocks.length)), this.#layout, { timeoutMs: this.#patienceMs, signal });
      } catch (error) {
        this.#windows.give(blocks);
        throw error;
      } finally {
        this.counts.waitingWriters--;
      }
      // Keys without a slot are in L1 already, or every store is known to hold them: nothing to do.
      const granted = Array.from(write.keyIndices, (keyIndex) => ids[next + keyIndex]);
      assert(write.chunkCount > 0, "an admitted write takes care of at least one chunk");
      next += write.chunkCount;
      this.#runBeside(this.#fillAndCommit(write, blocks, granted));
    }
  }

  async #fillAndCommit(write: WriteHandle, blocks: Int32Array, ids: readonly number[]): Promise<void> {
    const { engine, seed } = this.#options;
    try {
      for (let index = 0; index < ids.length; index++) await this.#inSlices(engine.words(blocks[index]), (slice, first) => fillPayload(slice, ids[index], seed, first));
      if (ids.length > 0) await engine.gather(write.arena, write.refs, blocks.subarray(0, ids.length));
    } catch (error) {
      write.abort();
      throw error;
    } finally {
      this.#windows.give(blocks);
    }
    const { publishedCount } = await write.commit();
    this.counts.chunksStored += publishedCount;
    this.counts.bytesCommitted += publishedCount * engine.blockBytes;
  }

  /** Works through `words` in slices, never more than one turn's worth before others get theirs. */
  async #inSlices(words: Uint32Array, work: (slice: Uint32Array, firstWord: number) => void): Promise<void> {
    for (let first = 0; first < words.length; ) {
      if (this.#wordsThisTurn >= wordsPerTurn) await this.#nextTurn();
      const slice = words.subarray(first, first + wordsPerTurn - this.#wordsThisTurn);
      work(slice, first);
      first += slice.length;
      this.#wordsThisTurn += slice.length;
    }
  }

  /** Resolves in a turn of the event loop that no other window has: immediates that were set together would all run in one. */
  #nextTurn(): Promise<void> {
    this.#turns = this.#turns.then(
      () =>
        new Promise((resolve) => {
          setImmediate(() => {
            this.#wordsThisTurn = 0;
            resolve();
          });
        }),
    );
    return this.#turns;
  }

  /** Lets `task` run on its own; its failure ends the run. */
  #runBeside(task: Promise<void>): void {
    const guarded = task.catch((error: unknown) => {
      this.#failure ??= { error };
    });
    const entry: Promise<void> = guarded.finally(() => this.#running.delete(entry));
    this.#running.add(entry);
  }

  #keysOf(ids: readonly number[]): KeyBatch {
    const view = new DataView(new ArrayBuffer(ids.length * keyRecordBytes));
    for (let index = 0; index < ids.length; index++) {
      chunkHashOf(ids[index], this.#options.seed, view, index * keyRecordBytes);
      view.setUint32(index * keyRecordBytes + 32, this.#namespaceId, true);
    }
    return new KeyBatch(new Uint8Array(view.buffer));
  }

  async #waitUntil(dueMs: number): Promise<void> {
    const { clock, signal } = this.#options;
    // Short sleeps, so that a signal is heard between two requests that are minutes apart.
    for (let leftMs = dueMs - clock.nowMs(); leftMs > 0 && !signal.aborted; leftMs = dueMs - clock.nowMs()) await sleep(clock, Math.min(leftMs, 100));
  }
}
