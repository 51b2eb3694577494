/**
 * Users of LMCache got a flipped byte served as a hit, and a truncated file was a miss for ever (users-and-failures.md N10). Here every
 * change to a file is found, answered as a miss, counted, and mended by the next store.
 */
import assert from "node:assert/strict";
import { copyFile, readFile, rename, truncate, writeFile } from "node:fs/promises";
import { test } from "node:test";

import { SeededRandom } from "../../../src/base/random.ts";
import { assertHolds } from "../../../src/l2/conformance/cases.ts";
import { LoadStatus, StoreStatus } from "../../../src/l2/contract.ts";
import { inspectPath } from "../../../src/l2/inspect.ts";
import { FsPlace, storeObjects } from "./support.ts";

const objectBytes = 6000;

/** One stored object whose file is rewritten again and again; each version must be a counted miss. */
async function assertFound(versions: (intact: Buffer) => Iterable<[string, Uint8Array]>): Promise<number> {
  const place = await FsPlace.create();
  const adapter = await place.open();
  const { keys, payloads } = await storeObjects(place.harness, adapter, 1, objectBytes);
  const [path] = await place.objectFiles();
  const intact = await readFile(path);
  let mutations = 0;
  for (const [what, bytes] of versions(intact)) {
    await writeFile(path, bytes);
    const before = place.counted("kvferry_l2_damaged_objects_total");
    const { statuses, batch } = await place.harness.load(adapter, keys, [objectBytes]);
    assert.ok(statuses[0] === LoadStatus.corrupt || statuses[0] === LoadStatus.foreign, `${what}: load answered ${statuses[0]}`);
    place.harness.release(batch);
    assert.equal(place.counted("kvferry_l2_damaged_objects_total"), before + 1, what);
    assert.deepEqual(await place.objectFiles(), [], `${what}: the damaged file is still there`);
    assert.equal(adapter.usage().usedBytes, 0);
    // The next store repairs it; writing the intact bytes back instead would hide an index that forgot to forget.
    if (mutations++ % 64 === 0) {
      assert.deepEqual([...(await place.harness.store(adapter, keys, payloads))], [StoreStatus.stored]);
      await assertHolds(place.harness, adapter, keys, payloads);
    } else {
      await place.harness.store(adapter, keys, payloads);
    }
  }
  await place.end();
  return mutations;
}

test("every bit of the header counts", async () => {
  const mutations = await assertFound(function* (intact) {
    // The description and the zeros after it are covered as one; its bits are sampled.
    for (let bit = 0; bit < 4096 * 8; bit += bit < 128 * 8 || bit >= 4092 * 8 - 1 ? 1 : 61) {
      const bytes = Buffer.from(intact);
      bytes[bit >> 3] ^= 1 << (bit & 7);
      yield [`bit ${bit}`, bytes];
    }
  });
  assert.ok(mutations > 1500, `${mutations} mutations`);
});

test("a file cut at any length is found", async () => {
  await assertFound(function* (intact) {
    for (let length = 0; length < intact.length; length += length < 256 || length > intact.length - 64 ? 1 : 37) yield [`${length} bytes`, intact.subarray(0, length)];
  });
});

test("a file that grew is found", async () => {
  await assertFound(function* (intact) {
    for (const extra of [1, 511, 4096, 100_000]) yield [`${extra} bytes more`, Buffer.concat([intact, Buffer.alloc(extra)])];
  });
});

test("flipped bits anywhere in the payload and its padding are found", async () => {
  const random = new SeededRandom(7);
  await assertFound(function* (intact) {
    for (let round = 0; round < 800; round++) {
      const bytes = Buffer.from(intact);
      const flips = 1 + random.nextBelow(3);
      const offsets = new Set(Array.from({ length: flips }, () => 4096 + random.nextBelow(intact.length - 4096)));
      for (const offset of offsets) bytes[offset] ^= 1 + random.nextBelow(255);
      yield [`round ${round} at ${[...offsets].join(" ")}`, bytes];
    }
    yield ["zeros", Buffer.alloc(intact.length)];
    yield ["nothing", Buffer.alloc(0)];
  });
});

test("swapped files are found, and both are stored anew", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  const { keys, payloads, sizes } = await storeObjects(place.harness, adapter, 2, objectBytes);
  const [first, second] = await place.objectFiles();
  await rename(first, `${first}.aside`);
  await rename(second, first);
  await rename(`${first}.aside`, second);
  const inspected = await inspectPath(place.path, place.harness.context.native);
  assert.equal(inspected.intact, false);
  assert.equal(inspected.damaged.length, 2);
  for (const { problem } of inspected.damaged) assert.match(problem, /another key's object/);
  const { statuses, batch } = await place.harness.load(adapter, keys, sizes);
  assert.deepEqual([...statuses], [LoadStatus.foreign, LoadStatus.foreign]);
  place.harness.release(batch);
  assert.equal(place.counted("kvferry_l2_damaged_objects_total", { kind: "foreign_key" }), 2);
  assert.deepEqual([...(await place.harness.store(adapter, keys, payloads))], [StoreStatus.stored, StoreStatus.stored]);
  await assertHolds(place.harness, adapter, keys, payloads);
  await place.end();
});

test("an object of another layout under this key's name is found", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  const { harness } = place;
  const { keys, sizes } = await storeObjects(harness, adapter, 1, objectBytes);
  const [path] = await place.objectFiles();
  const other = harness.otherImage(keys);
  await harness.store(adapter, other, harness.payloads(sizes));
  const otherPath = (await place.objectFiles()).find((candidate) => candidate !== path) as string;
  await copyFile(otherPath, path);
  const { statuses, batch } = await harness.load(adapter, keys, sizes);
  assert.deepEqual([...statuses], [LoadStatus.foreign]);
  harness.release(batch);
  assert.equal(place.counted("kvferry_l2_damaged_objects_total"), 1);
  await place.end();
});

test("damage is found after a restart, whether the scan or the load meets it first", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  const { keys, sizes } = await storeObjects(place.harness, adapter, 2, objectBytes);
  await adapter.close();
  for (const path of await place.objectFiles()) await truncate(path, 5000);
  const second = (await place.harness.open()) as typeof adapter;
  const { statuses, batch } = await place.harness.load(second, keys, sizes);
  for (const status of statuses) assert.equal(status, LoadStatus.corrupt);
  place.harness.release(batch);
  await second.scanned();
  assert.deepEqual(second.usage().usedBytes, 0);
  assert.deepEqual(await place.objectFiles(), []);
  await place.end();
});
