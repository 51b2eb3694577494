import assert from "node:assert/strict";
import { test } from "node:test";

import { ArcPolicy } from "../../src/policies/eviction/arc.ts";
import { type ArcState, type EvictionVectors, replay } from "./eviction-replay.ts";
import { withVectors } from "./vectors.ts";

// Exceptions: none.
withVectors<EvictionVectors>("eviction-arc", ({ sequences }) => {
  test("ARC answers every recorded operation as LMCache does, inner state included", () => {
    let operations = 0;
    let snapshots = 0;
    const checkState = (policy: ArcPolicy, state: ArcState, at: string): void => {
      assert.deepEqual(policy.snapshot(), state, at);
      snapshots++;
    };
    for (const sequence of sequences) {
      const outcome = replay(sequence, (context) => new ArcPolicy(context), checkState);
      const { tracked: _tracked, ...finalState } = sequence.final;
      assert.deepEqual(outcome.policy.snapshot(), finalState, `sequence ${sequence.seed}: final state`);
      operations += outcome.operations;
    }
    assert.ok(operations > 90_000, `only ${operations} operations were replayed`);
    assert.ok(snapshots > 3_000, `only ${snapshots} snapshots were compared`);
  });
});
