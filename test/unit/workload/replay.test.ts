import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { KiB, MiB } from "../../../src/base/bytes.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { CapacityError } from "../../../src/base/errors.ts";
import { DeviceEngine } from "../../../src/cli/replay/device-engine.ts";
import type { AdapterSpec } from "../../../src/l2/contract.ts";
import { openStorage, type Storage, type StorageConfigInput } from "../../../src/storage/index.ts";
import type { EngineMemory } from "../../../src/workload/engine-memory.ts";
import { checkAtRest, infinitePrefixHitRatio, lossesOf, obligationsOf } from "../../../src/workload/measure.ts";
import { Replay, type ReplayCounts } from "../../../src/workload/replay.ts";

const directory = await mkdtemp(join(tmpdir(), "kvferry-replay-test-"));
after(() => rm(directory, { recursive: true, force: true }));

const payloadBytes = 8 * KiB;
const windowBlocks = 4;

/** Requests whose prompts repeat and grow: 1, 1 2, 1 2 3, ... of several conversations. */
function conversations(count: number, turns: number, chunksPerTurn: number): number[][] {
  const rows: number[][] = [];
  for (let turn = 1; turn <= turns; turn++)
    for (let conversation = 0; conversation < count; conversation++) rows.push([0, ...Array.from({ length: turn * chunksPerTurn }, (_, index) => 1 + conversation * 1000 + index)]);
  return rows;
}

interface Run {
  readonly counts: ReplayCounts;
  readonly storage: Storage;
}

async function replay(
  rows: readonly (readonly number[])[],
  config: StorageConfigInput,
  use: (run: Run) => Promise<void> | void,
  { wrap = (engine) => engine, patienceMs, seed = 1, blockBytes = payloadBytes }: { wrap?: (engine: EngineMemory) => EngineMemory; patienceMs?: number; seed?: number; blockBytes?: number } = {},
): Promise<void> {
  const storage = await openStorage(config);
  const engine = new DeviceEngine(storage.runtime, blockBytes, windowBlocks * 4);
  try {
    const requests = rows.map((hashIds, index) => ({ hashIds, timestampMs: 0, inputTokens: 0, outputTokens: 0, line: index + 1 }));
    const run = new Replay({ requests, storage, engine: wrap(engine), clock: systemClock, traceName: "t", seed, speed: Infinity, windowBlocks, signal: new AbortController().signal, patienceMs });
    await run.run();
    await storage.idle();
    await use({ counts: run.counts, storage });
  } finally {
    await engine.close();
    await storage.close();
  }
}

const mock = (gb = 0.25) => ({ type: "mock", max_size_gb: gb, mock_bandwidth_gb: 50 });
const bufferOnly = (sizeBytes: number, ...adapters: AdapterSpec[]): StorageConfigInput => ({
  l1: { sizeBytes, evictionPolicy: "noop" },
  l2: { storePolicy: "skip_l1", adapters },
});

const rows = conversations(5, 6, 3);
const requested = rows.reduce((sum, row) => sum + row.length, 0);
const different = new Set(rows.flat()).size;

for (const [name, l1Bytes] of [["many", 4 * MiB], ["8", 64 * KiB], ["2", 64 * KiB], ["1", 64 * KiB]] as const) {
  // Object sizes of a half and of all of the smallest arena make an L1 of two objects and of one.
  const blockBytes = name === "2" ? 32 * KiB : name === "1" ? 64 * KiB : payloadBytes;
  test(`buffer-only with an L1 of ${name} objects finds every prefix, loses nothing and leaves 0 bytes`, async () => {
    await replay(
      rows,
      bufferOnly(l1Bytes, mock()),
      ({ counts, storage }) => {
        assert.equal(counts.chunksHit / counts.chunksRequested, infinitePrefixHitRatio(rows.map((hashIds) => ({ hashIds }))));
        assert.deepEqual([counts.chunksRequested, counts.chunksHit, counts.chunksStored], [requested, requested - different, different]);
        assert.deepEqual([counts.bytesLoaded, counts.bytesVerified, counts.bytesWrong], [counts.chunksHit * blockBytes, counts.chunksHit * blockBytes, 0]);
        assert.deepEqual(obligationsOf(storage.counters), { created: different, stored: different, failed: 0, dropped: 0 });
        assert.deepEqual(checkAtRest(storage), { usedBytes: 0, problems: [] });
        assert.deepEqual(lossesOf(storage.counters), []);
        assert.ok(storage.usage.peakUsedBytes <= l1Bytes);
      },
      { blockBytes },
    );
  });
}

test("a later run over the same directory finds everything, another seed finds nothing", async () => {
  const config = bufferOnly(1 * MiB, { type: "fs", base_path: join(directory, "persistent"), min_free_gb: 0.01, min_free_percent: 0, min_free_inodes_percent: 0 });
  await replay(rows, config, ({ counts }) => assert.equal(counts.chunksStored, different));
  await replay(rows, config, ({ counts }) => {
    assert.deepEqual([counts.chunksHit, counts.chunksStored, counts.bytesWrong], [requested, 0, 0]);
  });
  await replay(rows, config, ({ counts }) => assert.deepEqual([counts.chunksStored, counts.bytesWrong], [different, 0]), { seed: 2 });
});

test("one byte changed on its way back is counted as one wrong byte", async () => {
  let spoiled = 0;
  const spoil = (engine: EngineMemory): EngineMemory => ({
    blockBytes: engine.blockBytes,
    blockCount: engine.blockCount,
    words: (block) => engine.words(block),
    gather: (arena, refs, blocks) => engine.gather(arena, refs, blocks),
    scatter: async (arena, refs, blocks) => {
      await engine.scatter(arena, refs, blocks);
      if (spoiled === 0) engine.words(blocks[0])[engine.blockBytes / 8] ^= 0x100;
      spoiled++;
    },
    close: () => engine.close(),
  });
  await replay(rows, bufferOnly(1 * MiB, mock()), ({ counts }) => assert.equal(counts.bytesWrong, 1), { wrap: spoil });
  assert.ok(spoiled > 0);
});

test("a store that corrupts half of what it gives back costs hits, never a wrong byte", async () => {
  const faulty = { type: "fault_inject", inner: mock(), seed: 7, load: { corrupt: 0.5 } };
  await replay(rows, bufferOnly(1 * MiB, faulty), ({ counts, storage }) => {
    assert.equal(counts.bytesWrong, 0);
    assert.ok(counts.chunksHit < requested - different, `${counts.chunksHit} hits`);
    assert.ok(lossesOf(storage.counters).some((loss) => loss.includes("corrupt")), lossesOf(storage.counters).join("; "));
    assert.deepEqual(checkAtRest(storage).problems, []);
  });
});

test("a store that lies about what it loaded is found out byte by byte", async () => {
  const lying = { type: "fault_inject", inner: mock(), seed: 7, load: { corrupt_silently: 0.2 } };
  await replay(rows, bufferOnly(1 * MiB, lying), ({ counts, storage }) => {
    assert.ok(counts.bytesWrong > 0);
    assert.deepEqual(checkAtRest(storage).problems, []);
  });
});

test("stores that fail are counted per reason, and L1 comes to rest all the same", async () => {
  const faulty = { type: "fault_inject", inner: mock(), seed: 7, store: { fail: 1 } };
  await replay(rows.slice(0, 6), { ...bufferOnly(1 * MiB, faulty), l2: { storePolicy: "skip_l1", adapters: [faulty], storeRetryDelayMs: 1 } }, ({ counts, storage }) => {
    const { created, stored, failed } = obligationsOf(storage.counters);
    assert.deepEqual([stored, failed], [0, created]);
    assert.equal(counts.bytesWrong, 0);
    assert.deepEqual(checkAtRest(storage), { usedBytes: 0, problems: [] });
    assert.ok(lossesOf(storage.counters).some((loss) => /chunk stores failed at/.test(loss)), lossesOf(storage.counters).join("; "));
  });
});

test("without any store LRU keeps L1 full and the newest prefixes hit", async () => {
  await replay(rows, { l1: { sizeBytes: 1 * MiB, evictionPolicy: "LRU" } }, ({ counts, storage }) => {
    assert.equal(counts.chunksHit, requested - different, "1 MiB holds all 91 chunks");
    assert.equal(storage.usage.usedBytes, different * payloadBytes);
    assert.deepEqual(checkAtRest(storage).problems, []);
  });
  await replay(rows, { l1: { sizeBytes: 256 * KiB, evictionPolicy: "LRU" } }, ({ counts, storage }) => {
    assert.ok(counts.chunksHit > 0 && counts.chunksHit < requested - different);
    assert.deepEqual([counts.bytesWrong, checkAtRest(storage).problems.length], [0, 0]);
  });
});

test("an L1 that can never make room ends the run with a sentence instead of standing still", async () => {
  const full = { l1: { sizeBytes: 128 * KiB, evictionPolicy: "noop" }, l2: { storePolicy: "default" } };
  await assert.rejects(replay(rows, full, () => assert.fail("the run must not end well"), { patienceMs: 150 }), (error: unknown) => error instanceof CapacityError);
});

test("the check of rest sees a lease that nobody released", async () => {
  const storage = await openStorage({ l1: { sizeBytes: 1 * MiB } });
  try {
    const keys = [{ chunkHash: new Uint8Array(32), modelName: "m", kvRank: 0, objectGroupId: 0, cacheSalt: "" }];
    const write = await storage.reserveWrite(keys, { sizeBytes: 4096 });
    assert.match(checkAtRest(storage).problems.join("; "), /1 open writes.*4096 staged bytes/);
    await write.commit();
    const read = await storage.prefetch(keys, { sizeBytes: 4096 });
    assert.match(checkAtRest(storage).problems.join("; "), /1 leases/);
    await read.release();
    assert.deepEqual(checkAtRest(storage).problems, []);
  } finally {
    await storage.close();
  }
});
