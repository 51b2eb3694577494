import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import type { EvictionContext } from "../../../src/policies/contract.ts";
import { IsolatedLruPolicy } from "../../../src/policies/eviction/isolated-lru.ts";
import { check, ids } from "./support.ts";

/** Salt = id / 100; quotas by salt; usage as the sum of tracked ids, ten bytes each. */
function tenants(quotas: Record<number, number> = {}): { policy: IsolatedLruPolicy; context: EvictionContext } {
  const context: EvictionContext = {
    saltId: (id) => Math.floor(id / 100),
    sizeBytes: () => 10,
    saltUsage: (saltId) => ({ usedBytes: policy.order(saltId).length * 10, quotaBytes: quotas[saltId] ?? Infinity }),
  };
  const policy = new IsolatedLruPolicy(context);
  return { policy, context };
}

test("with a salt, only that salt pays; an unknown one yields nothing", () => {
  const { policy } = tenants();
  policy.onKeysCreated(ids(101, 102, 201, 202));
  assert.deepEqual([...policy.getEvictionVictims(1, undefined, 1)], [102, 101]);
  assert.deepEqual([...policy.getVictimsForBytes(10, undefined, 2)], [202]);
  assert.deepEqual([...policy.getEvictionVictims(1, undefined, 9)], []);
});

test("without a salt, the largest pays first, down to the second largest", () => {
  const { policy } = tenants();
  policy.onKeysCreated(ids(101));
  policy.onKeysCreated(ids(201, 202, 203, 204));
  policy.onKeysCreated(ids(301, 302));
  assert.deepEqual([...policy.getVictimsForBytes(20)], [204, 203], "a tenant with one key keeps it");
  assert.deepEqual([...policy.getEvictionVictims(1)].length, 7);
});

test("without a salt, who is over quota pays before anybody within it, however small", () => {
  const { policy } = tenants({ 1: 10, 2: 1000 });
  policy.onKeysCreated(ids(101, 102, 103));
  policy.onKeysCreated(ids(...Array.from({ length: 20 }, (_, index) => 200 + index)));
  assert.deepEqual([...policy.getVictimsForBytes(20)], [103, 102], "salt 1 is 20 bytes over its 10");
  assert.deepEqual([...policy.getVictimsForBytes(30)], [103, 102, 219], "then the larger one");
});

test("ineligible keys are skipped, and an owner without accounts per salt still gets victims", () => {
  const policy = new IsolatedLruPolicy({ saltId: (id) => Math.floor(id / 100), sizeBytes: () => 10 });
  policy.onKeysCreated(ids(101, 201, 202));
  assert.deepEqual([...policy.getVictimsForBytes(10, (id) => id !== 202)], [201]);
  assert.deepEqual([...policy.getVictimsForBytes(1000, () => false)], []);
});

test("a salt whose list becomes empty is forgotten, and its id may come back under another salt", () => {
  let salt = 1;
  const policy = new IsolatedLruPolicy({ saltId: () => salt, sizeBytes: () => 1 });
  policy.onKeysReserved(ids(7));
  policy.onKeysTouched(ids(7, 8));
  assert.deepEqual(policy.saltIds(), [1]);
  policy.onKeysRemoved(ids(7, 8));
  assert.deepEqual(policy.saltIds(), []);
  salt = 2;
  policy.onKeysCreated(ids(7));
  assert.deepEqual([policy.order(1), policy.order(2)], [[], [7]]);
});

test("one tenant's traffic never makes a tenant with fewer bytes lose a key while the first has more", () => {
  check(
    fc.property(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 60 }), (small, extra, wanted) => {
      const { policy } = tenants();
      const quiet = Array.from({ length: small }, (_, index) => 100 + index);
      const loud = Array.from({ length: small + extra }, (_, index) => 200 + index);
      policy.onKeysCreated(ids(...quiet));
      policy.onKeysCreated(ids(...loud));
      const victims = [...policy.getVictimsForBytes(wanted * 10)];
      const quietLost = victims.filter((id) => id < 200).length;
      const loudLeft = loud.length - victims.filter((id) => id >= 200).length;
      assert.ok(quietLost === 0 || small - quietLost >= loudLeft - 1, `quiet lost ${quietLost} of ${small}, loud kept ${loudLeft}`);
      assert.equal(victims.length, Math.min(wanted, small + loud.length));
    }),
  );
});
