import assert from "node:assert/strict";
import { test } from "node:test";

import { FifoPolicy } from "../../../src/policies/eviction/fifo.ts";
import { IdLinks, IdList, largestLinkableId } from "../../../src/policies/eviction/id-lists.ts";
import { LruPolicy } from "../../../src/policies/eviction/lru.ts";
import { NoopPolicy } from "../../../src/policies/eviction/noop.ts";
import { ids, plainContext } from "./support.ts";

test("the first key of a batch is the youngest, so that the tail of a prompt leaves before its head", () => {
  const policy = new LruPolicy(plainContext);
  policy.onKeysCreated(ids(1, 2, 3));
  assert.deepEqual([...policy.getEvictionVictims(1)], [3, 2, 1]);
});

test("FIFO keeps the order of arrival through touches and repeated stores", () => {
  const policy = new FifoPolicy(plainContext);
  policy.onKeysCreated(ids(1, 2, 3));
  policy.onKeysTouched();
  policy.onKeysReserved(ids(1));
  assert.deepEqual([...policy.getEvictionVictims(1)], [1, 2, 3]);
});

test("noop tracks nothing and says that it cannot relieve a tier", () => {
  const policy = new NoopPolicy();
  policy.onKeysCreated();
  assert.equal(policy.evicts, false);
  assert.equal(policy.trackedCount, 0);
  assert.equal(policy.getEvictionVictims().length + policy.getVictimsForBytes().length, 0);
});

test("victims for bytes are the shortest run of oldest eligible ids that covers them", () => {
  const policy = new LruPolicy({ saltId: () => 0, sizeBytes: (id) => id * 10 });
  policy.onKeysCreated(ids(4, 3, 2, 1));
  assert.deepEqual([...policy.getVictimsForBytes(0)], []);
  assert.deepEqual([...policy.getVictimsForBytes(30)], [1, 2]);
  assert.deepEqual([...policy.getVictimsForBytes(31)], [1, 2, 3]);
  assert.deepEqual([...policy.getVictimsForBytes(30, (id) => id !== 2)], [1, 3]);
  assert.deepEqual([...policy.getVictimsForBytes(1e9)], [1, 2, 3, 4]);
});

test("a million tracked ids take at most 9 bytes each, and growing never copies", () => {
  const policy = new LruPolicy(plainContext);
  const count = 1 << 20;
  let largestStep = 0;
  for (let first = 1; first <= count; first += 4096) {
    const before = policy.memoryBytes;
    policy.onKeysCreated(Uint32Array.from({ length: 4096 }, (_, index) => first + index));
    largestStep = Math.max(largestStep, policy.memoryBytes - before);
  }
  assert.equal(policy.trackedCount, count);
  assert.ok(policy.memoryBytes / count <= 9, `${policy.memoryBytes / count} bytes per id`);
  assert.ok(largestStep <= 512 * 1024, `one step added ${largestStep} bytes`);
});

test("an id that cannot be linked is refused before anything is changed", () => {
  const list = new IdList(new IdLinks());
  assert.throws(() => list.moveToYoung(largestLinkableId + 1), RangeError);
  assert.deepEqual([list.count, list.oldest()], [0, -1]);
  list.moveToYoung(7);
  assert.deepEqual(list.toArray(), [7]);
});
