/** The fs adapter promises at most 100 bytes of memory per object it knows: index, eviction order and all. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { SeededRandom } from "../../../src/base/random.ts";
import { EntryState, ObjectIndex } from "../../../src/l2/object-index.ts";
import { createAdapterTestContext } from "../../../src/testing.ts";

const identityBytes = 20;
const batchObjects = 1000;
const bytesPerObject = 100;

/** `count` random identities entered as a scan does. */
function enterObjects(index: ObjectIndex, random: SeededRandom, namespaceId: number, count: number): void {
  const identities = new Uint8Array(batchObjects * identityBytes);
  const words = new Uint32Array(identities.buffer);
  for (let entered = 0; entered < count; entered += batchObjects) {
    for (let word = 0; word < words.length; word++) words[word] = word % 5 === 4 ? 0xabcdef01 : random.nextUint32();
    const ids = index.intern(identities);
    for (const id of ids) index.enter(id, EntryState.present, namespaceId, 2 * 1024 * 1024 + 4096);
    index.policy.onKeysCreated(ids);
  }
}

for (const policyName of ["LRU", "FIFO"])
  test(`a million objects under ${policyName} take at most ${bytesPerObject} bytes each, and 1.1 million no more`, (t) => {
    const { context, close } = createAdapterTestContext();
    t.after(close);
    const namespaceId = context.namespaces.register({ modelName: "m", cacheSalt: "", fingerprint: "ab" });
    const index = new ObjectIndex(new context.native.binding.InternTable(16, 4), context, policyName);
    const random = new SeededRandom(1);
    const before = process.memoryUsage.rss();
    enterObjects(index, random, namespaceId, 1_000_000);
    const resident = (process.memoryUsage.rss() - before) / 1_000_000;
    assert.equal(index.countIn(EntryState.present), 1_000_000);
    t.diagnostic(`${resident.toFixed(1)} resident bytes per object, ${(index.memoryBytes() / 1e6).toFixed(1)} of them the index`);
    assert.ok(resident <= bytesPerObject, `${resident.toFixed(1)} resident bytes per object`);
    assert.ok(index.memoryBytes() / 1_000_000 <= 64, `${(index.memoryBytes() / 1e6).toFixed(1)} bytes of index per object`);
    enterObjects(index, random, namespaceId, 100_000);
    const grown = (process.memoryUsage.rss() - before) / 1_100_000;
    assert.ok(grown <= bytesPerObject, `${grown.toFixed(1)} resident bytes per object after growing`);
    // Removal gives the ids back: the next million does not need more.
    const used = index.memoryBytes();
    for (let first = 0; first < 1_000_000; first += 10_000) {
      const victims = index.policy.getVictimsForBytes(10_000 * (2 * 1024 * 1024 + 4096));
      index.policy.onKeysRemoved(victims);
      for (const id of victims) {
        index.advance(id, EntryState.present, EntryState.removing);
        index.leave(id);
      }
      enterObjects(index, random, namespaceId, 10_000);
    }
    assert.ok(index.memoryBytes() <= used * 1.02, `${index.memoryBytes()} bytes after a million replacements, ${used} before`);
  });
