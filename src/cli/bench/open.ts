/**
 * A storage that is used at once: how long `openStorage` takes, and how much of its steady rate it stores in the first second, while
 * its memory is touched for the first time.
 */
import { readFileSync } from "node:fs";
import { availableParallelism, freemem } from "node:os";

import { GiB, MiB } from "../../base/bytes.ts";
import { KeyBatch, keyRecordBytes } from "../../keys/key-batch.ts";
import { imageFingerprint } from "../../keys/layout.ts";
import { loadBinding } from "../../native/load.ts";
import { openStorage, type Storage, type StorageConfigInput } from "../../storage/index.ts";
import { chunkHashOf } from "../../workload/payload.ts";
import { DeviceEngine } from "../replay/device-engine.ts";
import type { BenchOptions, BenchReport } from "./contract.ts";
import { quartiles } from "./quartiles.ts";

export const summary = "openStorage, and the first second of a new storage";

const objectBytes = 2 * MiB;
const layout = { sizeBytes: objectBytes };
/** A GiB: an engine's KV lies in memory, not in a processor's cache. */
const engineBlocks = 512;
const windowObjects = 8;
const writers = 3;
const seed = 1;
const smallBytes = 32 * MiB;

export async function run(options: BenchOptions): Promise<BenchReport> {
  const largeBytes = options.quick ? GiB : 16 * GiB;
  const seconds = options.quick ? 0.2 : 1;
  const small = await openMs(smallBytes, options);
  const large = await openMs(largeBytes, options);
  // Filling L1 takes its memory for real, and as much again may be cache of the host's files: no more than half of what is free.
  const filledBytes = Math.min(largeBytes, Math.max(GiB, Math.floor(availableBytes() / 2 / GiB) * GiB));
  const figures: Record<string, unknown> = { openSmallMs: small, openLargeMs: large };
  const ratios: Record<string, number> = { openSmallToTarget: small.median / 50, openLargeToTarget: large.median / 250 };
  // One processor is left to JavaScript and to the thread that populates memory.
  const engine = { copyThreads: Math.max(1, Math.min(4, availableParallelism() - 1)) };
  const modes: Readonly<Record<string, StorageConfigInput>> = {
    bufferOnly: { engine, l1: { sizeBytes: filledBytes, evictionPolicy: "noop" }, l2: { storePolicy: "skip_l1", adapters: [{ type: "mock", max_size_gb: 1, mock_bandwidth_gb: 20, eviction: { eviction_policy: "LRU", trigger_watermark: 1, eviction_ratio: 0.02 } }] } },
    LRU: { engine, l1: { sizeBytes: filledBytes, evictionPolicy: "LRU" } },
  };
  let ok = true;
  for (const [mode, config] of Object.entries(modes)) {
    options.progress(`${mode}: the first ${seconds} s, then until every byte of L1 was used`);
    const rates = await firstAndSteady(config, seconds);
    figures[mode] = rates;
    ratios[`${mode}FirstToSteady`] = rates.firstBytesPerSecond / rates.steadyBytesPerSecond;
    ok &&= rates.failed === 0;
  }
  return { figures, ratios, conditions: { ...engine, smallBytes, largeBytes, filledBytes, objectBytes, firstSeconds: seconds, writers, windowObjects }, ok };
}

function availableBytes(): number {
  const match = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"));
  return match === null ? freemem() : Number(match[1]) * 1024;
}

function touch(bytes: number): void {
  loadBinding().plainCopyLoop({ objects: 1, objectBytes, source: new Uint8Array(objectBytes), l1Bytes: bytes, l2Bytes: objectBytes, threads: 1 });
}

async function openMs(sizeBytes: number, options: BenchOptions): Promise<ReturnType<typeof quartiles>> {
  const times: number[] = [];
  for (let round = 0; round < (options.quick ? 3 : 9); round++) {
    options.progress(`opening ${sizeBytes / MiB} MiB, ${round + 1}`);
    const start = performance.now();
    const storage = await openStorage({ l1: { sizeBytes, evictionPolicy: "LRU" } });
    times.push(performance.now() - start);
    await storage.close();
  }
  return quartiles(times);
}

interface Rates {
  readonly firstBytesPerSecond: number;
  readonly steadyBytesPerSecond: number;
  readonly failed: number;
}

async function firstAndSteady(config: StorageConfigInput, seconds: number): Promise<Rates> {
  // A small storage before it has the code compiled.
  const warm = await openStorage({ l1: { sizeBytes: 64 * MiB, evictionPolicy: "LRU" } });
  const warming = new Writing(warm);
  await warming.until(performance.now() + 300);
  await warming.close();
  await warm.close();

  // Memory that a virtual machine has not used for seconds comes from its host at a tenth of the speed: measured is the next owner's.
  touch(config.l1.sizeBytes + 2 * GiB);
  const storage = await openStorage(config);
  const writing = new Writing(storage);
  try {
    const first = await writing.until(performance.now() + seconds * 1000);
    const { sizeBytes } = config.l1;
    while (writing.bytes < 1.5 * sizeBytes) await writing.until(performance.now() + 200);
    const steady = await writing.until(performance.now() + 3 * seconds * 1000);
    await storage.idle();
    return { firstBytesPerSecond: Math.round(first), steadyBytesPerSecond: Math.round(steady), failed: writing.failed };
  } finally {
    await writing.close();
    await storage.close();
  }
}

/** Stores objects under keys never used before, several windows at a time. */
class Writing {
  bytes = 0;
  failed = 0;
  #next = 0;
  readonly #storage: Storage;
  readonly #engine: DeviceEngine;
  readonly #namespaceId: number;

  constructor(storage: Storage) {
    this.#storage = storage;
    this.#engine = new DeviceEngine(storage.runtime, objectBytes, engineBlocks);
    for (let block = 0; block < engineBlocks; block++) this.#engine.words(block).fill(block + 1);
    this.#namespaceId = storage.namespaces.register({ modelName: "bench", cacheSalt: "", fingerprint: imageFingerprint(layout) });
  }

  /** Writes until the time; the rate counts what was committed, over the time until the last commit. */
  async until(endMs: number): Promise<number> {
    const startMs = performance.now();
    const startBytes = this.bytes;
    const work = async (): Promise<void> => {
      while (performance.now() < endMs) await this.#window();
    };
    await Promise.all(Array.from({ length: writers }, work));
    return ((this.bytes - startBytes) * 1000) / (performance.now() - startMs);
  }

  close(): Promise<void> {
    return this.#engine.close();
  }

  async #window(): Promise<void> {
    const first = this.#next;
    this.#next += windowObjects;
    const records = new Uint8Array(windowObjects * keyRecordBytes);
    const view = new DataView(records.buffer);
    for (let index = 0; index < windowObjects; index++) {
      chunkHashOf(first + index, seed, view, index * keyRecordBytes);
      view.setUint32(index * keyRecordBytes + 32, this.#namespaceId, true);
    }
    const write = await this.#storage.reserveWrite(new KeyBatch(records), layout, { timeoutMs: 60_000 });
    await this.#engine.gather(write.arena, write.refs, Int32Array.from({ length: write.count }, (_, index) => (first + index) % engineBlocks));
    const stored = await write.commit();
    void stored.settled.then(({ failedKeys, droppedKeys }) => (this.failed += failedKeys + droppedKeys));
    this.bytes += write.count * objectBytes;
  }
}
