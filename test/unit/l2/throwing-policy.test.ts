/** An eviction policy that throws (LMCache's eviction thread dies of it) is counted and reported; stores stay what they are. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertHolds } from "../../../src/l2/conformance/cases.ts";
import { Harness } from "../../../src/l2/conformance/harness.ts";
import { type AdapterEvictionPolicy, StoreStatus } from "../../../src/l2/contract.ts";
import { openL2Adapter, parseAdapterSpec } from "../../../src/l2/registry.ts";
import { createAdapterTestContext } from "../../../src/testing.ts";
import { storeObjects } from "./support.ts";

function fail(): never {
  throw new Error("policy is broken");
}

const broken: AdapterEvictionPolicy = {
  name: "broken",
  isolatesSalts: false,
  evicts: true,
  trackedCount: 1,
  onKeysCreated: fail,
  onKeysTouched: fail,
  onKeysRemoved: fail,
  getEvictionVictims: fail,
  getVictimsForBytes: fail,
  saltIds: fail,
};

test("stores answer what they did, a full adapter refuses, deletion works", async () => {
  const spec = parseAdapterSpec({ type: "mock", max_size_gb: 2 ** -10, mock_bandwidth_gb: 100, eviction: {} }, "mock");
  const harness = new Harness(1, { open: (context) => openL2Adapter(spec, context) }, createAdapterTestContext({ createEvictionPolicy: () => broken }));
  const adapter = await harness.open();
  const { keys, payloads, statuses } = await storeObjects(harness, adapter, 18, 65_536);
  assert.deepEqual([...statuses], [...new Array(16).fill(StoreStatus.stored), StoreStatus.skippedNoRoom, StoreStatus.skippedNoRoom]);
  await assertHolds(harness, adapter, keys.slice(0, 16), payloads.slice(0, 16));
  assert.deepEqual([...(await adapter.delete(keys.slice(0, 2)))], [1, 1]);
  assert.deepEqual([...(await storeObjects(harness, adapter, 2, 65_536)).statuses], [StoreStatus.stored, StoreStatus.stored]);
  assert.ok(harness.context.counters.total("kvferry_l2_policy_errors_total", { policy: "broken" }) > 3);
  await harness.finish();
});
