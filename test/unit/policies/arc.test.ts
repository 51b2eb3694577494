import assert from "node:assert/strict";
import { test } from "node:test";

import { ArcPolicy } from "../../../src/policies/eviction/arc.ts";
import { ids, plainContext } from "./support.ts";

/** Evicts everything and removes it, as a controller does. */
function evictAll(policy: ArcPolicy): number[] {
  const victims = policy.getEvictionVictims(1);
  policy.onKeysRemoved(victims);
  return [...victims];
}

test("keys seen again outlive a scan of keys seen once", () => {
  const policy = new ArcPolicy(plainContext);
  policy.onKeysCreated(ids(1, 2));
  policy.onKeysTouched(ids(1, 2));
  policy.onKeysCreated(ids(10, 11, 12, 13, 14, 15));
  assert.deepEqual([...policy.getEvictionVictims(0.75)].filter((id) => id < 10), []);
});

test("a reservation and the creation that follows are one access; a second creation is another", () => {
  const policy = new ArcPolicy(plainContext);
  policy.onKeysReserved(ids(1));
  policy.onKeysCreated(ids(1));
  assert.deepEqual([policy.snapshot().t1, policy.snapshot().t2], [[1], []]);
  policy.onKeysCreated(ids(1));
  assert.deepEqual([policy.snapshot().t1, policy.snapshot().t2], [[], [1]]);
});

test("only a key that the policy chose becomes a ghost; one that was deleted is forgotten", () => {
  const policy = new ArcPolicy(plainContext);
  policy.onKeysCreated(ids(1, 2));
  assert.deepEqual([...policy.getEvictionVictims(0.5)], [2]);
  policy.onKeysRemoved(ids(1, 2));
  assert.deepEqual(policy.snapshot().b1, [2]);
});

test("a ghost that comes back makes room for its kind", () => {
  const policy = new ArcPolicy(plainContext);
  policy.onKeysCreated(ids(1, 2));
  assert.deepEqual(evictAll(policy), [2, 1]);
  policy.onKeysCreated(ids(1));
  const { t2, b1, p } = policy.snapshot();
  assert.deepEqual([t2, b1, p], [[1], [2], 1]);
});

test("ghosts are bounded by what was once resident, in both lists, and their references are given back", () => {
  const held = new Set<number>();
  const policy = new ArcPolicy({ ...plainContext, retain: (id) => held.add(id), release: (id) => held.delete(id) });
  policy.onKeysCreated(ids(1, 2, 3));
  evictAll(policy);
  for (let id = 10; id < 40; id++) {
    policy.onKeysCreated(ids(id));
    if (id % 3 !== 0) policy.onKeysTouched(ids(id));
    evictAll(policy);
    const { t1, t2, b1, b2, capacity } = policy.snapshot();
    assert.equal(capacity, 3);
    assert.ok(t1.length + b1.length <= capacity && t1.length + t2.length + b1.length + b2.length <= 2 * capacity);
    assert.deepEqual([...held].sort(), [...b1, ...b2].sort());
  }
  assert.equal(held.size, 6, "both lists of ghosts are in use");
});
