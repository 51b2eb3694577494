import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import fc from "fast-check";

import { packageRoot } from "../../../src/native/load.ts";
import { FifoPolicy } from "../../../src/policies/eviction/fifo.ts";
import { LruPolicy } from "../../../src/policies/eviction/lru.ts";
import { NoopPolicy } from "../../../src/policies/eviction/noop.ts";
import { indexPolicyContext, IndexOnlySimulation, type IndexOnlyResult, type TouchOrder } from "../../../src/workload/index-only.ts";
import { readTrace } from "../../../src/workload/trace.ts";

const traceDirectory = process.env.KVFERRY_TRACE_DIR ?? join(packageRoot(), "../shared/data");
const conversation = join(traceDirectory, "mooncake_conversation_trace.jsonl.gz");
const miniswe = join(traceDirectory, "miniswe_llama3_blk256.jsonl.gz");

function skipWithout(path: string): string | false {
  return existsSync(path) ? false : `${path} is not here; set KVFERRY_TRACE_DIR to the folder that has it`;
}

type PolicyName = "LRU" | "FIFO";

async function load(path: string): Promise<number[][]> {
  const rows: number[][] = [];
  for await (const request of readTrace(path)) rows.push([...request.hashIds]);
  return rows;
}

function simulate(rows: readonly number[][], policy: PolicyName, capacity: number, order: TouchOrder): IndexOnlyResult {
  const simulation = new IndexOnlySimulation(policy === "LRU" ? new LruPolicy(indexPolicyContext) : new FifoPolicy(indexPolicyContext), capacity, order);
  for (const hashIds of rows) simulation.add({ hashIds });
  return simulation.result();
}

/** Capacity in 512-token blocks: LRU head-first, LRU tail-first, FIFO head-first, evictions of LRU head-first (published analysis of the trace). */
const conversationTable: readonly [number, string, string, string, number][] = [
  [100, "0.0404", "0.0418", "0.0344", 276_755],
  [300, "0.0419", "0.0420", "0.0390", 276_108],
  [1_000, "0.0445", "0.0445", "0.0434", 274_669],
  [3_000, "0.0650", "0.0653", "0.0627", 266_739],
  [5_000, "0.1104", "0.1118", "0.1053", 251_660],
  [10_000, "0.2112", "0.2116", "0.1815", 217_579],
  [20_000, "0.2875", "0.2878", "0.2577", 185_561],
  [30_000, "0.3257", "0.3257", "0.2944", 164_533],
  [50_000, "0.3546", "0.3546", "0.3335", 136_210],
  [100_000, "0.3637", "0.3637", "0.3563", 83_576],
];

test("the conversation trace gives the published hit ratios and evictions at every capacity", { skip: skipWithout(conversation) }, async () => {
  const rows = await load(conversation);
  for (const [capacity, lruHead, lruTail, fifo, evictions] of conversationTable) {
    const head = simulate(rows, "LRU", capacity, "head-first");
    assert.equal(head.prefixHitRatio.toFixed(4), lruHead, `LRU head-first at ${capacity}`);
    assert.equal(head.evictions, evictions, `evictions of LRU head-first at ${capacity}`);
    assert.equal(simulate(rows, "LRU", capacity, "tail-first").prefixHitRatio.toFixed(4), lruTail, `LRU tail-first at ${capacity}`);
    assert.equal(simulate(rows, "FIFO", capacity, "head-first").prefixHitRatio.toFixed(4), fifo, `FIFO at ${capacity}`);
  }
  const first = simulate(rows, "LRU", 200_000, "head-first");
  assert.deepEqual(first.chunks, { requested: 288_500, hit: 105_710, unique: 182_790 });
  assert.equal(first.infinitePrefixHitRatio.toFixed(4), "0.3664");
  assert.equal(first.evictions, 0);
});

test("its first 1,000 requests hit 21.21 % in a cache that is large enough", { skip: skipWithout(conversation) }, async () => {
  const rows = (await load(conversation)).slice(0, 1000);
  const result = simulate(rows, "LRU", 100_000, "tail-first");
  assert.deepEqual(result.chunks, { requested: 27_305, hit: 27_305 - 21_514, unique: 21_514 });
  assert.equal(result.prefixHitRatio.toFixed(4), "0.2121");
});

test("touching tails first rescues chains longer than the cache", { skip: skipWithout(miniswe) }, async () => {
  // Head-first touching makes LRU evict the heads of a chain that is longer than the cache and strand its tails (100 chunks, chains up to 182).
  const rows = await load(miniswe);
  assert.equal(simulate(rows, "LRU", 100, "head-first").prefixHitRatio.toFixed(4), "0.7047");
  assert.equal(simulate(rows, "LRU", 100, "tail-first").prefixHitRatio.toFixed(4), "0.8839");
  assert.equal(simulate(rows, "FIFO", 100, "head-first").prefixHitRatio.toFixed(4), "0.7047");
  for (const policy of ["LRU", "FIFO"] as const)
    for (const order of ["head-first", "tail-first"] as const)
      assert.equal(simulate(rows, policy, 300, order).prefixHitRatio.toFixed(4), "0.9341", `${policy} ${order} at 300`);
});

test("the shipped trace gives its known ratios", async () => {
  const rows = await load(join(packageRoot(), "examples/traces/chat.jsonl"));
  const counts = (policy: PolicyName, capacity: number, order: TouchOrder) => {
    const { chunks, evictions } = simulate(rows, policy, capacity, order);
    return [chunks.hit, evictions];
  };
  assert.deepEqual(simulate(rows, "LRU", 1000, "tail-first").chunks, { requested: 4308, hit: 3529, unique: 779 });
  assert.deepEqual(counts("LRU", 50, "head-first"), [1009, 3249]);
  assert.deepEqual(counts("LRU", 50, "tail-first"), [1183, 3271]);
  assert.deepEqual(counts("FIFO", 50, "head-first"), [693, 3386]);
  assert.deepEqual(counts("LRU", 200, "head-first"), [3148, 960]);
  assert.deepEqual(counts("FIFO", 200, "head-first"), [2619, 1203]);
});

/** The rule again, with arrays and no cleverness. */
function reference(rows: readonly number[][], policy: PolicyName, capacity: number, order: TouchOrder): { hit: number; evictions: number } {
  const cache: number[] = [];
  let hit = 0;
  let evictions = 0;
  for (const row of rows) {
    const miss = row.findIndex((id) => !cache.includes(id));
    hit += miss === -1 ? row.length : miss;
    for (const id of order === "head-first" ? row : [...row].reverse()) {
      const at = cache.indexOf(id);
      if (at !== -1 && policy === "FIFO") continue;
      if (at !== -1) cache.splice(at, 1);
      else if (cache.length === capacity) {
        cache.shift();
        evictions++;
      }
      cache.push(id);
    }
  }
  return { hit, evictions };
}

test("any trace gives what the rule written with plain arrays gives", () => {
  const row = fc.uniqueArray(fc.integer({ min: 0, max: 24 }), { maxLength: 12 });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 30 }), fc.constantFrom("LRU", "FIFO"), fc.integer({ min: 1, max: 20 }), fc.constantFrom("head-first", "tail-first"), (rows, policy, capacity, order) => {
      const result = simulate(rows, policy, capacity, order);
      assert.deepEqual({ hit: result.chunks.hit, evictions: result.evictions }, reference(rows, policy, capacity, order));
      assert.ok(result.residentAtEnd <= capacity);
    }),
    { verbose: true },
  );
});

test("a policy that never evicts and a capacity of nothing are refused", () => {
  assert.throws(() => new IndexOnlySimulation(new LruPolicy(indexPolicyContext), 0, "head-first"), /capacityBlocks must be an integer of 1 or more, got 0/);
  assert.throws(() => new IndexOnlySimulation(new NoopPolicy(), 10, "head-first"), /noop evicts nothing/);
});
