/** Cases about time: concurrency, aborting, closing, coming back. */
import assert from "node:assert/strict";

import { errorText, KvferryError } from "../../base/errors.ts";
import { type L2Adapter, LoadStatus, StoreStatus } from "../contract.ts";
import { assertAll, assertHolds, assertMissing, type ConformanceCase, pickUsage } from "./cases.ts";
import { assertSameBytes, type Harness, inTime } from "./harness.ts";

export const lifeCases: readonly ConformanceCase[] = [
  {
    name: "runs batches concurrently without mixing them",
    async run(harness, adapter) {
      const sizes = [900, 4096, 33_000];
      const rounds = Array.from({ length: 12 }, () => ({ keys: harness.keys(sizes), payloads: harness.payloads(sizes) }));
      for (const statuses of await Promise.all(rounds.map(({ keys, payloads }) => harness.store(adapter, keys, payloads))))
        assertAll(statuses, StoreStatus.stored);
      await Promise.all(rounds.map(({ keys, payloads }) => assertHolds(harness, adapter, keys, payloads)));
    },
  },
  {
    name: "serves whole objects or misses while they are being deleted and stored again",
    async run(harness, adapter) {
      const sizes = new Array<number>(8).fill(50_000);
      const keys = harness.keys(sizes);
      const payloads = harness.payloads(sizes);
      assertAll(await harness.store(adapter, keys, payloads), StoreStatus.stored);
      for (let round = 0; round < 6; round++) {
        const [loaded] = await Promise.all([harness.load(adapter, keys, sizes), inTime(adapter.delete(keys)), harness.load(adapter, keys, sizes).then(({ batch }) => harness.release(batch))]);
        loaded.statuses.forEach((status, index) => {
          if (status === LoadStatus.loaded) assertSameBytes(harness.read(loaded.batch, index), payloads[index], `object ${index}`);
        });
        harness.release(loaded.batch);
        await harness.store(adapter, keys, payloads);
      }
      await assertHolds(harness, adapter, keys, payloads);
    },
  },
  {
    name: "answers a store and a load whose signal has fired, and stores nothing",
    async run(harness, adapter) {
      const sizes = [3000, 3000];
      const keys = harness.keys(sizes);
      const signal = AbortSignal.abort(new Error("deadline"));
      const statuses = await answersOrFailed(harness.store(adapter, keys, harness.payloads(sizes), signal), sizes.length, StoreStatus.failed);
      for (const status of statuses) assert.notEqual(status, StoreStatus.stored);
      await assertMissing(harness, adapter, keys, sizes);
      assertAll(await harness.store(adapter, keys, harness.payloads(sizes)), StoreStatus.stored);
      const batch = harness.emptyBatch(keys, sizes);
      const loads = await answersOrFailed(harness.call(batch, (given) => adapter.load(given, { signal })), sizes.length, LoadStatus.failed);
      for (const status of loads) assert.notEqual(status, LoadStatus.missing, "an aborted load does not know that the object is missing");
      harness.release(batch);
    },
  },
  {
    name: "tells the truth about stores that a signal cut short",
    async run(harness, adapter) {
      for (let round = 0; round < 5; round++) {
        const sizes = new Array<number>(16).fill(100_000);
        const keys = harness.keys(sizes);
        const payloads = harness.payloads(sizes);
        const controller = new AbortController();
        const stored = answersOrFailed(harness.store(adapter, keys, payloads, controller.signal), sizes.length, StoreStatus.failed);
        setTimeout(() => controller.abort(), harness.random.nextBelow(4));
        const statuses = await stored;
        const kept = [...statuses.keys()].filter((index) => statuses[index] === StoreStatus.stored);
        await assertHolds(harness, adapter, keys.pick(kept), kept.map((index) => payloads[index]));
        harness.checkWatched();
        await inTime(adapter.delete(keys));
      }
    },
  },
  {
    name: "touches no slot after a call has settled",
    async run(harness, adapter) {
      const sizes = new Array<number>(24).fill(30_000);
      const keys = harness.keys(sizes);
      const payloads = harness.payloads(sizes);
      const stored = harness.batch(keys, payloads);
      assertAll(await harness.call(stored, (batch) => adapter.store(batch)), StoreStatus.stored);
      // New bytes in the slots of a settled store must not reach the object.
      harness.watch(stored);
      await assertHolds(harness, adapter, keys, payloads);
      const controller = new AbortController();
      const cut = harness.emptyBatch(keys, sizes);
      const loading = answersOrFailed(harness.call(cut, (batch) => adapter.load(batch, { signal: controller.signal })), sizes.length, LoadStatus.failed);
      controller.abort();
      await loading;
      harness.watch(cut);
      await new Promise((resolve) => setTimeout(resolve, 30));
      harness.checkWatched();
    },
  },
  {
    name: "closes once its running calls have settled, and then refuses with KVFERRY_CLOSED",
    async run(harness, adapter) {
      const sizes = new Array<number>(16).fill(60_000);
      const keys = harness.keys(sizes);
      const batch = harness.batch(keys, harness.payloads(sizes));
      let settled = false;
      const stored = answersOrFailed(harness.call(batch, (given) => adapter.store(given)), sizes.length, StoreStatus.failed).then(() => (settled = true));
      await inTime(adapter.close());
      // The call's own promise settles some microtasks later at most.
      await new Promise((resolve) => setImmediate(resolve));
      assert.ok(settled, "close() resolved while a store was running");
      await stored;
      await inTime(adapter.close());
      for (const [what, call] of callsOn(harness, adapter)) await assert.rejects(inTime(call()), isClosed, `${what} after close()`);
    },
  },
  {
    name: "has every object again after it was opened anew",
    applies: (adapter) => adapter.capabilities.persistent,
    async run(harness, adapter) {
      const sizes = [1, 4096, 100_001, 4096];
      const keys = harness.keys(sizes, "tenant");
      const payloads = harness.payloads(sizes);
      assertAll(await harness.store(adapter, keys, payloads), StoreStatus.stored);
      await inTime(adapter.delete(keys.slice(3, 4)));
      const before = pickUsage(adapter);
      await inTime(adapter.close());
      const second = await harness.open();
      await assertHolds(harness, second, keys.slice(0, 3), payloads.slice(0, 3));
      await assertMissing(harness, second, keys.slice(3, 4), sizes.slice(3));
      if (adapter.capabilities.accountsBytes) await eventually(() => assert.deepEqual(pickUsage(second), before));
      assertAll(await harness.store(second, keys.slice(0, 1), payloads.slice(0, 1)), StoreStatus.alreadyPresent);
    },
  },
  {
    name: "describes itself in one line and says what is wrong only when something is",
    run(_harness, adapter) {
      assert.match(adapter.describe(), /^[^\n]+$/);
      assert.ok(adapter.describe().includes(adapter.name));
      assert.equal(adapter.health().ready, true);
      return Promise.resolve();
    },
  },
];

function callsOn(harness: Harness, adapter: L2Adapter): [string, () => Promise<Uint8Array>][] {
  const none = harness.batch(harness.keys([]), []);
  return [
    ["store", () => adapter.store(none)],
    ["load", () => adapter.load(none)],
    ["lookup", () => adapter.lookup(none.keys)],
    ["delete", () => adapter.delete(none.keys)],
  ];
}

function isClosed(error: unknown): boolean {
  assert.ok(error instanceof KvferryError && error.code === "KVFERRY_CLOSED", `expected KVFERRY_CLOSED, got ${errorText(error)}`);
  return true;
}

/** A rejected call is a call whose every key failed: the contract leaves the choice to the adapter. */
async function answersOrFailed(call: Promise<Uint8Array>, count: number, failed: number): Promise<Uint8Array> {
  try {
    return await call;
  } catch (error) {
    assert.ok(error instanceof KvferryError, `rejected with something that is no KvferryError: ${errorText(error)}`);
    return new Uint8Array(count).fill(failed);
  }
}

/** What a background scan makes true. */
async function eventually(check: () => void): Promise<void> {
  const endMs = performance.now() + 10_000;
  for (;;) {
    try {
      check();
      return;
    } catch (error) {
      if (performance.now() > endMs) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
