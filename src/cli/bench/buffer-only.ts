/**
 * Buffer-only mode at full speed: objects are gathered from engine memory into a small L1, stored to `mock` and dropped, and nothing may be
 * left behind. Beside it, in the same run and round by round, a plain C++ loop does the same bytes' work on as many threads.
 */
import { availableParallelism } from "node:os";

import { GiB, MiB } from "../../base/bytes.ts";
import { KeyBatch, keyRecordBytes } from "../../keys/key-batch.ts";
import { imageFingerprint } from "../../keys/layout.ts";
import { openStorage, type Storage } from "../../storage/index.ts";
import { chunkHashOf, countWrongBytes, fillPayload } from "../../workload/payload.ts";
import { DeviceEngine } from "../replay/device-engine.ts";
import type { BenchOptions, BenchReport } from "./contract.ts";

export const summary = "a 1 GiB L1 as pure write buffer in front of a 20 GB/s store";

const objectBytes = 2 * MiB;
const layout = { sizeBytes: objectBytes };
/** Objects written before the clock starts: the store is full, L1's memory populated and the code compiled by then. */
const warmUpObjects = 2048;
const engineBlocks = 64;
const seed = 1;
/** More do not help: four saturate the memory of most hosts. */
const copyThreadsMax = 4;
const bandwidthGb = 20;

interface Setup {
  readonly name: string;
  readonly l1Bytes: number;
  readonly mockGb: number;
  /** Objects per write, and writes at a time. In a tiny L1 more writers only cut each other's grants into pieces. */
  readonly windowObjects: number;
  readonly writers: number;
  readonly objects: number;
  readonly rounds: number;
}

export async function run(options: BenchOptions): Promise<BenchReport> {
  const setups: readonly Setup[] = [
    { name: "large", l1Bytes: GiB, mockGb: 1, windowObjects: 16, writers: 4, objects: (options.quick ? 2 : 64) * 512, rounds: options.quick ? 1 : 8 },
    // The configuration that the project began with: an L1 of 15 such objects.
    { name: "seed", l1Bytes: Math.floor(0.03 * GiB), mockGb: 1, windowObjects: 5, writers: 2, objects: (options.quick ? 1 : 32) * 512, rounds: options.quick ? 1 : 8 },
  ];
  const figures: Record<string, unknown> = {};
  const ratios: Record<string, number> = {};
  let ok = true;
  let threads = 0;
  for (const setup of setups) {
    const result = await measure(setup, options);
    figures[setup.name] = result.figures;
    ratios[`${setup.name}ToLowerOfPlainLoopAndBandwidth`] = result.ratio;
    ok &&= result.ok;
    threads = result.threads;
  }
  return {
    figures,
    ratios,
    conditions: {
      objectBytes,
      copyThreads: threads,
      policies: "eviction noop, store skip_l1",
      store: `mock, mock_bandwidth_gb ${bandwidthGb}, LRU`,
      plainLoop: "the same copies and crc32c in C++ on as many threads, from the same engine memory, memory touched before; rounds alternate with ours, ratios are medians over rounds",
      setups: setups.map(({ name, l1Bytes, mockGb, windowObjects, writers, objects, rounds }) => ({ name, l1Bytes, mockGb, windowObjects, writers, bytes: objects * objectBytes, rounds })),
    },
    ok,
  };
}

interface Measured {
  readonly figures: Record<string, unknown>;
  readonly ratio: number;
  readonly ok: boolean;
  readonly threads: number;
}

async function measure(setup: Setup, options: BenchOptions): Promise<Measured> {
  const mock = { type: "mock", max_size_gb: setup.mockGb, mock_bandwidth_gb: bandwidthGb, eviction: { eviction_policy: "LRU", trigger_watermark: 1, eviction_ratio: 0.02 } };
  // One processor is left to JavaScript: with a copy thread on each, decisions would wait for copies and the copies for decisions.
  const copyThreads = Math.max(1, Math.min(copyThreadsMax, availableParallelism() - 1));
  const storage = await openStorage({ l1: { sizeBytes: setup.l1Bytes, evictionPolicy: "noop" }, l2: { storePolicy: "skip_l1", adapters: [mock] }, engine: { copyThreads } });
  const engine = new DeviceEngine(storage.runtime, objectBytes, engineBlocks);
  const threads = storage.runtime.stats().copyThreads;
  try {
    for (let block = 0; block < engineBlocks; block++) fillPayload(engine.words(block), block, seed);
    const writer = new Writer(storage, engine, setup);
    options.progress(`${setup.name}: filling L1 and the store once`);
    await writer.write(warmUpObjects);
    const perRound = setup.objects / setup.rounds;
    const ours: number[] = [];
    const plain: number[] = [];
    let leftBytes = 0;
    for (let round = 0; round < setup.rounds; round++) {
      options.progress(`${setup.name}: round ${round + 1} of ${setup.rounds}, kvferry`);
      const start = performance.now();
      await writer.write(perRound);
      ours.push((perRound * objectBytes * 1000) / (performance.now() - start));
      leftBytes = Math.max(leftBytes, storage.usage.usedBytes);
      options.progress(`${setup.name}: round ${round + 1} of ${setup.rounds}, plain loop`);
      // Let the line be drawn: the loop blocks this thread.
      await new Promise((resolve) => setTimeout(resolve, 20));
      const seconds = storage.runtime.binding.plainCopyLoop({
        objects: perRound,
        objectBytes,
        source: engine.memory,
        l1Bytes: setup.l1Bytes,
        l2Bytes: setup.mockGb * GiB,
        threads,
      });
      plain.push((perRound * objectBytes) / seconds);
    }
    const wrongBytes = await writer.verifyYoungest(32);
    await storage.idle();
    const usedBytesAtEnd = storage.usage.usedBytes;
    const { failed, dropped } = writer;
    const yardstick = plain.map((rate) => Math.min(rate, bandwidthGb * GiB));
    return {
      figures: {
        bytesPerSecond: Math.round(median(ours)),
        plainLoopBytesPerSecond: Math.round(median(plain)),
        bytesPerSecondByRound: ours.map(Math.round),
        plainLoopBytesPerSecondByRound: plain.map(Math.round),
        objects: setup.objects,
        l1PeakBytes: storage.usage.peakUsedBytes,
        l1UsedBytesAtEnd: Math.max(leftBytes, usedBytesAtEnd),
        failed,
        dropped,
        wrongBytes,
      },
      ratio: median(ours.map((rate, round) => rate / yardstick[round])),
      ok: usedBytesAtEnd === 0 && leftBytes === 0 && wrongBytes === 0 && failed === 0 && dropped === 0,
      threads,
    };
  } finally {
    await engine.close();
    await storage.close();
  }
}

/** Writes objects under keys that were never used before, several windows at a time. */
class Writer {
  failed = 0;
  dropped = 0;
  readonly #storage: Storage;
  readonly #engine: DeviceEngine;
  readonly #namespaceId: number;
  readonly #windowObjects: number;
  readonly #writers: number;
  #next = 0;

  constructor(storage: Storage, engine: DeviceEngine, { windowObjects, writers }: Setup) {
    this.#windowObjects = windowObjects;
    this.#writers = writers;
    this.#storage = storage;
    this.#engine = engine;
    this.#namespaceId = storage.namespaces.register({ modelName: "bench", cacheSalt: "", fingerprint: imageFingerprint(layout) });
  }

  /** Resolves when all of them are in the store and gone from L1. */
  async write(objects: number): Promise<void> {
    let left = Math.ceil(objects / this.#windowObjects);
    const work = async (): Promise<void> => {
      while (left-- > 0) await this.#window();
    };
    await Promise.all(Array.from({ length: this.#writers }, work));
    await this.#storage.idle();
  }

  async #window(): Promise<void> {
    const windowObjects = this.#windowObjects;
    const first = this.#next;
    this.#next += windowObjects;
    for (let done = 0; done < windowObjects; ) {
      const write = await this.#storage.reserveWrite(this.#keys(first + done, windowObjects - done), layout, { timeoutMs: Infinity });
      await this.#engine.gather(write.arena, write.refs, Int32Array.from({ length: write.count }, (_, index) => (first + done + index) % engineBlocks));
      const stored = await write.commit();
      void stored.settled.then(({ failedKeys, droppedKeys }) => {
        this.failed += failedKeys;
        this.dropped += droppedKeys;
      });
      done += write.chunkCount;
    }
  }

  /** Loads the last `objects` back and counts the bytes that differ; an object that is not found counts whole. */
  async verifyYoungest(objects: number): Promise<number> {
    let wrong = 0;
    for (let index = this.#next - objects; index < this.#next; index++) {
      const read = await this.#storage.prefetch(this.#keys(index, 1), layout, { deadlineMs: 60_000 });
      if (read.hitCount === 1) {
        const source = index % engineBlocks;
        const target = (source + 1) % engineBlocks;
        await this.#engine.scatter(read.arena, read.refs, Int32Array.of(target));
        wrong += countWrongBytes(this.#engine.words(target), source, seed);
        fillPayload(this.#engine.words(target), target, seed);
      } else wrong += objectBytes;
      await read.release();
    }
    return wrong;
  }

  #keys(first: number, count: number): KeyBatch {
    const view = new DataView(new ArrayBuffer(count * keyRecordBytes));
    for (let index = 0; index < count; index++) {
      chunkHashOf(first + index, seed, view, index * keyRecordBytes);
      view.setUint32(index * keyRecordBytes + 32, this.#namespaceId, true);
    }
    return new KeyBatch(new Uint8Array(view.buffer));
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
