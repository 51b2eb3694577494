/** Each fault does what its name says, is counted, and comes again with the same seed. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { VirtualClock } from "../../../src/base/clock.ts";
import { AdapterError } from "../../../src/base/errors.ts";
import { assertHolds } from "../../../src/l2/conformance/cases.ts";
import { assertSameBytes, Harness } from "../../../src/l2/conformance/harness.ts";
import { type L2Adapter, LoadStatus, StoreStatus } from "../../../src/l2/contract.ts";
import { openL2Adapter, parseAdapterSpec } from "../../../src/l2/registry.ts";
import { type AdapterTestContextOptions, createAdapterTestContext } from "../../../src/testing.ts";
import { storeObjects } from "./support.ts";

const inner = { type: "mock", max_size_gb: 0.03, mock_bandwidth_gb: 100 };

interface Faulty {
  readonly harness: Harness;
  readonly adapter: L2Adapter;
  injected(fault: string): number;
}

async function faulty(fields: object, options: AdapterTestContextOptions = {}): Promise<Faulty> {
  const spec = parseAdapterSpec({ type: "fault_inject", inner, ...fields }, "fault_inject");
  const harness = new Harness(1, { open: (context) => openL2Adapter(spec, context) }, createAdapterTestContext(options));
  return { harness, adapter: await harness.open(), injected: (fault) => harness.context.counters.total("kvferry_fault_injected_total", { fault }) };
}

function tally(statuses: Uint8Array): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const status of statuses) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

test("store faults answer per key what they are called, and nothing of it is stored", async () => {
  for (const [fault, status] of [["fail", StoreStatus.failed], ["refuse", StoreStatus.refused], ["no_room", StoreStatus.skippedNoRoom]] as const) {
    const { harness, adapter, injected } = await faulty({ store: { [fault]: 0.5 }, seed: 4 });
    const { keys, statuses } = await storeObjects(harness, adapter, 200, 1000);
    const counts = tally(statuses);
    assert.ok(counts[status] > 60 && counts[status] < 140, `${fault}: ${counts[status]} of 200`);
    assert.equal(injected(`store_${fault}`), counts[status]);
    const found = await adapter.lookup(keys);
    statuses.forEach((answer, index) => assert.equal(found[index], answer === StoreStatus.stored ? 1 : 0));
    await harness.finish();
  }
});

test("a lying store says stored and the object is not there", async () => {
  const { harness, adapter, injected } = await faulty({ store: { lie: 0.5 } });
  const { keys, statuses } = await storeObjects(harness, adapter, 100, 1000);
  assert.ok(statuses.every((status) => status === StoreStatus.stored));
  const found = await adapter.lookup(keys);
  assert.equal(found.filter((answer) => answer === 0).length, injected("store_lie"));
  assert.ok(injected("store_lie") > 20);
  await harness.finish();
});

test("a lying lookup says yes to nothing and no to something", async () => {
  const { harness, adapter, injected } = await faulty({ lookup: { false_yes: 1, false_no: 1 } });
  const { keys } = await storeObjects(harness, adapter, 3, 1000);
  assert.deepEqual([...(await adapter.lookup(keys))], [0, 0, 0]);
  assert.deepEqual([...(await adapter.lookup(harness.keys([1, 1])))], [1, 1]);
  assert.equal(injected("lookup_false_no") + injected("lookup_false_yes"), 5);
  await harness.finish();
});

test("corrupt flips bytes and the comparison finds it; corrupt_silently only a check above can see", async () => {
  const { harness, adapter, injected } = await faulty({ load: { corrupt: 0.4, corrupt_silently: 0.4 } });
  const { keys, payloads, sizes } = await storeObjects(harness, adapter, 100, 1000);
  const { statuses, batch } = await harness.load(adapter, keys, sizes);
  assert.equal(statuses.filter((status) => status === LoadStatus.corrupt).length, injected("load_corrupt"));
  const wrong = payloads.filter((payload, index) => statuses[index] === LoadStatus.loaded && !Buffer.from(payload).equals(harness.read(batch, index)));
  assert.equal(wrong.length, injected("load_corrupt_silently"));
  assert.ok(injected("load_corrupt") > 20 && wrong.length > 10);
  harness.release(batch);
  await harness.finish();
});

test("a short load is a miss with garbage in the slot", async () => {
  const { harness, adapter } = await faulty({ load: { short: 1 } });
  const { keys, payloads, sizes } = await storeObjects(harness, adapter, 2, 1000);
  const { statuses, batch } = await harness.load(adapter, keys, sizes);
  assert.deepEqual([...statuses], [LoadStatus.failed, LoadStatus.failed]);
  assert.ok(payloads.some((payload, index) => !Buffer.from(payload).equals(harness.read(batch, index))));
  harness.release(batch);
  await harness.finish();
});

test("partial batches fail their last keys", async () => {
  const { harness, adapter } = await faulty({ store: { partial: 1 }, load: { partial: 1 } });
  const { keys, payloads, statuses, sizes } = await storeObjects(harness, adapter, 20, 1000);
  const stored = statuses.indexOf(StoreStatus.failed);
  assert.ok(stored >= 0 && statuses.subarray(0, stored).every((status) => status === StoreStatus.stored) && statuses.subarray(stored).every((status) => status === StoreStatus.failed));
  const { statuses: loads, batch } = await harness.load(adapter, keys, sizes);
  loads.forEach((status, index) => status === LoadStatus.loaded && assertSameBytes(harness.read(batch, index), payloads[index], `object ${index}`));
  assert.ok(loads.includes(LoadStatus.failed));
  harness.release(batch);
  await harness.finish();
});

test("throw throws synchronously, reject rejects", async () => {
  const thrower = await faulty({ store: { throw: 1 }, lookup: { reject: 1 } });
  const batch = thrower.harness.batch(thrower.harness.keys([100]), [new Uint8Array(100)]);
  assert.throws(() => thrower.adapter.store(batch), AdapterError);
  await assert.rejects(thrower.adapter.lookup(batch.keys), /injected: lookup rejects/);
  thrower.harness.release(batch);
  await thrower.harness.finish();
});

test("a call that never completes ends as failed when the adapter is closed, and ignores its signal until then", async () => {
  const { harness, adapter, injected } = await faulty({ store: { never: 1 }, load: { never: 1 } });
  const keys = harness.keys([100, 100]);
  const batch = harness.batch(keys, harness.payloads([100, 100]));
  const controller = new AbortController();
  let settled = 0;
  const calls = [adapter.store(batch, { signal: controller.signal }), adapter.load(batch, { signal: controller.signal })];
  for (const call of calls) void call.then(() => settled++);
  controller.abort();
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(settled, 0);
  await adapter.close();
  assert.deepEqual((await Promise.all(calls)).map((statuses) => [...statuses]), [[StoreStatus.failed, StoreStatus.failed], [LoadStatus.failed, LoadStatus.failed]]);
  assert.equal(injected("store_never") + injected("load_never"), 2);
  harness.release(batch);
  await harness.finish();
});

test("a delay waits on the injected clock", async () => {
  const clock = new VirtualClock();
  const { harness, adapter } = await faulty({ lookup: { delay: 1, delay_ms: 1000 } }, { clock });
  let settled = false;
  const looked = adapter.lookup(harness.keys([1])).then(() => (settled = true));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(settled, false);
  clock.advance(1000);
  await looked;
  await harness.finish();
});

test("delete can fail and the object stays", async () => {
  const { harness, adapter } = await faulty({ delete: { fail: 1 } });
  const { keys, payloads } = await storeObjects(harness, adapter, 2, 1000);
  assert.deepEqual([...(await adapter.delete(keys))], [0, 0]);
  await assertHolds(harness, adapter, keys, payloads);
  await harness.finish();
});

test("LMCache's fields: listed positions, positions from the end, and a rate that hits the same keys every time", async () => {
  const gaps = await faulty({ gap_indices: [2, 99], gap_tail_ratios: [0, 0.5] });
  const { keys, sizes } = await storeObjects(gaps.harness, gaps.adapter, 11, 1000);
  const { statuses, batch } = await gaps.harness.load(gaps.adapter, keys, sizes);
  // round((1 - 0) x 10) = 10 and round(0.5 x 10) = 5.
  assert.deepEqual([...statuses.keys()].filter((index) => statuses[index] === LoadStatus.missing), [2, 5, 10]);
  gaps.harness.release(batch);
  await gaps.harness.finish();

  const rated = await faulty({ rate: 0.3, seed: 9 });
  const many = await storeObjects(rated.harness, rated.adapter, 300, 100);
  const first = await rated.harness.load(rated.adapter, many.keys, many.sizes);
  const second = await rated.harness.load(rated.adapter, many.keys, many.sizes);
  assert.deepEqual([...first.statuses], [...second.statuses]);
  const missing = tally(first.statuses)[LoadStatus.missing];
  assert.ok(missing > 60 && missing < 120, `${missing} of 300`);
  for (const { batch: loaded } of [first, second]) rated.harness.release(loaded);
  await rated.harness.finish();
});

test("the same seed gives the same faults, another one others", async () => {
  const runs = [];
  for (const seed of [5, 5, 6]) {
    const { harness, adapter } = await faulty({ seed, store: { fail: 0.3, refuse: 0.3 } });
    runs.push([...(await storeObjects(harness, adapter, 64, 100)).statuses].join(""));
    await harness.finish();
  }
  assert.equal(runs[0], runs[1]);
  assert.notEqual(runs[0], runs[2]);
});

test("the banner's line says that faults are injected", async () => {
  const { harness, adapter } = await faulty({});
  assert.match(adapter.describe(), /FAULTS ARE INJECTED \(seed 0\) into adapter\.inner: mock/);
  await harness.finish();
});
