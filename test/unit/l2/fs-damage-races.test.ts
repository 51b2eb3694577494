/**
 * On a busy machine a damaged file was a miss, and the store after it was owed nothing: while the file was being deleted, the scan of the
 * directory, which had read its name before, entered it as a complete object. The next reader found no file. What is damaged must not
 * be believed to be held (law 4), in whatever order scan, load, removal and store come.
 */
import assert from "node:assert/strict";
import { mkdir, readFile, rm } from "node:fs/promises";
import { test } from "node:test";

import type { KeyBatch } from "../../../src/keys/key-batch.ts";
import { assertHolds } from "../../../src/l2/conformance/cases.ts";
import { LoadStatus, StoreStatus } from "../../../src/l2/contract.ts";
import type { FsAdapter } from "../../../src/l2/fs/fs-adapter.ts";
import { HeldFiles } from "./held-files.ts";
import { FsPlace, storeObjects } from "./support.ts";

const objectBytes = 6000;

interface Scene {
  readonly place: FsPlace;
  readonly held: HeldFiles;
  readonly keys: KeyBatch;
  readonly payloads: Uint8Array[];
  readonly path: string;
}

/** A directory with one object whose file has a flipped bit, and nobody on it. */
async function damagedDirectory(): Promise<Scene> {
  const held = new HeldFiles();
  const place = await FsPlace.within(held.context());
  const adapter = await place.open();
  const { keys, payloads } = await storeObjects(place.harness, adapter, 1, objectBytes);
  await adapter.close();
  const [path] = await place.objectFiles();
  await place.damage(path, flipped);
  return { place, held, keys, payloads, path };
}

function flipped(bytes: Buffer): Buffer {
  bytes[bytes.length >> 1] ^= 8;
  return bytes;
}

async function load({ place: { harness }, keys }: Scene, adapter: FsAdapter): Promise<number> {
  const { statuses, batch } = await harness.load(adapter, keys, [objectBytes]);
  harness.release(batch);
  return statuses[0];
}

/** Nothing is believed of the key, and the next store mends it. */
async function assertMended({ place, keys, payloads }: Scene, adapter: FsAdapter): Promise<void> {
  assert.deepEqual([...adapter.holds(keys)], [0], "believed to be held");
  assert.deepEqual([...(await adapter.lookup(keys))], [0]);
  assert.equal(adapter.usage().usedBytes, 0);
  assert.deepEqual([...(await place.harness.store(adapter, keys, payloads))], [StoreStatus.stored]);
  await assertHolds(place.harness, adapter, keys, payloads);
  await place.end();
}

test("a scan that reaches a damaged file while it is being removed does not make an object of it", async () => {
  const scene = await damagedDirectory();
  const { place, held } = scene;
  held.hold("scan");
  held.hold("remove");
  const adapter = (await place.harness.open()) as FsAdapter;
  const loading = load(scene, adapter);
  await held.arrival("remove");
  held.open("scan");
  await adapter.scanned();
  held.open("remove");
  assert.equal(await loading, LoadStatus.corrupt);
  await assertMended(scene, adapter);
});

test("a scan that reaches a damaged file while it is being loaded does not make an object of it", async () => {
  const scene = await damagedDirectory();
  const { place, held } = scene;
  held.hold("scan");
  held.hold("load");
  const adapter = (await place.harness.open()) as FsAdapter;
  const loading = load(scene, adapter);
  await held.arrival("load");
  held.open("scan");
  await adapter.scanned();
  held.open("load");
  assert.equal(await loading, LoadStatus.corrupt);
  await assertMended(scene, adapter);
});

test("a store that comes while a damaged file is being removed waits for it and is stored", async () => {
  const scene = await damagedDirectory();
  const { place, held, keys, payloads } = scene;
  held.hold("scan");
  held.hold("remove");
  const adapter = (await place.harness.open()) as FsAdapter;
  const loading = load(scene, adapter);
  await held.arrival("remove");
  const storing = place.harness.store(adapter, keys, payloads);
  // Time in which a store that does not wait would have found the name taken.
  await new Promise((resolve) => setTimeout(resolve, 50));
  held.open("remove");
  assert.equal(await loading, LoadStatus.corrupt);
  assert.deepEqual([...(await storing)], [StoreStatus.stored]);
  await assertHolds(place.harness, adapter, keys, payloads);
  held.open("scan");
  await adapter.scanned();
  await assertHolds(place.harness, adapter, keys, payloads);
  await place.end();
});

test("a store that comes before the scan and before any load reads the file that has the name", async () => {
  const { place, held, keys, payloads, path } = await damagedDirectory();
  held.hold("scan");
  const adapter = (await place.harness.open()) as FsAdapter;
  assert.deepEqual([...(await place.harness.store(adapter, keys, payloads))], [StoreStatus.stored], "not already present");
  held.open("scan");
  await adapter.scanned();
  await assertHolds(place.harness, adapter, keys, payloads);
  await adapter.close();
  // An intact one is believed.
  held.hold("scan");
  const again = (await place.harness.open()) as FsAdapter;
  const before = await readFile(path);
  assert.deepEqual([...(await place.harness.store(again, keys, payloads))], [StoreStatus.alreadyPresent]);
  assert.ok(before.equals(await readFile(path)), "written at the same time: not written again");
  held.open("scan");
  await again.scanned();
  await place.end();
});

test("a load that comes back with damage when the object has been stored anew takes nothing away", async () => {
  const scene = await damagedDirectory();
  const { place, held, keys, payloads } = scene;
  const adapter = await place.open();
  const answer = held.holdAnswer("load");
  const late = load(scene, adapter);
  await answer.arrival();
  assert.equal(await load(scene, adapter), LoadStatus.corrupt);
  assert.deepEqual([...(await place.harness.store(adapter, keys, payloads))], [StoreStatus.stored]);
  answer.open();
  assert.equal(await late, LoadStatus.corrupt);
  await assertHolds(place.harness, adapter, keys, payloads);
  await place.end();
});

for (const found of ["scan", "load"] as const)
  test(`a damaged file that cannot be removed is not believed to be held, though the ${found} met it first`, async () => {
    const scene = await damagedDirectory();
    const { place, held, keys, payloads, path } = scene;
    if (found === "load") held.hold("scan");
    const adapter = (await place.harness.open()) as FsAdapter;
    if (found === "scan") await adapter.scanned();
    // A directory under the object's name: it is no object, and unlink refuses it.
    await rm(path);
    await mkdir(path);
    assert.equal(await load(scene, adapter), LoadStatus.corrupt);
    held.open("scan");
    await adapter.scanned();
    assert.deepEqual([...adapter.holds(keys)], [0]);
    assert.deepEqual([...(await place.harness.store(adapter, keys, payloads))], [StoreStatus.failed], "the truth about a name that is taken");
    assert.deepEqual([...adapter.holds(keys)], [0]);
    assert.match(adapter.health().problems.join(), /remove fails with/);
    await rm(path, { recursive: true });
    await assertMended(scene, adapter);
  });
