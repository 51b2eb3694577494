import assert from "node:assert/strict";
import { test } from "node:test";

import { LruPolicy } from "../../src/policies/eviction/lru.ts";
import { type EvictionVectors, replay } from "./eviction-replay.ts";
import { withVectors } from "./vectors.ts";

// Exceptions: none.
withVectors<EvictionVectors>("eviction-lru", ({ sequences }) => {
  test("LRU answers every recorded operation as LMCache does", () => {
    let operations = 0;
    for (const sequence of sequences) {
      const outcome = replay(sequence, (context) => new LruPolicy(context));
      assert.deepEqual(outcome.policy.order(), sequence.final.order, `sequence ${sequence.seed}: final order`);
      operations += outcome.operations;
    }
    assert.ok(operations > 90_000, `only ${operations} operations were replayed`);
  });
});
