/** N8 to N10: failures that need real files. The real fs adapter in a real directory, real threads, the system clock. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { test, type TestContext } from "node:test";

import { packKeys } from "../../../src/keys/key-batch.ts";
import { imageFingerprint } from "../../../src/keys/layout.ts";
import { openStorage, type KeyRow, type Storage } from "../../../src/storage/index.ts";
import type { Settlement } from "../../../src/controllers/index.ts";
import { isPayloadOf, payloadOf } from "../../sim/payload.ts";
import { recordOf } from "../../sim/sim-adapter.ts";
import { l1Sizes, sumOf } from "./rig.ts";

const fsSpec = { type: "fs", min_free_gb: 0, min_free_percent: 0, min_free_inodes_percent: 0 };

class Files {
  readonly storage: Storage;
  readonly layout: { readonly sizeBytes: number };

  private constructor(storage: Storage, sizeBytes: number) {
    this.storage = storage;
    this.layout = { sizeBytes };
  }

  static async open(chunks: number, directory: string, more: Record<string, unknown> = {}): Promise<Files> {
    const sizeBytes = 65536 / chunks;
    const storage = await openStorage({
      l1: { sizeBytes: 65536, evictionPolicy: "noop", hugePages: false },
      l2: { storeAttemptsMax: 1, loadDeadlineMs: 20_000, adapters: [{ ...fsSpec, base_path: directory, ...more }] },
    });
    return new Files(storage, sizeBytes);
  }

  rows(first: number, count: number): KeyRow[] {
    const keys = Array.from({ length: count }, (_, index) => {
      const chunkHash = new Uint8Array(32);
      new Uint32Array(chunkHash.buffer).set([first + index + 1, 99]);
      return { chunkHash, modelName: "files", kvRank: 0, objectGroupId: 0, cacheSalt: "" };
    });
    return [{ keys: packKeys(keys, imageFingerprint(this.layout), this.storage.namespaces), layout: this.layout }];
  }

  async write(first: number, count: number): Promise<Settlement> {
    const settlements: Promise<Settlement>[] = [];
    for (let done = 0; done < count; ) {
      const write = await this.storage.reserveWriteRows(this.rows(first + done, count - done));
      write.slots.forEach((slot, position) => slot.write(payloadOf(recordOf(write.keys, write.keyIndices[position]), slot.sizeBytes)));
      settlements.push((await write.commit()).settled);
      done += write.chunkCount;
    }
    return sumOf(await Promise.all(settlements));
  }

  /** Which of these chunks can be read; every byte is checked. */
  async readable(first: number, count: number): Promise<number[]> {
    const found: number[] = [];
    for (let chunk = first; chunk < first + count; chunk++) {
      const read = await this.storage.prefetchRows(this.rows(chunk, 1), { deadlineMs: 60_000 });
      for (const slot of read.slots) assert.ok(isPayloadOf(slot.copyOut(), recordOf(read.grid.keys, 0)), `wrong bytes of chunk ${chunk}`);
      if (read.hitCount === 1) found.push(chunk);
      await read.release();
    }
    return found;
  }

  async assertEmpty(): Promise<void> {
    await this.storage.idle();
    const audit = this.storage.audit();
    assert.deepEqual([...audit.problems], []);
    assert.equal(this.storage.usage.usedBytes, 0);
    assert.equal(audit.internedKeys, 0);
  }

  misses(reason: string): number {
    return this.storage.counters.total("kvferry_load_misses_total", { reason });
  }
}

function temporaryDirectory(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "kvferry-n-files-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Object files below a directory, with paths relative to it. */
function objectFiles(directory: string): string[] {
  return (readdirSync(join(directory, "objects"), { recursive: true }) as string[])
    .map((path) => join("objects", path))
    .filter((path) => statSync(join(directory, path)).isFile());
}

for (const chunks of l1Sizes) {
  // LMCache: 11 files written, 24 MiB kept.
  test(`N8: one bad key in a batch of 12 costs that key alone (L1 of ${chunks} chunks)`, async (context) => {
    const scout = temporaryDirectory(context);
    const first = await Files.open(chunks, scout);
    await first.write(7, 1);
    await first.storage.close();
    const [badPath] = objectFiles(scout);
    // A file where the bad key's directory should be: its store fails with ENOTDIR, as a broken directory entry would make it.
    const directory = temporaryDirectory(context);
    const inTheWay = join(directory, dirname(badPath));
    mkdirSync(dirname(inTheWay), { recursive: true });
    writeFileSync(inTheWay, "in the way");

    const files = await Files.open(chunks, directory);
    const settlement = await files.write(0, 12);
    assert.deepEqual([settlement.storedKeys, settlement.failedKeys], [11, 1], JSON.stringify(settlement));
    await files.assertEmpty();
    assert.deepEqual(await files.readable(0, 12), [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]);
    rmSync(inTheWay);
    assert.equal((await files.write(7, 1)).storedKeys, 1, "mended: the key is stored");
    assert.equal((await files.readable(0, 12)).length, 12);
    await files.assertEmpty();
    await files.storage.close();
  });

  // LMCache: 16 written, 32 MiB left, 0 files, healthy.
  test(`N9: a full disk ends stores as no_room and L1 is empty and works again when there is room (L1 of ${chunks} chunks)`, async (context) => {
    const directory = temporaryDirectory(context);
    // min_free_percent 100: every byte of the disk is meant to stay free.
    const full = await Files.open(chunks, directory, { min_free_percent: 100 });
    const settlement = await full.write(0, 20);
    assert.deepEqual(settlement, { storedKeys: 0, failedKeys: 20, droppedKeys: 0, reasons: { "failed:no_room": 20 } });
    await full.assertEmpty();
    assert.deepEqual(await full.readable(0, 3), []);
    await full.storage.close();
    const roomy = await Files.open(chunks, directory);
    assert.equal((await roomy.write(0, 20)).storedKeys, 20);
    assert.equal((await roomy.readable(0, 20)).length, 20);
    await roomy.assertEmpty();
    await roomy.storage.close();
  });

  test(`N9: a file system that really runs full (tmpfs of 256 KiB, L1 of ${chunks} chunks)`, async (context) => {
    const directory = temporaryDirectory(context);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", directory]).status === 0;
    if (!mounted) context.diagnostic("mounting is not permitted here; the adapter's own limit of the same size stands in for the disk");
    try {
      const files = await Files.open(chunks, directory, { eviction: { eviction_policy: "noop" }, ...(mounted ? {} : { max_size_gb: 256 / 2 ** 20 }) });
      const count = 6 * chunks;
      const settlement = await files.write(0, count);
      assert.equal(settlement.storedKeys + settlement.failedKeys, count);
      assert.ok(settlement.failedKeys > 0, "six times L1 does not fit into four times L1");
      assert.ok(settlement.storedKeys > 0, JSON.stringify(settlement));
      await files.assertEmpty();
      const found = await files.readable(0, count);
      assert.equal(found.length, settlement.storedKeys, "exactly what was reported stored is there");
      await files.assertEmpty();
      await files.storage.close();
    } finally {
      if (mounted) spawnSync("umount", [directory]);
    }
  });

  // LMCache: a truncated file is a miss for ever and never repaired; flipped bytes are served as a hit.
  test(`N10: a file that was cut short, flipped, emptied or swapped is a counted miss, and the next store mends it (L1 of ${chunks} chunks)`, async (context) => {
    const directory = temporaryDirectory(context);
    const damages: Record<string, (path: string, other: string) => void> = {
      "cut short": (path) => truncateSync(path, statSync(path).size - 1),
      emptied: (path) => truncateSync(path, 0),
      "one bit flipped": (path) => {
        const bytes = readFileSync(path);
        bytes[bytes.length >>> 1] ^= 4;
        writeFileSync(path, bytes);
      },
      "header flipped": (path) => {
        const bytes = readFileSync(path);
        bytes[20] ^= 1;
        writeFileSync(path, bytes);
      },
      "another key's file": (path, other) => writeFileSync(path, readFileSync(other)),
      "too long": (path) => writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.alloc(4096)])),
    };
    for (const [name, damage] of Object.entries(damages)) {
      const before = await Files.open(chunks, directory);
      assert.equal((await before.write(0, 4)).failedKeys, 0, name);
      await before.storage.close();
      const paths = objectFiles(directory).map((path) => join(directory, path));
      assert.equal(paths.length, 4, `${name}: ${paths.map((path) => relative(directory, path)).join(", ")}`);
      damage(paths[0], paths[1]);

      const files = await Files.open(chunks, directory);
      const found = await files.readable(0, 4);
      assert.equal(found.length, 3, `${name} is a miss`);
      await files.assertEmpty();
      assert.equal((await files.write(0, 4)).failedKeys, 0, name);
      assert.equal((await files.readable(0, 4)).length, 4, `${name}: mended by the next store`);
      await files.assertEmpty();
      await files.storage.close();
    }
  });

  test(`N10: a file damaged while its adapter runs is a miss with a counter, and mended (L1 of ${chunks} chunks)`, async (context) => {
    const directory = temporaryDirectory(context);
    const files = await Files.open(chunks, directory);
    await files.write(0, 4);
    const [path] = objectFiles(directory);
    const bytes = readFileSync(join(directory, path));
    bytes[bytes.length - 1] ^= 0x80;
    bytes[bytes.length >>> 1] ^= 0x80;
    writeFileSync(join(directory, path), bytes);
    assert.equal((await files.readable(0, 4)).length, 3);
    assert.equal(files.misses("corrupt") + files.misses("missing") >= 1, true);
    assert.equal((await files.write(0, 4)).failedKeys, 0);
    assert.equal((await files.readable(0, 4)).length, 4);
    await files.assertEmpty();
    await files.storage.close();
  });
}
