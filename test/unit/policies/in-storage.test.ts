/** Policies where they work: in a real storage, with the native L1. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { KiB } from "../../../src/base/bytes.ts";
import { VirtualClock } from "../../../src/base/clock.ts";
import { ConfigError, PluginError } from "../../../src/base/errors.ts";
import type { ObjectKey } from "../../../src/keys/object-key.ts";
import type { L2Usage } from "../../../src/l2/contract.ts";
import { packageRoot } from "../../../src/native/load.ts";
import { openStorage, type Storage, type StorageConfigInput } from "../../../src/storage/index.ts";

const layout = { sizeBytes: 32 * KiB };
const mock = { type: "mock", max_size_gb: 0.01, mock_bandwidth_gb: 100 };
const secondHit = join(packageRoot(), "test/fixtures/policies/second-hit-store-policy.mjs");
const clock = join(packageRoot(), "test/fixtures/policies/clock-eviction-policy.mjs");

function keyOf(number: number, cacheSalt = ""): ObjectKey {
  return { chunkHash: new Uint8Array(32).fill(number), modelName: "m", kvRank: 0, objectGroupId: 0, cacheSalt };
}

/** Writes one object and waits for what its obligation comes to. */
async function write(storage: Storage, key: ObjectKey): Promise<void> {
  const handle = await storage.reserveWrite([key], layout);
  assert.equal(handle.count, 1, "the object was in L1 already, or found no room");
  handle.slots[0].write(new Uint8Array(layout.sizeBytes).fill(key.chunkHash[0]));
  assert.equal((await (await handle.commit()).settled).failedKeys, 0);
}

/** Which of these keys L1 holds. */
async function inL1(storage: Storage, keys: readonly ObjectKey[]): Promise<number[]> {
  const held: number[] = [];
  for (const key of keys) {
    const read = await storage.prefetch([key], layout, { skipL2: true });
    if (read.hitCount === 1) held.push(key.chunkHash[0]);
    await read.release();
  }
  return held;
}

test("a store policy named by path decides in a storage: the disk gets a key at its second commit", async () => {
  await using storage = await openStorage({ l1: { sizeBytes: 128 * KiB }, l2: { storePolicy: secondHit, adapters: [mock] } });
  const inL2 = (): number => (storage.status().adapters[0].usage as L2Usage).objectCount;
  for (const number of [1, 2, 3, 4, 5]) await write(storage, keyOf(number));
  assert.equal(inL2(), 0);
  assert.deepEqual(await inL1(storage, [keyOf(1)]), [], "LRU had to make room");
  await write(storage, keyOf(1));
  assert.equal(inL2(), 1);
});

test("an eviction policy named by path and export decides in a storage: CLOCK spares what was read", async () => {
  await using storage = await openStorage({ l1: { sizeBytes: 128 * KiB, evictionPolicy: `${clock}#ClockPolicy`, evictionTriggerWatermark: 1 } });
  for (const number of [1, 2, 3, 4]) await write(storage, keyOf(number));
  assert.deepEqual(await inL1(storage, [keyOf(1)]), [1]);
  await write(storage, keyOf(5));
  const [first, second] = [await inL1(storage, [keyOf(1)]), await inL1(storage, [keyOf(2)])];
  assert.deepEqual([first, second], [[1], []]);
});

test("IsolatedLRU in L1: who is over quota pays, and the quota is in force again after a restart", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "kvferry-policies-"));
  t.after(() => rm(directory, { recursive: true }));
  const config: StorageConfigInput = {
    l1: { sizeBytes: 256 * KiB, evictionPolicy: "IsolatedLRU", evictionTriggerWatermark: 1, storeShare: 0.25, loadShare: 0.25 },
    quotas: { path: join(directory, "quotas.json") },
  };
  const bob = [11, 12].map((number) => keyOf(number, "bob"));
  const alice = [1, 2, 3, 4].map((number) => keyOf(number, "alice"));
  const run = async (storage: Storage): Promise<void> => {
    // Bob's are the oldest: a single LRU list would take them first.
    for (const key of [...bob, ...alice]) await write(storage, key);
    for (const number of [5, 6, 7, 8]) await write(storage, keyOf(number, "alice"));
    assert.deepEqual(await inL1(storage, bob), [11, 12]);
    assert.deepEqual(await inL1(storage, alice.slice(0, 2)), []);
  };
  {
    await using storage = await openStorage(config);
    await storage.quotas.set("alice", 64 * KiB);
    await run(storage);
  }
  await using storage = await openStorage(config);
  assert.deepEqual(storage.quotas.list(), [{ cacheSalt: "alice", quotaBytes: 64 * KiB }]);
  await run(storage);
});

test("a salt over its quota is brought below it pass by pass, although nothing is written any more and L1 has room", async () => {
  const virtual = new VirtualClock();
  await using storage = await openStorage({ l1: { sizeBytes: 1024 * KiB, evictionPolicy: "IsolatedLRU", evictionRatio: 0.1 } }, { clock: virtual });
  await storage.quotas.set("alice", 160 * KiB);
  const keys = Array.from({ length: 10 }, (_, index) => keyOf(1 + index, "alice"));
  for (const key of keys) await write(storage, key);
  virtual.advance(1_000);
  assert.equal((await inL1(storage, keys)).length, 9);
  virtual.advance(60_000);
  assert.equal((await inL1(storage, keys)).length, 3, "0.8 of 160 KiB is 4 objects of 32 KiB, and at that mark it still pays");
});

test("a policy that is not there is refused before anything is opened", async () => {
  const l1 = { sizeBytes: 128 * KiB };
  await assert.rejects(openStorage({ l1: { ...l1, evictionPolicy: "lru" } }), (error) => error instanceof ConfigError && error.field === "l1.evictionPolicy" && /did you mean "LRU"/.test(error.message));
  await assert.rejects(openStorage({ l1, l2: { storePolicy: "noop", adapters: [mock] } }), /name the store policy 'skip_l1'/);
  await assert.rejects(openStorage({ l1, l2: { storePolicy: "./nowhere.mjs", adapters: [mock] } }), (error) => error instanceof PluginError && /no such file/.test(error.message));
});
