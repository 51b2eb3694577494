/** What an earlier process left is known again: usage, order of eviction, namespaces; what it left half-written is gone. */
import assert from "node:assert/strict";
import { mkdir, readdir, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { GiB } from "../../../src/base/bytes.ts";
import { assertHolds } from "../../../src/l2/conformance/cases.ts";
import { LoadStatus, StoreStatus } from "../../../src/l2/contract.ts";
import type { FsAdapter } from "../../../src/l2/fs/fs-adapter.ts";
import { inspectPath } from "../../../src/l2/inspect.ts";
import { FsPlace, storeObjects } from "./support.ts";

/** Like `du`: what the object files take. */
async function diskBytes(place: FsPlace): Promise<number> {
  let bytes = 0;
  for (const path of await place.objectFiles()) bytes += Math.ceil((await stat(path)).size / 4096) * 4096;
  return bytes;
}

test("usage equals what is on disk, before and after a restart", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  for (const [count, bytes, salt] of [[20, 5000, "a"], [7, 1, "b"], [3, 1_000_000, ""]] as const) await storeObjects(place.harness, adapter, count, bytes, salt);
  const before = adapter.usage();
  assert.equal(before.usedBytes, await diskBytes(place));
  assert.equal(before.objectCount, 30);
  await adapter.close();
  const second = await place.open();
  assert.equal(second.usage().usedBytes, await diskBytes(place));
  assert.equal(second.usage().objectCount, 30);
  assert.deepEqual(second.usage().bytesBySalt, before.bytesBySalt);
  assert.equal(place.counted("kvferry_l2_scan_objects_total"), 30);
  await place.end();
});

test("objects are served while the scan has not reached them", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  const { keys, payloads, statuses } = await storeObjects(place.harness, adapter, 50, 9000);
  assert.ok(statuses.every((status) => status === StoreStatus.stored));
  await adapter.close();
  // Not awaiting the scan: whether it has got anywhere or not, nothing may be missing.
  const second = (await place.harness.open()) as FsAdapter;
  await assertHolds(place.harness, second, keys, payloads);
  await second.scanned();
  assert.equal(second.usage().objectCount, 50, "an object that a load found first is counted once");
  await place.end();
});

test("an object deleted while the scan runs stays deleted", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  const { keys, payloads } = await storeObjects(place.harness, adapter, 40, 5000);
  await adapter.close();
  const second = (await place.harness.open()) as FsAdapter;
  const gone = await second.delete(keys.slice(0, 20));
  assert.ok(gone.every((answer) => answer === 1));
  await second.scanned();
  assert.equal(second.usage().objectCount, 20);
  assert.deepEqual([...(await second.lookup(keys.slice(0, 20)))], new Array(20).fill(0));
  await assertHolds(place.harness, second, keys.slice(20, 40), payloads.slice(20));
  await place.end();
});

test("temporary files of dead writers are deleted, files of others are left alone", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  await storeObjects(place.harness, adapter, 1, 5000);
  await adapter.close();
  await writeFile(join(place.path, "tmp", "999999-0011223344556677-1"), "half an object");
  const uuid = "00000000-0000-4000-8000-000000000000";
  for (const name of [`kvferry.json.1.${uuid}.tmp`, `namespaces/${"0".repeat(64)}.json.1.${uuid}.tmp`, "owner.lock.1.2"]) await writeFile(join(place.path, name), "{");
  await mkdir(join(place.path, "objects", "aa", "bb"), { recursive: true });
  await writeFile(join(place.path, "objects", "aa", "bb", "notes.txt"), "mine");
  const second = await place.open();
  assert.deepEqual(await readdir(join(place.path, "tmp")), []);
  assert.deepEqual((await readdir(place.path)).sort(), ["kvferry.json", "namespaces", "objects", "owner.lock", "tmp"]);
  assert.equal((await readdir(join(place.path, "namespaces"))).length, 1);
  assert.equal(place.counted("kvferry_l2_scan_temporary_deleted_total"), 1);
  assert.equal(place.counted("kvferry_l2_scan_foreign_files_total"), 1);
  assert.equal(second.usage().objectCount, 1);
  const report = await inspectPath(place.path, place.harness.context.native);
  assert.deepEqual(report.foreignFiles, ["objects/aa/bb/notes.txt"]);
  assert.equal(report.intact, true);
  await place.end();
});

test("the oldest objects of an earlier process are the first to go", async () => {
  const place = await FsPlace.create({ max_objects: 10 });
  const adapter = await place.open();
  const { keys, payloads } = await storeObjects(place.harness, adapter, 10, 5000);
  await adapter.close();
  // The order of the keys is not the order of the files' names: set times by key.
  const paths = await place.objectFiles();
  const order = new Map<string, number>();
  for (let index = 0; index < 10; index++) {
    const { statuses: [status] } = await (async () => {
      const opened = await place.open();
      const before = new Set(await place.objectFiles());
      await opened.delete(keys.slice(index, index + 1));
      const after = new Set(await place.objectFiles());
      order.set([...before].find((path) => !after.has(path)) as string, index);
      const statuses = await place.harness.store(opened, keys.slice(index, index + 1), [payloads[index]]);
      await opened.close();
      return { statuses };
    })();
    assert.equal(status, StoreStatus.stored);
  }
  assert.equal(order.size, paths.length);
  for (const [path, index] of order) await utimes(path, 1_700_000_000 + index * 60, 1_700_000_000 + index * 60);
  const third = await place.open();
  const { statuses } = await storeObjects(place.harness, third, 4, 5000);
  assert.ok(statuses.every((status) => status === StoreStatus.stored));
  assert.deepEqual([...(await third.lookup(keys))], [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
  await place.end();
});

test("a limit that was lowered holds after the scan", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  await storeObjects(place.harness, adapter, 20, 4096);
  await adapter.close();
  const limited = FsPlace.on(place.path, { max_size_gb: (10 * 8192) / GiB });
  const second = await limited.open();
  assert.equal(second.usage().usedBytes, 10 * 8192);
  assert.equal((await place.objectFiles()).length, 10);
  await limited.harness.finish();
  await place.end();
});

test("inspect reports what is there, on a directory that is open", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  await storeObjects(place.harness, adapter, 5, 5000, "tenant");
  const report = await inspectPath(place.path, place.harness.context.native);
  assert.equal(report.intact, true);
  assert.equal(report.objects, 5);
  assert.equal(report.payloadBytes, 25_000);
  assert.equal(report.fileBytes, await diskBytes(place));
  assert.deepEqual(report.namespaces.map(({ cacheSalt, objects }) => [cacheSalt, objects]), [["tenant", 5]]);
  assert.equal(report.owner?.pid, process.pid);
  assert.equal(report.owner?.alive, true);
  const [path] = await place.objectFiles();
  const one = await inspectPath(path, place.harness.context.native);
  assert.equal(one.kind, "file");
  assert.equal(one.object?.payloadBytes, 5000);
  await place.damage(path, (bytes) => {
    bytes[5000] ^= 1;
    return bytes;
  });
  assert.equal((await inspectPath(place.path, place.harness.context.native)).damaged.length, 1);
  assert.equal((await inspectPath(path, place.harness.context.native)).intact, false);
  assert.equal((await place.objectFiles()).length, 5, "inspect deletes nothing");
  await adapter.close();
  assert.equal((await inspectPath(place.path, place.harness.context.native)).owner, null);
  await assert.rejects(inspectPath(join(place.path, "objects"), place.harness.context.native), /not a kvferry directory/);
  await assert.rejects(inspectPath(join(place.path, "absent"), place.harness.context.native), /cannot be read/);
  await place.end();
});

test("a load of a key that was never stored is a miss without touching the disk's counters", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  const keys = place.harness.keys([100]);
  const { statuses, batch } = await place.harness.load(adapter, keys, [100]);
  assert.deepEqual([...statuses], [LoadStatus.missing]);
  place.harness.release(batch);
  await place.end();
});
