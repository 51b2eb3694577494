/** Disks that are full, read-only or gone: per-key answers, a problem in health(), and work goes on by itself when the disk is back. */
import assert from "node:assert/strict";
import { cp, mkdir, readdir, rename, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { VirtualClock } from "../../../src/base/clock.ts";
import { AdapterError } from "../../../src/base/errors.ts";
import { assertHolds } from "../../../src/l2/conformance/cases.ts";
import { LoadStatus, StoreStatus } from "../../../src/l2/contract.ts";
import { SmallDisk } from "./small-disk.ts";
import { FsPlace, storeObjects } from "./support.ts";

function smallDisk(t: TestContext, options: string): SmallDisk | undefined {
  const disk = SmallDisk.mount(options);
  if (typeof disk !== "string") return disk;
  t.skip(disk);
  return undefined;
}

async function moveEntries(source: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  for (const name of await readdir(source)) await rename(join(source, name), join(target, name));
}

function assertAllStored(statuses: Uint8Array): void {
  assert.deepEqual([...statuses], new Array(statuses.length).fill(StoreStatus.stored));
}

test("free space is kept: the directory stops before the disk is full, and gives way when others fill it", async (t) => {
  const disk = smallDisk(t, "size=8m");
  if (disk === undefined) return;
  const clock = new VirtualClock();
  const place = FsPlace.on(join(disk.path, "kv"), { min_free_percent: 50, min_free_inodes_percent: 0, eviction: { eviction_policy: "LRU", trigger_watermark: 1 } }, { clock });
  const adapter = await place.open();
  const { usedBytes, capacityBytes } = adapter.usage();
  assert.equal(usedBytes, 0);
  assert.ok(capacityBytes > 3.5e6 && capacityBytes <= 4 * 2 ** 20, `capacity ${capacityBytes}`);
  for (let round = 0; round < 5; round++) assertAllStored((await storeObjects(place.harness, adapter, 10, 126_976)).statuses);
  assert.ok(adapter.usage().usedBytes <= 4 * 2 ** 20);
  const before = adapter.usage().objectCount;
  assert.ok(before >= 28 && before <= 32, `${before} objects of 128 KiB in half of 8 MiB`);
  // Somebody else takes 2 MiB: after the next sample the same rule leaves half as much for objects.
  await writeFile(join(disk.path, "other"), Buffer.alloc(2 * 2 ** 20));
  clock.advance(10_000);
  assertAllStored((await storeObjects(place.harness, adapter, 1, 126_976)).statuses);
  assert.ok(adapter.usage().objectCount <= before / 2 + 1, `${adapter.usage().objectCount} objects`);
  await place.harness.finish();
  disk.unmount();
});

test("inodes are kept too", async (t) => {
  const disk = smallDisk(t, "size=8m,nr_inodes=1000");
  if (disk === undefined) return;
  const place = FsPlace.on(join(disk.path, "kv"), { min_free_inodes_percent: 90, eviction: { eviction_policy: "noop" } });
  const adapter = await place.open();
  let stored = 0;
  for (let round = 0; round < 12; round++) stored += (await storeObjects(place.harness, adapter, 10, 100)).statuses.filter((status) => status === StoreStatus.stored).length;
  assert.ok(stored > 40 && stored <= 100, `${stored} objects stored with 100 inodes to use`);
  assert.ok(place.counted("kvferry_l2_refused_objects_total", { reason: "objects" }) >= 20);
  await place.harness.finish();
  disk.unmount();
});

test("a disk that is full although the limits saw room is no room per key, and heals", async (t) => {
  const disk = smallDisk(t, "size=2m");
  if (disk === undefined) return;
  const place = FsPlace.on(join(disk.path, "kv"), { min_free_inodes_percent: 0, eviction: { eviction_policy: "noop" } }, { clock: new VirtualClock() });
  const adapter = await place.open();
  const first = await storeObjects(place.harness, adapter, 4, 100_000);
  assertAllStored(first.statuses);
  await writeFile(join(disk.path, "other"), Buffer.alloc(4 * 2 ** 20)).catch(() => undefined);
  const refused = await storeObjects(place.harness, adapter, 4, 100_000);
  for (const status of refused.statuses) assert.equal(status, StoreStatus.skippedNoRoom);
  assert.match(adapter.health().problems.join(), /store fails with ENOSPC/);
  assert.equal(adapter.health().ready, true);
  await assertHolds(place.harness, adapter, first.keys, first.payloads);
  await unlink(join(disk.path, "other"));
  await new Promise((resolve) => setTimeout(resolve, 10));
  // The refused write made the adapter sample again: it knows of the room when it is asked next.
  (place.harness.context.clock as VirtualClock).advance(10_000);
  assertAllStored((await storeObjects(place.harness, adapter, 4, 100_000)).statuses);
  assert.deepEqual(adapter.health().problems, []);
  await place.harness.finish();
  disk.unmount();
});

test("a disk that turned read-only refuses stores and still serves loads", async (t) => {
  const disk = smallDisk(t, "size=8m");
  if (disk === undefined) return;
  const place = FsPlace.on(join(disk.path, "kv"), { min_free_inodes_percent: 0 });
  const adapter = await place.open();
  const { keys, payloads } = await storeObjects(place.harness, adapter, 3, 50_000);
  disk.remount("ro");
  const { statuses } = await storeObjects(place.harness, adapter, 2, 50_000);
  assert.deepEqual([...statuses], [StoreStatus.refused, StoreStatus.refused]);
  assert.match(adapter.health().problems.join(), /store fails with EROFS/);
  await assertHolds(place.harness, adapter, keys, payloads);
  assert.deepEqual([...(await adapter.delete(keys.slice(0, 1)))], [0], "what could not be deleted is still there");
  await assertHolds(place.harness, adapter, keys, payloads);
  const reopened = FsPlace.on(join(disk.path, "kv2"));
  await assert.rejects(reopened.open(), (error) => error instanceof AdapterError && /base_path .*kv2 cannot be used: .*EROFS/.test(error.message));
  await reopened.harness.finish();
  disk.remount("rw");
  assertAllStored((await storeObjects(place.harness, adapter, 2, 50_000)).statuses);
  assert.deepEqual([...(await adapter.delete(keys))], [1, 1, 1]);
  await place.harness.finish();
  disk.unmount();
});

test("a directory that vanished is not an empty one: nothing is forgotten, and it serves again when it is back", async () => {
  const clock = new VirtualClock();
  const place = await FsPlace.create({}, { clock });
  const adapter = await place.open();
  const { keys, payloads, sizes } = await storeObjects(place.harness, adapter, 6, 5000);
  // As an unmounted disk looks to those who hold its mount point open: the directory is there, what was in it is not.
  await moveEntries(place.path, `${place.path}.away`);
  const { statuses, batch } = await place.harness.load(adapter, keys, sizes);
  assert.deepEqual([...statuses], new Array(6).fill(LoadStatus.failed), "vanished is not missing");
  place.harness.release(batch);
  assert.equal(adapter.health().ready, false);
  assert.match(adapter.health().problems.join(), /has vanished/);
  const during = await storeObjects(place.harness, adapter, 2, 5000);
  assert.deepEqual([...during.statuses], [StoreStatus.failed, StoreStatus.failed]);
  await moveEntries(`${place.path}.away`, place.path);
  clock.advance(2_000);
  await assertHolds(place.harness, adapter, keys, payloads);
  await adapter.scanned();
  assert.equal(adapter.health().ready, true);
  assert.equal(adapter.usage().objectCount, 6);
  assertAllStored((await storeObjects(place.harness, adapter, 2, 5000)).statuses);
  await place.end();
});

test("a directory that was deleted and made anew is taken as the empty one it is", async () => {
  const clock = new VirtualClock();
  const place = await FsPlace.create({}, { clock });
  const adapter = await place.open();
  const { keys } = await storeObjects(place.harness, adapter, 6, 5000);
  await rm(place.path, { recursive: true });
  assert.deepEqual([...(await storeObjects(place.harness, adapter, 1, 5000)).statuses], [StoreStatus.failed]);
  await mkdir(place.path);
  clock.advance(2_000);
  const again = await storeObjects(place.harness, adapter, 3, 5000);
  assertAllStored(again.statuses);
  await adapter.scanned();
  assert.deepEqual([...(await adapter.lookup(keys))], new Array(6).fill(0));
  assert.equal(adapter.usage().objectCount, 3);
  await assertHolds(place.harness, adapter, again.keys, again.payloads);
  await place.end();
});

test("files that were lost while the directory was away are forgotten, files that came are found", async () => {
  const clock = new VirtualClock();
  const place = await FsPlace.create({}, { clock });
  const adapter = await place.open();
  const kept = await storeObjects(place.harness, adapter, 3, 5000);
  await cp(place.path, `${place.path}.copy`, { recursive: true });
  const lost = await storeObjects(place.harness, adapter, 4, 5000);
  await rm(place.path, { recursive: true });
  const { batch } = await place.harness.load(adapter, lost.keys, lost.sizes);
  place.harness.release(batch);
  await rename(`${place.path}.copy`, place.path);
  clock.advance(2_000);
  await assertHolds(place.harness, adapter, kept.keys, kept.payloads);
  await adapter.scanned();
  assert.deepEqual([...(await adapter.lookup(lost.keys))], [0, 0, 0, 0]);
  assert.equal(adapter.usage().objectCount, 3);
  assertAllStored((await place.harness.store(adapter, lost.keys, lost.payloads)) as Uint8Array);
  await place.end();
});
