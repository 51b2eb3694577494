import assert from "node:assert/strict";
import { test } from "node:test";

import { chooseVictims, chooseWatermarkVictims, type EvictionRules } from "../../../src/l2/eviction.ts";
import { evictionPolicies } from "../../../src/policies/registry.ts";

/** Ten objects of 100 bytes, ids 1 (oldest) to 10; odd ids belong to salt 1, even ones to salt 2. */
function rulesOf(policyName: string, quotas: Readonly<Record<number, number>> = {}): EvictionRules {
  const saltUsage = (saltId: number) => ({ usedBytes: 500, quotaBytes: quotas[saltId] ?? Infinity });
  const context = { saltId: (id: number) => 2 - (id % 2), sizeBytes: () => 100, saltUsage };
  const policy = evictionPolicies.find(policyName, "x").create(context);
  for (let id = 1; id <= 10; id++) policy.onKeysCreated(Uint32Array.of(id));
  return {
    policy,
    triggerWatermark: 0.8,
    evictionRatio: 0.2,
    sizeBytes: () => 100,
    saltBytes: () => 500,
    saltQuotaBytes: (saltId) => quotas[saltId],
  };
}
const all = (): boolean => true;

test("room for bytes takes the oldest until they suffice", () => {
  assert.deepEqual([...chooseVictims(rulesOf("LRU"), 250, 0, all)], [1, 2, 3]);
});

test("room for objects takes that many, also where bytes are not short", () => {
  assert.deepEqual([...chooseVictims(rulesOf("LRU"), 0, 4, all)], [1, 2, 3, 4]);
  assert.deepEqual([...chooseVictims(rulesOf("LRU"), 100, 3, all)], [1, 2, 3]);
});

test("what must stay is skipped", () => {
  assert.deepEqual([...chooseVictims(rulesOf("LRU"), 200, 0, (id) => id > 4)], [5, 6]);
});

test("noop never makes room", () => {
  assert.equal(chooseVictims(rulesOf("noop"), 100, 1, all).length, 0);
  assert.equal(chooseWatermarkVictims(rulesOf("noop"), 1000, 1000, all).length, 0);
});

test("the salt that is most over its quota gives first, and only until it is level with the next", () => {
  assert.deepEqual([...chooseVictims(rulesOf("IsolatedLRU", { 1: 1000, 2: 100 }), 250, 0, all)], [2, 4, 6]);
  assert.deepEqual([...chooseVictims(rulesOf("IsolatedLRU", { 1: 400, 2: 450 }), 600, 0, all)], [1, 2, 3, 4, 5, 6]);
});

test("a quota of 0 takes all that the salt has; an adapter of unknown capacity has no watermark", () => {
  assert.deepEqual([...chooseWatermarkVictims(rulesOf("IsolatedLRU", { 1: 0, 2: 10_000 }), 100, 0, all)], [1, 3, 5, 7, 9]);
  assert.equal(chooseWatermarkVictims(rulesOf("LRU"), 1e12, 0, all).length, 0);
});

test("the watermark takes a fraction of the keys, and nothing below it", () => {
  assert.equal(chooseWatermarkVictims(rulesOf("LRU"), 799, 1000, all).length, 0);
  assert.deepEqual([...chooseWatermarkVictims(rulesOf("LRU"), 800, 1000, all)], [1, 2]);
});

test("a salt at its quota is relieved although the tier has room", () => {
  assert.deepEqual([...chooseWatermarkVictims(rulesOf("IsolatedLRU", { 1: 600, 2: 10_000 }), 100, 10_000, all)], [1]);
});
