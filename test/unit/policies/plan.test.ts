import assert from "node:assert/strict";
import { test } from "node:test";

import { IsolatedLruPolicy } from "../../../src/policies/eviction/isolated-lru.ts";
import { LruPolicy } from "../../../src/policies/eviction/lru.ts";
import { defaultEvictionTrigger, planL1Eviction } from "../../../src/policies/eviction/plan.ts";
import { NoopPolicy } from "../../../src/policies/eviction/noop.ts";
import { ids, plainContext } from "./support.ts";

function lruOf(count: number): LruPolicy {
  const policy = new LruPolicy(plainContext);
  for (let id = 1; id <= count; id++) policy.onKeysCreated(ids(id));
  return policy;
}

test("the defaults are LMCache's: watermark 0.8, ratio 0.2", () => {
  assert.deepEqual(defaultEvictionTrigger, { triggerWatermark: 0.8, evictionRatio: 0.2 });
});

test("nothing leaves below the watermark; at it, the ratio of tracked keys leaves", () => {
  const policy = lruOf(10);
  assert.deepEqual([...planL1Eviction(policy, { usedBytes: 79, capacityBytes: 100 }, defaultEvictionTrigger)], []);
  assert.deepEqual([...planL1Eviction(policy, { usedBytes: 80, capacityBytes: 100 }, defaultEvictionTrigger)], [1, 2]);
});

test("locked keys are passed over", () => {
  const victims = planL1Eviction(lruOf(10), { usedBytes: 100, capacityBytes: 100 }, defaultEvictionTrigger, (id) => id > 3);
  assert.deepEqual([...victims], [4, 5]);
});

test("noop never evicts, however full", () => {
  assert.equal(planL1Eviction(new NoopPolicy(), { usedBytes: 1, capacityBytes: 1 }, defaultEvictionTrigger).length, 0);
});

/** Two tenants with ten keys of 10 bytes each; salt 1 is over its quota. */
function twoTenants(): { policy: IsolatedLruPolicy; salts: { saltId: number; usedBytes: number; quotaBytes: number }[] } {
  const salts = [
    { saltId: 1, usedBytes: 100, quotaBytes: 50 },
    { saltId: 2, usedBytes: 100, quotaBytes: Infinity },
  ];
  const policy = new IsolatedLruPolicy({ saltId: (id) => Math.floor(id / 100), sizeBytes: () => 10, saltUsage: (saltId) => salts[saltId - 1] });
  for (let id = 0; id < 10; id++) policy.onKeysCreated(ids(100 + id, 200 + id));
  return { policy, salts };
}

test("IsolatedLRU works on L1: a salt over its quota pays although the tier is not full", () => {
  const { policy, salts } = twoTenants();
  const tier = { usedBytes: 200, capacityBytes: 1000, salts, sizeBytes: () => 10 };
  assert.deepEqual([...planL1Eviction(policy, tier, defaultEvictionTrigger)], [100, 101]);
});

test("quotas pay first; what they free counts before the tier's own watermark is asked", () => {
  const { policy, salts } = twoTenants();
  const tier = { usedBytes: 200, capacityBytes: 240, salts, sizeBytes: () => 10 };
  assert.deepEqual([...planL1Eviction(policy, tier, defaultEvictionTrigger)], [100, 101], "180 of 240 is below 0.8");
});

test("salts within quota still give way when the tier is too full, and no victim is named twice", () => {
  const { policy, salts } = twoTenants();
  const tier = { usedBytes: 200, capacityBytes: 200, salts, sizeBytes: () => 10 };
  const victims = [...planL1Eviction(policy, tier, defaultEvictionTrigger)];
  assert.deepEqual(victims.slice(0, 2), [100, 101]);
  assert.equal(victims.length, 6, "two by quota, then a fifth of 20 tracked keys");
  assert.equal(new Set(victims).size, victims.length);
});

test("an unlimited quota is never reached, also at watermark 0", () => {
  const { policy } = twoTenants();
  const salts = [{ saltId: 1, usedBytes: 100, quotaBytes: Infinity }];
  const tier = { usedBytes: 100, capacityBytes: 1000, salts, sizeBytes: () => 10 };
  assert.deepEqual([...planL1Eviction(policy, tier, { triggerWatermark: 0, evictionRatio: 0.1 })].length, 2, "a tenth of 20, once");
});

test("a quota of 0 takes everything; an unlimited one nothing", () => {
  const { policy } = twoTenants();
  const salts = [
    { saltId: 1, usedBytes: 100, quotaBytes: 0 },
    { saltId: 2, usedBytes: 100, quotaBytes: Infinity },
  ];
  const victims = [...planL1Eviction(policy, { usedBytes: 200, capacityBytes: 1000, salts }, defaultEvictionTrigger)];
  assert.deepEqual(victims, [100, 101, 102, 103, 104, 105, 106, 107, 108, 109]);
});
