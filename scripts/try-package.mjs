// Run beside an installed kvferry (test/pack, the release workflow): stores two objects in buffer-only mode over fs, closes, opens
// again, loads them from disk and compares every byte.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MiB, openStorage } from "kvferry";

const directory = mkdtempSync(join(tmpdir(), "round-trip-"));
const configuration = {
  l1: { sizeBytes: 32 * MiB, evictionPolicy: "noop" },
  l2: { storePolicy: "skip_l1", adapters: [{ type: "fs", base_path: directory, min_free_gb: 0, min_free_percent: 0, min_free_inodes_percent: 0 }] },
};
const keys = [1, 2].map((seed) => ({ chunkHash: new Uint8Array(32).fill(seed), modelName: "model", kvRank: 0, objectGroupId: 0, cacheSalt: "" }));
const layout = { sizeBytes: 65536 };
const payload = (seed) => Uint8Array.from({ length: layout.sizeBytes }, (_, index) => (index * 31 + seed) & 255);
try {
  const first = await openStorage(configuration);
  const write = await first.reserveWrite(keys, layout);
  write.slots.forEach((slot, index) => slot.write(payload(index)));
  const settled = await (await write.commit()).settled;
  assert.equal(settled.storedKeys, 2);
  assert.equal(first.status().l1.usedBytes, 0);
  await first.close();
  const second = await openStorage(configuration);
  const read = await second.prefetch(keys, layout, { deadlineMs: 10_000 });
  assert.equal(read.hitCount, 2);
  read.slots.forEach((slot, index) => assert.deepEqual(slot.copyOut(), payload(index)));
  await read.release();
  await second.close();
  console.log("round trip ok on Node " + process.versions.node);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
