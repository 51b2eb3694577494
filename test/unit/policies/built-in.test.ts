import assert from "node:assert/strict";
import { test } from "node:test";

import { DefaultPrefetchPolicy } from "../../../src/policies/prefetch/default.ts";
import { RetainPrefetchPolicy } from "../../../src/policies/prefetch/retain.ts";
import { DefaultStorePolicy } from "../../../src/policies/store/default.ts";
import { SkipL1StorePolicy } from "../../../src/policies/store/skip-l1.ts";
import { keysOf } from "./support.ts";

const adapters = [3, 1].map((index) => ({ index, name: `mock#${index}`, type: "mock" }));
const all = adapters.map(({ index }) => ({ adapterIndex: index, keyIndices: "all" }));

test("default and skip_l1 both owe every key to every adapter, in the adapters' order", () => {
  for (const policy of [new DefaultStorePolicy(), new SkipL1StorePolicy()]) {
    assert.deepEqual(policy.selectStoreTargets(keysOf([1, 2]), adapters), all);
    assert.deepEqual(policy.selectStoreTargets(keysOf([1, 2]), []), []);
  }
});

test("default keeps the L1 copy, skip_l1 drops it however its stores ended", () => {
  assert.equal(new DefaultStorePolicy().decideL1(), "keep");
  assert.equal(new SkipL1StorePolicy().decideL1(), "drop");
});

test("a loaded copy is temporary under default and stays under retain; both plan alike", () => {
  const [temporary, retained] = [new DefaultPrefetchPolicy(), new RetainPrefetchPolicy()];
  assert.deepEqual([...temporary.planL1Retention(keysOf([1, 2, 3]))], [0, 0, 0]);
  assert.deepEqual([...retained.planL1Retention(keysOf([1, 2, 3]))], [1, 1, 1]);
  const plan = (policy: DefaultPrefetchPolicy) => policy.planLoad([{ windowChunks: -1 }], 3, [Uint8Array.of(1, 0, 0)], new Map([[3, [Uint8Array.of(1, 1, 0)]]]), "prefix");
  assert.deepEqual(plan(temporary), plan(retained));
  assert.deepEqual(plan(retained), { fromL1: [Uint8Array.of(1, 0, 0)], fromL2: new Map([[3, [Uint8Array.of(0, 1, 0)]]]), hitChunks: 2 });
});
