/** Limits hold before a byte is written, room is made on demand, and every refusal is counted with its reason. */
import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { GiB } from "../../../src/base/bytes.ts";
import { assertHolds } from "../../../src/l2/conformance/cases.ts";
import { StoreStatus } from "../../../src/l2/contract.ts";
import { FsPlace, storeObjects } from "./support.ts";

/** A file of a 4,096-byte object: header page and payload page. */
const fileBytes = 8192;
const limitOf = (objects: number): object => ({ max_size_gb: (objects * fileBytes) / GiB });

/** What object and temporary files take now. */
function bytesOnDisk(path: string): number {
  let bytes = 0;
  for (const folder of ["objects", "tmp"])
    for (const entry of readdirSync(join(path, folder), { recursive: true, withFileTypes: true })) {
      const found = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false });
      if (found?.isFile() === true) bytes += found.size;
    }
  return bytes;
}

test("a full directory evicts its oldest objects and keeps the limit", async () => {
  const place = await FsPlace.create(limitOf(10));
  const adapter = await place.open();
  const rounds = [];
  for (let round = 0; round < 6; round++) {
    rounds.push(await storeObjects(place.harness, adapter, 4, 4096));
    assert.ok(rounds[round].statuses.every((status) => status === StoreStatus.stored));
    assert.ok(bytesOnDisk(place.path) <= 10 * fileBytes);
    assert.equal(adapter.usage().usedBytes, bytesOnDisk(place.path));
  }
  const found = await Promise.all(rounds.map(({ keys }) => adapter.lookup(keys)));
  assert.deepEqual(found.slice(0, 3).map((row) => [...row].reduce((a, b) => a + b)), [0, 0, 0]);
  for (const { keys, payloads } of rounds.slice(4)) await assertHolds(place.harness, adapter, keys, payloads);
  assert.equal(place.counted("kvferry_l2_removed_objects_total", { reason: "room" }), 14);
  await place.end();
});

test("a load keeps an object young", async () => {
  const place = await FsPlace.create(limitOf(4));
  const adapter = await place.open();
  const { keys, payloads } = await storeObjects(place.harness, adapter, 4, 4096);
  await assertHolds(place.harness, adapter, keys.slice(3, 4), payloads.slice(3));
  await storeObjects(place.harness, adapter, 3, 4096);
  assert.deepEqual([...(await adapter.lookup(keys))], [0, 0, 0, 1]);
  await place.end();
});

test("the limit holds at every moment while many batches are stored at once", async () => {
  const place = await FsPlace.create(limitOf(16));
  const adapter = await place.open();
  let highest = 0;
  let done = false;
  const watch = (async () => {
    while (!done) {
      highest = Math.max(highest, bytesOnDisk(place.path));
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  const stores = await Promise.all(Array.from({ length: 20 }, () => storeObjects(place.harness, adapter, 5, 4096)));
  done = true;
  await watch;
  assert.ok(highest > 0 && highest <= 16 * fileBytes, `${highest} bytes on disk with a limit of ${16 * fileBytes}`);
  for (const { statuses } of stores) for (const status of statuses) assert.equal(status, StoreStatus.stored);
  await place.end();
});

test("a batch larger than the limit leaves its last objects", async () => {
  const place = await FsPlace.create(limitOf(10));
  const adapter = await place.open();
  const { keys, payloads, statuses } = await storeObjects(place.harness, adapter, 25, 4096);
  assert.ok(statuses.every((status) => status === StoreStatus.stored));
  const found = await adapter.lookup(keys);
  const kept = [...found.keys()].filter((index) => found[index] === 1);
  assert.ok(kept.length > 0 && kept.length <= 10);
  await assertHolds(place.harness, adapter, keys.pick(kept), kept.map((index) => payloads[index]));
  await place.end();
});

test("under noop a full directory refuses per key and says why", async () => {
  const place = await FsPlace.create({ ...limitOf(10), eviction: { eviction_policy: "noop" } });
  const adapter = await place.open();
  assert.equal(adapter.capabilities.evicts, false);
  const { keys, payloads, statuses } = await storeObjects(place.harness, adapter, 12, 4096);
  assert.deepEqual([...statuses], [...new Array(10).fill(StoreStatus.stored), StoreStatus.skippedNoRoom, StoreStatus.skippedNoRoom]);
  assert.equal(place.counted("kvferry_l2_refused_objects_total", { reason: "capacity" }), 2);
  await assertHolds(place.harness, adapter, keys.slice(0, 10), payloads.slice(0, 10));
  await adapter.delete(keys.slice(0, 1));
  assert.deepEqual([...(await storeObjects(place.harness, adapter, 2, 4096)).statuses], [StoreStatus.stored, StoreStatus.skippedNoRoom]);
  await place.end();
});

test("an object larger than the limit is too large, not without room, and evicts nothing", async () => {
  const place = await FsPlace.create(limitOf(10));
  const adapter = await place.open();
  const { keys } = await storeObjects(place.harness, adapter, 5, 4096);
  const { statuses } = await storeObjects(place.harness, adapter, 1, 11 * fileBytes);
  assert.deepEqual([...statuses], [StoreStatus.skippedTooLarge]);
  assert.equal(place.counted("kvferry_l2_refused_objects_total", { reason: "too_large" }), 1);
  assert.deepEqual([...(await adapter.lookup(keys))], [1, 1, 1, 1, 1]);
  await place.end();
});

test("max_objects limits the number of files", async () => {
  const place = await FsPlace.create({ max_objects: 7 });
  const adapter = await place.open();
  for (let round = 0; round < 5; round++) {
    const { statuses } = await storeObjects(place.harness, adapter, 3, 100 + round);
    assert.ok(statuses.every((status) => status === StoreStatus.stored));
    assert.ok((await place.objectFiles()).length <= 7);
  }
  assert.equal(adapter.usage().objectCount, 7);
  await place.end();
});

test("the watermark of an eviction block works ahead of the limit", async () => {
  const place = await FsPlace.create({ ...limitOf(20), eviction: { eviction_policy: "LRU", trigger_watermark: 0.5, eviction_ratio: 0.3 } });
  const adapter = await place.open();
  const { keys } = await storeObjects(place.harness, adapter, 10, 4096);
  await adapter.close();
  const second = await place.open();
  assert.deepEqual([...(await second.lookup(keys))].reduce((a, b) => a + b), 7, "0.3 of ten objects left");
  assert.equal(place.counted("kvferry_l2_removed_objects_total", { reason: "watermark" }), 3);
  await place.end();
});

test("a tenant over its quota gives way first under IsolatedLRU", async () => {
  const place = await FsPlace.create({ ...limitOf(10), eviction: { eviction_policy: "IsolatedLRU", trigger_watermark: 1 } }, { quotaBytes: (salt) => (salt === "greedy" ? 2 * fileBytes : 10 * fileBytes) });
  const adapter = await place.open();
  const modest = await storeObjects(place.harness, adapter, 4, 4096, "modest");
  await storeObjects(place.harness, adapter, 6, 4096, "greedy");
  await storeObjects(place.harness, adapter, 3, 4096, "greedy");
  assert.deepEqual([...(await adapter.lookup(modest.keys))], [1, 1, 1, 1]);
  await place.end();
});

test("the banner's line names the limit that follows", async () => {
  const place = await FsPlace.create({ max_size_gb: 0.5, max_objects: 9 });
  const adapter = await place.open();
  assert.match(adapter.describe(), /^adapter: fs \/.*, at most 512\.0 MiB of objects \(max_size_gb; .* stay free\), at most 9 objects, LRU when room is needed; (io_uring|thread pool \(.+\)), (O_DIRECT|buffered \(.+\))$/);
  await adapter.close();
  const free = FsPlace.on(place.path, { min_free_gb: 20, min_free_percent: 10, relative_tmp_dir: "t", read_ahead_size: 4096 });
  const second = await free.open();
  assert.match(second.describe(), /at most .* of objects \(.* of .* stay free\).*; not needed and not used: relative_tmp_dir, read_ahead_size$/);
  await free.harness.finish();
  await place.end();
});
