import assert from "node:assert/strict";
import { test } from "node:test";

import { GiB, MiB } from "../../../src/base/bytes.ts";
import { VirtualClock } from "../../../src/base/clock.ts";
import { assertHolds } from "../../../src/l2/conformance/cases.ts";
import { Harness } from "../../../src/l2/conformance/harness.ts";
import { type L2Adapter, StoreStatus } from "../../../src/l2/contract.ts";
import { openL2Adapter, parseAdapterSpec } from "../../../src/l2/registry.ts";
import { type AdapterTestContextOptions, createAdapterTestContext } from "../../../src/testing.ts";
import { storeObjects } from "./support.ts";

const objectBytes = 64 * 1024;

async function openMock(fields: object, options: AdapterTestContextOptions = {}): Promise<{ harness: Harness; adapter: L2Adapter }> {
  const spec = parseAdapterSpec({ type: "mock", max_size_gb: MiB / GiB, mock_bandwidth_gb: 100, ...fields }, "mock");
  const harness = new Harness(1, { open: (context) => openL2Adapter(spec, context) }, createAdapterTestContext(options));
  return { harness, adapter: await harness.open() };
}

test("full without an eviction block, it says so per key (LMCache reports success and the only copy is lost)", async () => {
  const { harness, adapter } = await openMock({});
  const { keys, payloads, statuses } = await storeObjects(harness, adapter, 18, objectBytes);
  assert.deepEqual([...statuses], [...new Array(16).fill(StoreStatus.stored), StoreStatus.skippedNoRoom, StoreStatus.skippedNoRoom]);
  assert.equal(harness.context.counters.total("kvferry_l2_refused_objects_total", { reason: "capacity" }), 2);
  await assertHolds(harness, adapter, keys.slice(0, 16), payloads.slice(0, 16));
  await adapter.delete(keys.slice(0, 2));
  assert.deepEqual([...(await storeObjects(harness, adapter, 2, objectBytes)).statuses], [StoreStatus.stored, StoreStatus.stored]);
  await harness.finish();
});

test("an object larger than the capacity is too large", async () => {
  const { harness, adapter } = await openMock({});
  assert.deepEqual([...(await storeObjects(harness, adapter, 1, MiB + 1)).statuses], [StoreStatus.skippedTooLarge]);
  await harness.finish();
});

for (const policy of ["LRU", "FIFO", "ARC", "IsolatedLRU"])
  test(`with ${policy} it takes eight times its capacity and holds the youngest`, async () => {
    const { harness, adapter } = await openMock({ eviction: { eviction_policy: policy, trigger_watermark: 1 } });
    const rounds = [];
    for (let round = 0; round < 16; round++) {
      rounds.push(await storeObjects(harness, adapter, 8, objectBytes));
      assert.ok(rounds[round].statuses.every((status) => status === StoreStatus.stored));
      assert.ok(adapter.usage().usedBytes <= MiB);
    }
    const last = rounds[15];
    await assertHolds(harness, adapter, last.keys, last.payloads);
    assert.deepEqual([...(await adapter.lookup(rounds[0].keys))], new Array(8).fill(0));
    await harness.finish();
  });

test("a batch larger than the capacity goes through it", async () => {
  const { harness, adapter } = await openMock({ eviction: { trigger_watermark: 1, eviction_ratio: 0 } });
  const { statuses } = await storeObjects(harness, adapter, 50, objectBytes);
  assert.ok(statuses.every((status) => status === StoreStatus.stored), statuses.join(" "));
  assert.equal(adapter.usage().objectCount, 16);
  await harness.finish();
});

test("concurrent batches that together exceed the capacity are all stored", async () => {
  const { harness, adapter } = await openMock({ eviction: { trigger_watermark: 1 } });
  const stores = await Promise.all(Array.from({ length: 12 }, () => storeObjects(harness, adapter, 10, objectBytes)));
  for (const { statuses } of stores) assert.ok(statuses.every((status) => status === StoreStatus.stored), statuses.join(" "));
  await harness.finish();
});

test("objects of several sizes replace one another", async () => {
  const { harness, adapter } = await openMock({ eviction: { trigger_watermark: 1 } });
  for (const bytes of [objectBytes, 5000, 300_000, 4096, 500_000, objectBytes]) {
    const { keys, payloads, statuses } = await storeObjects(harness, adapter, 2, bytes);
    assert.ok(statuses.every((status) => status === StoreStatus.stored), `${bytes} bytes: ${statuses.join(" ")}`);
    await assertHolds(harness, adapter, keys, payloads);
  }
  await harness.finish();
});

test("the watermark evicts a fraction of the keys after a store", async () => {
  const { harness, adapter } = await openMock({ eviction: { trigger_watermark: 0.5, eviction_ratio: 0.25 } });
  await storeObjects(harness, adapter, 8, objectBytes);
  assert.equal(adapter.usage().objectCount, 6);
  await harness.finish();
});

test("stores and loads share the bandwidth on the injected clock", async () => {
  const clock = new VirtualClock();
  const { harness, adapter } = await openMock({ mock_bandwidth_gb: MiB / GiB }, { clock });
  clock.advance(1000);
  let settled = false;
  const stored = storeObjects(harness, adapter, 8, objectBytes).then((result) => {
    settled = true;
    return result;
  });
  // Half a MiB at 1 MiB/s.
  for (let spins = 0; clock.nextDueMs() === undefined; spins++) {
    assert.ok(spins < 2000, "no transfer waits for its bandwidth");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  clock.advance(480);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(settled, false);
  assert.deepEqual([...(await adapter.lookup(harness.keys([1])))], [0], "lookups do not wait");
  clock.advance(20);
  const { keys, sizes } = await stored;
  assert.deepEqual([...(await adapter.lookup(keys))], new Array(8).fill(1));
  const loading = harness.load(adapter, keys, sizes);
  while (clock.nextDueMs() === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  clock.advance(500);
  harness.release((await loading).batch);
  await harness.finish();
});

test("close ends transfers that wait for bandwidth", async () => {
  const clock = new VirtualClock();
  const { harness, adapter } = await openMock({ mock_bandwidth_gb: 1e-6 }, { clock });
  const stored = storeObjects(harness, adapter, 4, objectBytes);
  while (clock.nextDueMs() === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  await adapter.close();
  await stored;
  await harness.finish();
});
