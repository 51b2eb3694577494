/**
 * The control plane without payload, through the public TypeScript API, on one thread: how many objects a second pass through their
 * whole life, how many keys a second pass through the store controller, and what a resident key costs in memory.
 */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { GiB, KiB, MiB } from "../../base/bytes.ts";
import { KeyBatch, keyRecordBytes } from "../../keys/key-batch.ts";
import { imageFingerprint } from "../../keys/layout.ts";
import { StoreStatus, type L2Adapter, type ObjectBatch } from "../../l2/contract.ts";
import { openStorage, type Storage } from "../../storage/index.ts";
import type { BenchOptions, BenchReport } from "./contract.ts";

export const summary = "control plane: object life cycles, store controller, memory per resident key";

const batchKeys = 64;
/** The smallest slot: more objects per byte, so that the tables are what is measured. Nothing touches the slots' memory. */
const layout = { sizeBytes: 4 * KiB };

const l1Objects = 65_536;

export async function run(options: BenchOptions): Promise<BenchReport> {
  const scale = options.quick ? 0.05 : 1;
  const memory = await memoryPerKey(options, Math.round(1_000_000 * scale), Math.round(1_100_000 * scale));
  const lifeCycles = await lifeCyclesPerSecond(options, options.quick ? 0.3 : 3);
  const storeKeys = await storeControllerKeysPerSecond(options, options.quick ? 0.3 : 3);
  return {
    figures: {
      lifeCyclesPerSecond: lifeCycles.perSecond,
      lifeCyclesPerThreadSecond: lifeCycles.perThreadSecond,
      storeControllerKeysPerSecond: storeKeys.perSecond,
      storeControllerKeysPerThreadSecond: storeKeys.perThreadSecond,
      memory,
    },
    ratios: {
      lifeCyclesToTarget: lifeCycles.perThreadSecond / 1_000_000,
      storeControllerToTarget: storeKeys.perThreadSecond / 300_000,
    },
    conditions: {
      threads: 1,
      perThreadSecond: "per second that this one thread was on a processor: what a core does when nothing else wants it",
      batchKeys,
      objectBytes: layout.sizeBytes,
      lifeCycle: "reserveWrite, commit, prefetch (lease), release; L1 of 65,536 objects, LRU; no key is in L1 when it is written, so that every object evicts one",
      lifeCycleBatches: lifeCycles.batches,
      storeController: "noop + skip_l1, an adapter that answers stored in the same turn; reserveWrite, commit, settled, dropped from L1",
      storeBatches: storeKeys.batches,
      memory: "growth of the resident set after garbage collection and a warm-up of 100,000 keys, without the pages of the slots; peak = highest resident set while the keys came",
    },
    ok: lifeCycles.ok && storeKeys.ok,
  };
}

/** Batches of keys that were never used before, from one counter. */
class FreshKeys {
  readonly #namespaceId: number;
  #next = 1;

  constructor(storage: Storage) {
    this.#namespaceId = storage.namespaces.register({ modelName: "bench", cacheSalt: "", fingerprint: imageFingerprint(layout) });
  }

  batch(): KeyBatch {
    const records = new Uint8Array(batchKeys * keyRecordBytes);
    const words = new Uint32Array(records.buffer);
    for (let index = 0; index < batchKeys; index++) {
      const at = (index * keyRecordBytes) / 4;
      // Real chunk hashes are uniform; a counter in every word would make the table's life too easy or too hard.
      let word = Math.imul(this.#next++, 0x9e3779b1);
      for (let position = 0; position < 8; position++) {
        word = Math.imul(word ^ (word >>> 15), 0x85ebca6b);
        words[at + position] = word;
      }
      words[at] = this.#next;
      words[at + 8] = this.#namespaceId;
    }
    return new KeyBatch(records);
  }
}

/** Batches made before the clock starts (an engine's keys come hashed), in a ring: a batch comes again when its objects have long left. */
class KeyRing {
  readonly #batches: readonly KeyBatch[];
  #next = 0;

  constructor(storage: Storage, objects: number) {
    const keys = new FreshKeys(storage);
    this.#batches = Array.from({ length: Math.ceil(objects / batchKeys) }, () => keys.batch());
  }

  batch(): KeyBatch {
    this.#next = this.#next + 1 === this.#batches.length ? 0 : this.#next + 1;
    return this.#batches[this.#next];
  }
}

interface Throughput {
  readonly perSecond: number;
  readonly perThreadSecond: number;
  readonly batches: number;
  readonly ok: boolean;
}

async function lifeCyclesPerSecond(options: BenchOptions, seconds: number): Promise<Throughput> {
  const storage = await openStorage({ l1: { sizeBytes: l1Objects * layout.sizeBytes, evictionPolicy: "LRU" } });
  const keys = new KeyRing(storage, 4 * l1Objects);
  let hits = 0;
  let granted = 0;
  const cycle = async (): Promise<void> => {
    const batch = keys.batch();
    const write = await storage.reserveWrite(batch, layout);
    granted += write.count;
    await write.commit();
    const read = await storage.prefetch(batch, layout);
    hits += read.hitCount;
    await read.release();
  };
  try {
    options.progress("life cycles: filling L1");
    for (let filled = 0; filled < 1.25 * l1Objects; filled += batchKeys) await cycle();
    hits = 0;
    granted = 0;
    options.progress("life cycles");
    const { batches, elapsed, onProcessor } = await repeatFor(seconds, cycle);
    return { perSecond: (batches * batchKeys) / elapsed, perThreadSecond: (batches * batchKeys) / onProcessor, batches, ok: hits === batches * batchKeys && granted === hits };
  } finally {
    await storage.close();
  }
}

async function storeControllerKeysPerSecond(options: BenchOptions, seconds: number): Promise<Throughput> {
  const storage = await openStorage({ l1: { sizeBytes: 256 * MiB, evictionPolicy: "noop" }, l2: { adapters: [instantAdapter()] } });
  const keys = new KeyRing(storage, l1Objects);
  let stored = 0;
  const cycle = async (): Promise<void> => {
    const write = await storage.reserveWrite(keys.batch(), layout);
    const { settled } = await write.commit();
    stored += (await settled).storedKeys;
  };
  try {
    options.progress("store controller");
    await repeatFor(seconds / 5, cycle);
    stored = 0;
    const { batches, elapsed, onProcessor } = await repeatFor(seconds, cycle);
    await storage.idle();
    return { perSecond: (batches * batchKeys) / elapsed, perThreadSecond: (batches * batchKeys) / onProcessor, batches, ok: stored === batches * batchKeys && storage.usage.usedBytes === 0 };
  } finally {
    await storage.close();
  }
}

async function repeatFor(seconds: number, cycle: () => Promise<void>): Promise<{ readonly batches: number; readonly elapsed: number; readonly onProcessor: number }> {
  const threadStart = threadSeconds();
  const start = performance.now();
  let batches = 0;
  let elapsed = 0;
  while (elapsed < seconds) {
    for (let round = 0; round < 256; round++) await cycle();
    batches += 256;
    elapsed = (performance.now() - start) / 1000;
    // One turn of the event loop, so that the progress line and signals live; not part of a cycle's cost worth hiding.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { batches, elapsed, onProcessor: threadSeconds() - threadStart };
}

/** Seconds that the main thread was on a processor; of the whole process where the kernel does not say. */
function threadSeconds(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e9;
  } catch {
    // No schedstat in this kernel: all threads together are the closest there is.
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  }
}

function instantAdapter(): L2Adapter {
  return {
    type: "instant",
    name: "instant",
    capabilities: { persistent: false, accountsBytes: false, evicts: false, lists: false, shared: false, throughJavaScript: false },
    describe: () => "answers stored at once and keeps nothing",
    store: (batch: ObjectBatch) => Promise.resolve(new Uint8Array(batch.keys.count).fill(StoreStatus.stored)),
    lookup: (keys) => Promise.resolve(new Uint8Array(keys.count)),
    load: (batch) => Promise.resolve(new Uint8Array(batch.keys.count).fill(1)),
    delete: (keys) => Promise.resolve(new Uint8Array(keys.count)),
    usage: () => ({ usedBytes: 0, capacityBytes: 0, objectCount: 0, bytesBySalt: {} }),
    health: () => ({ ready: true, problems: [] }),
    close: () => Promise.resolve(),
  };
}

const warmUpKeys = 100_000;

async function memoryPerKey(options: BenchOptions, first: number, second: number): Promise<Record<string, number>> {
  // Nobody touches the slots: 5 GiB of them cost page tables for nothing.
  const storage = await openStorage({ l1: { sizeBytes: Math.min(5 * GiB, Math.ceil((second * 1.02 * layout.sizeBytes) / MiB) * MiB + 64 * MiB), evictionPolicy: "LRU", evictionTriggerWatermark: 1, loadShare: 0, storeShare: 0.9 } });
  const keys = new FreshKeys(storage);
  const write = async (): Promise<void> => {
    await (await storage.reserveWrite(keys.batch(), layout)).commit();
  };
  try {
    // Compiled code and the young heap reach their size first, on keys that leave again: they do not grow with what is resident.
    for (let count = 0; count < warmUpKeys; count += batchKeys) {
      await write();
      storage.clearL1();
    }
    for (let count = 0; count < 4096; count += batchKeys) await write();
    collectGarbage();
    const atStart = residentBytes(storage);
    const figures: Record<string, number> = {};
    let count = 4096;
    let peak = 0;
    for (const target of [first, second]) {
      options.progress(`memory at ${target.toLocaleString("en")} keys`);
      for (; count < target; count += batchKeys) {
        await write();
        if ((count / batchKeys) % 128 === 0) peak = Math.max(peak, residentBytes(storage));
      }
      await new Promise((resolve) => setImmediate(resolve));
      collectGarbage();
      const grown = residentBytes(storage) - atStart;
      figures[`bytesPerKeyAt${target}Keys`] = Math.round((grown / (count - 4096)) * 10) / 10;
      figures[`peakBytesPerKeyUpTo${target}Keys`] = Math.round(((Math.max(peak, residentBytes(storage)) - atStart) / (count - 4096)) * 10) / 10;
    }
    return figures;
  } finally {
    await storage.close();
  }
}

/** Beyond the slots' own pages: those are populated ahead of their use, whether keys come or not. */
function residentBytes(storage: Storage): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"));
  const resident = match === null ? process.memoryUsage().rss : Number(match[1]) * 1024;
  return resident - Math.max(0, storage.arena.stats(true).populatedBytes);
}

/** Figures of memory mean nothing with garbage in them, and a user's command line has no --expose-gc. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
}
