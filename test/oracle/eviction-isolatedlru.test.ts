import assert from "node:assert/strict";
import { test } from "node:test";

import { IsolatedLruPolicy } from "../../src/policies/eviction/isolated-lru.ts";
import { type EvictionVectors, replay } from "./eviction-replay.ts";
import { withVectors } from "./vectors.ts";

// Exceptions: none. (Every recorded evict call names a salt; what happens without one is ours, see test/unit/policies/isolated-lru.test.ts.)
withVectors<EvictionVectors>("eviction-isolatedlru", ({ sequences }) => {
  test("IsolatedLRU answers every recorded operation as LMCache does", () => {
    let operations = 0;
    for (const sequence of sequences) {
      const outcome = replay(sequence, (context) => new IsolatedLruPolicy(context));
      const expected = sequence.final.order as Record<string, number[]>;
      for (const [salt, order] of Object.entries(expected))
        assert.deepEqual(outcome.policy.order(outcome.salts.id(salt)), order, `sequence ${sequence.seed}: final order of salt "${salt}"`);
      assert.equal(outcome.policy.saltIds().length, Object.keys(expected).length, `sequence ${sequence.seed}: salts left`);
      operations += outcome.operations;
    }
    assert.ok(operations > 90_000, `only ${operations} operations were replayed`);
  });
});
