/**
 * ARC remembers objects that it evicted by their ids. An adapter that gave such an id to the next key made a key that nobody had ever
 * asked for look like one that came back: it went among the keys seen twice and moved the target.
 */
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { test } from "node:test";

import { assertHolds } from "../../../src/l2/conformance/cases.ts";
import { LoadStatus, StoreStatus } from "../../../src/l2/contract.ts";
import type { FsAdapter } from "../../../src/l2/fs/fs-adapter.ts";
import type { EvictionContext } from "../../../src/policies/contract.ts";
import { ArcPolicy } from "../../../src/policies/eviction/arc.ts";
import { HeldFiles } from "./held-files.ts";
import { FsPlace, storeObjects } from "./support.ts";

const capacity = 4;
const objectBytes = 5000;

/** An fs adapter for `capacity` objects under an ARC that the test can look into. */
async function arcPlace(held = new HeldFiles()): Promise<{ place: FsPlace; arc: () => ReturnType<ArcPolicy["snapshot"]> }> {
  let policy: ArcPolicy | undefined;
  const createEvictionPolicy = (_: string, context: EvictionContext): ArcPolicy => (policy = new ArcPolicy(context));
  const { context, close } = held.context();
  const place = await FsPlace.within({ context: { ...context, createEvictionPolicy }, close }, { max_objects: capacity });
  return {
    place,
    arc: () => {
      assert.ok(policy !== undefined);
      return policy.snapshot();
    },
  };
}

/** Two keys seen twice: beside them T1 is smaller than the capacity, so that ghosts of it have room. */
async function storeSeenTwice(place: FsPlace, adapter: FsAdapter): ReturnType<typeof storeObjects> {
  const stored = await storeObjects(place.harness, adapter, 2, objectBytes);
  place.harness.release((await place.harness.load(adapter, stored.keys, stored.sizes)).batch);
  return stored;
}

test("a key that was never there does not inherit what ARC remembers of another", async () => {
  const { place, arc } = await arcPlace();
  const adapter = await place.open();
  await storeSeenTwice(place, adapter);
  let most = 0;
  for (let round = 0; round < 5 * capacity; round++) {
    await storeObjects(place.harness, adapter, 1, objectBytes);
    const { t2, b1, b2, p } = arc();
    assert.deepEqual([t2.length, b2.length, p], [2, 0, 0], `round ${round}: nothing has come back`);
    most = Math.max(most, b1.length);
  }
  assert.equal(most, 2, "there were ghosts to inherit from");
  await place.end();
});

test("a key that comes back after its eviction is known by ARC", async () => {
  const { place, arc } = await arcPlace();
  const adapter = await place.open();
  await storeSeenTwice(place, adapter);
  const once = await storeObjects(place.harness, adapter, 2, objectBytes);
  assert.deepEqual([arc().t1.length, arc().t2.length], [2, 2]);
  await storeObjects(place.harness, adapter, 1, objectBytes);
  assert.equal(arc().b1.length, 1);
  const ghost = (await adapter.lookup(once.keys)).indexOf(0);
  assert.deepEqual([...(await place.harness.store(adapter, once.keys.slice(ghost, ghost + 1), [once.payloads[ghost]]))], [StoreStatus.stored]);
  assert.deepEqual([arc().p, arc().t2.length], [1, 3], "the target follows the ghost");
  await place.end();
});

test("a load that began before an eviction takes nothing away from the object stored anew under the same id", async () => {
  const held = new HeldFiles();
  const { place } = await arcPlace(held);
  const adapter = await place.open();
  const seenTwice = await storeSeenTwice(place, adapter);
  const { keys, payloads, sizes } = await storeObjects(place.harness, adapter, 1, objectBytes);
  const paths = await place.objectFiles();
  await adapter.delete(seenTwice.keys);
  const [path] = (await place.objectFiles()).filter((candidate) => paths.includes(candidate));
  await place.damage(path, (bytes) => bytes.fill(7));
  const answer = held.holdAnswer("load");
  const late = place.harness.load(adapter, keys, sizes);
  await answer.arrival();
  // Evicted, and stored again: ARC keeps its id alive in between.
  for (let round = 0; (await adapter.lookup(keys))[0] === 1; round++) {
    assert.ok(round < 20);
    await storeObjects(place.harness, adapter, 1, objectBytes);
  }
  await rm(path, { force: true });
  assert.deepEqual([...(await place.harness.store(adapter, keys, payloads))], [StoreStatus.stored]);
  answer.open();
  const { statuses, batch } = await late;
  assert.deepEqual([...statuses], [LoadStatus.corrupt]);
  place.harness.release(batch);
  await assertHolds(place.harness, adapter, keys, payloads);
  await place.end();
});
