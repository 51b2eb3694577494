/** The cases every adapter must pass: what a store that tells the truth does with objects. */
import assert from "node:assert/strict";

import { KiB, MiB } from "../../base/bytes.ts";
import { KeyBatch } from "../../keys/key-batch.ts";
import { type L2Adapter, LoadStatus, type ObjectBatch, StoreStatus } from "../contract.ts";
import { assertSameBytes, type Harness, inTime } from "./harness.ts";

export interface ConformanceCase {
  readonly name: string;
  /** Left out: every adapter. */
  applies?(adapter: L2Adapter): boolean;
  run(harness: Harness, adapter: L2Adapter): Promise<void>;
}

const edgeSizes = [1, 2, 511, 512, 513, 4095, 4096, 4097, 65_537, 262_144, MiB - 1, MiB, 3 * MiB + 5];

export const objectCases: readonly ConformanceCase[] = [
  {
    name: "gives back the bytes of objects of every size",
    async run(harness, adapter) {
      const sizes = [...edgeSizes, ...Array.from({ length: 12 }, () => 1 + harness.random.nextBelow(300 * KiB))];
      const keys = harness.keys(sizes);
      const payloads = harness.payloads(sizes);
      assertAll(await harness.store(adapter, keys, payloads), StoreStatus.stored);
      await assertHolds(harness, adapter, keys, payloads);
    },
  },
  {
    name: "answers per key: what is there is loaded, what is not is missing",
    async run(harness, adapter) {
      const sizes = new Array<number>(9).fill(5000);
      const keys = harness.keys(sizes);
      const payloads = harness.payloads(sizes);
      const storedIndices = [0, 3, 4, 8];
      assertAll(await harness.store(adapter, keys.pick(storedIndices), storedIndices.map((index) => payloads[index])), StoreStatus.stored);
      const expected = sizes.map((_, index) => (storedIndices.includes(index) ? 1 : 0));
      assert.deepEqual([...(await inTime(adapter.lookup(keys)))], expected);
      if (adapter.holds !== undefined) assert.deepEqual([...adapter.holds(keys)], expected, "holds() and lookup() disagree");
      const { statuses, batch } = await harness.load(adapter, keys, sizes);
      assert.deepEqual([...statuses], expected.map((there) => (there === 1 ? LoadStatus.loaded : LoadStatus.missing)));
      for (const index of storedIndices) assertSameBytes(harness.read(batch, index), payloads[index], `object ${index}`);
      harness.release(batch);
    },
  },
  {
    name: "answers empty batches with empty answers",
    async run(harness, adapter) {
      const none = harness.batch(harness.keys([]), []);
      assert.equal((await inTime(adapter.store(none))).length, 0);
      assert.equal((await inTime(adapter.load(none))).length, 0);
      assert.equal((await inTime(adapter.lookup(none.keys))).length, 0);
      assert.equal((await inTime(adapter.delete(none.keys))).length, 0);
    },
  },
  {
    name: "moves a batch of 512 objects",
    async run(harness, adapter) {
      const sizes = new Array<number>(512).fill(4096);
      const keys = harness.keys(sizes);
      const payloads = harness.payloads(sizes);
      assertAll(await harness.store(adapter, keys, payloads), StoreStatus.stored);
      await assertHolds(harness, adapter, keys, payloads);
    },
  },
  {
    name: "keeps objects apart that differ only in salt, image or group",
    async run(harness, adapter) {
      const keys = harness.keys([3000, 3000]);
      const payloads = harness.payloads([3000, 3000]);
      assertAll(await harness.store(adapter, keys, payloads), StoreStatus.stored);
      const { namespaces } = harness.context;
      const otherSalt = namespaces.register({ ...namespaces.get(keys.namespaceId(0)), cacheSalt: "tenant" });
      for (const [word, value] of [[8, otherSalt], [9, 7], [10, 99]] as const) {
        const records = keys.records.slice();
        const words = new Uint32Array(records.buffer);
        words[word] = value;
        words[12 + word] = value;
        await assertMissing(harness, adapter, new KeyBatch(records), [3000, 3000]);
      }
      await assertMissing(harness, adapter, harness.otherImage(keys), [3000, 3000]);
      await assertHolds(harness, adapter, keys, payloads);
    },
  },
  {
    name: "never calls an object loaded whose length is not the slot's",
    async run(harness, adapter) {
      const keys = harness.keys([8000]);
      assertAll(await harness.store(adapter, keys, harness.payloads([8000])), StoreStatus.stored);
      const { statuses, batch } = await harness.load(adapter, keys, [7999]);
      assert.notEqual(statuses[0], LoadStatus.loaded);
      harness.release(batch);
    },
  },
  {
    name: "lets the first store of a key win",
    async run(harness, adapter) {
      const keys = harness.keys([10_000]);
      const [first, second] = harness.payloads([10_000, 10_000]);
      assertAll(await harness.store(adapter, keys, [first]), StoreStatus.stored);
      assertAll(await harness.store(adapter, keys, [second]), StoreStatus.alreadyPresent);
      await assertHolds(harness, adapter, keys, [first]);
    },
  },
  {
    name: "lets exactly one of several concurrent stores of a key win",
    async run(harness, adapter) {
      const keys = harness.keys([20_000]);
      const payloads = harness.payloads(new Array<number>(6).fill(20_000));
      const statuses = await Promise.all(payloads.map((payload) => harness.store(adapter, keys, [payload])));
      const winners = statuses.flatMap((status, index) => (status[0] === StoreStatus.stored ? [index] : []));
      assert.equal(winners.length, 1, `statuses ${statuses.map((status) => status[0]).join(" ")}`);
      for (const status of statuses) assert.ok(status[0] === StoreStatus.stored || status[0] === StoreStatus.alreadyPresent);
      await assertHolds(harness, adapter, keys, [payloads[winners[0]]]);
    },
  },
  {
    name: "treats a key twice in one batch as one object",
    async run(harness, adapter) {
      const single = harness.keys([6000, 6000]);
      const keys = single.pick([0, 1, 0, 1]);
      const [first, second] = harness.payloads([6000, 6000]);
      const before = adapter.usage().objectCount;
      const statuses = await harness.store(adapter, keys, [first, second, first, second]);
      assert.equal(statuses.filter((status) => status === StoreStatus.stored).length, 2);
      assert.equal(statuses.filter((status) => status === StoreStatus.alreadyPresent).length, 2);
      if (adapter.capabilities.accountsBytes) assert.equal(adapter.usage().objectCount - before, 2);
      await assertHolds(harness, adapter, keys, [first, second, first, second]);
    },
  },
  {
    name: "deletes per key, and stores again what was deleted",
    async run(harness, adapter) {
      const sizes = [4000, 4000, 4000];
      const keys = harness.keys(sizes);
      const payloads = harness.payloads(sizes);
      assertAll(await harness.store(adapter, keys.pick([0, 2]), [payloads[0], payloads[2]]), StoreStatus.stored);
      assert.deepEqual([...(await inTime(adapter.delete(keys)))], [1, 0, 1]);
      assert.deepEqual([...(await inTime(adapter.delete(keys)))], [0, 0, 0]);
      assertAll(await harness.store(adapter, keys.slice(0, 1), payloads.slice(0, 1)), StoreStatus.stored);
      const [first, second] = await inTime(adapter.delete(keys.pick([0, 0])));
      assert.equal(first + second, 1, "a key named twice is deleted once");
      await assertMissing(harness, adapter, keys, sizes);
      const again = harness.payloads(sizes);
      assertAll(await harness.store(adapter, keys, again), StoreStatus.stored);
      await assertHolds(harness, adapter, keys, again);
    },
  },
  {
    name: "accounts for every object, and for none when all are deleted",
    applies: (adapter) => adapter.capabilities.accountsBytes,
    async run(harness, adapter) {
      const sizes = [1, 4096, 70_000];
      const mine = harness.keys(sizes, "tenant-a");
      const theirs = harness.keys(sizes, "tenant-b");
      assert.deepEqual(pickUsage(adapter), { usedBytes: 0, objectCount: 0, bytesBySalt: {} });
      assertAll(await harness.store(adapter, mine, harness.payloads(sizes)), StoreStatus.stored);
      const one = adapter.usage();
      assert.equal(one.objectCount, 3);
      assert.ok(one.usedBytes >= 74_097, `3 objects of 74,097 bytes use ${one.usedBytes}`);
      assert.deepEqual(one.bytesBySalt, { "tenant-a": one.usedBytes });
      assertAll(await harness.store(adapter, theirs, harness.payloads(sizes)), StoreStatus.stored);
      assert.equal(adapter.usage().usedBytes, 2 * one.usedBytes);
      await harness.store(adapter, mine, harness.payloads(sizes));
      assert.equal(adapter.usage().usedBytes, 2 * one.usedBytes, "a repeated store is not counted again");
      await inTime(adapter.delete(mine));
      assert.deepEqual(adapter.usage().bytesBySalt, { "tenant-b": one.usedBytes });
      await inTime(adapter.delete(theirs));
      assert.deepEqual(pickUsage(adapter), { usedBytes: 0, objectCount: 0, bytesBySalt: {} });
    },
  },
  {
    name: "lists exactly what it holds",
    applies: (adapter) => adapter.capabilities.lists,
    async run(harness, adapter) {
      assert.ok(adapter.list !== undefined, "capabilities.lists without list()");
      const sizes = [100, 5000, 70_000, 5000];
      const keys = harness.keys(sizes);
      assertAll(await harness.store(adapter, keys, harness.payloads(sizes)), StoreStatus.stored);
      await inTime(adapter.delete(keys.slice(3, 4)));
      const listed = new Map<string, number>();
      for await (const page of adapter.list())
        for (let index = 0; index < page.keys.count; index++) listed.set(recordText(page.keys, index), page.sizes[index]);
      assert.deepEqual(listed, new Map([0, 1, 2].map((index) => [recordText(keys, index), sizes[index]])));
    },
  },
];

/** What is used, without the capacity: that of a shared disk changes under us. */
export function pickUsage(adapter: L2Adapter): object {
  const { usedBytes, objectCount, bytesBySalt } = adapter.usage();
  return { usedBytes, objectCount, bytesBySalt };
}

function recordText(keys: KeyBatch, index: number): string {
  return Buffer.from(keys.slice(index, index + 1).records).toString("hex");
}

export function assertAll(statuses: Uint8Array, expected: number): void {
  assert.deepEqual([...statuses], new Array<number>(statuses.length).fill(expected));
}

export async function assertMissing(harness: Harness, adapter: L2Adapter, keys: KeyBatch, sizes: readonly number[]): Promise<void> {
  assertAll(await inTime(adapter.lookup(keys)), 0);
  const { statuses, batch } = await harness.load(adapter, keys, sizes);
  for (const status of statuses) assert.notEqual(status, LoadStatus.loaded);
  harness.release(batch);
}

/** Looks up and loads everything, byte for byte, and leaves the slots watched until the case ends. */
export async function assertHolds(harness: Harness, adapter: L2Adapter, keys: KeyBatch, payloads: readonly Uint8Array[]): Promise<ObjectBatch> {
  assertAll(await inTime(adapter.lookup(keys)), 1);
  const { statuses, batch } = await harness.load(adapter, keys, payloads.map((payload) => payload.byteLength));
  assertAll(statuses, LoadStatus.loaded);
  payloads.forEach((payload, index) => assertSameBytes(harness.read(batch, index), payload, `object ${index} of ${payload.byteLength} bytes`));
  harness.watch(batch);
  return batch;
}
