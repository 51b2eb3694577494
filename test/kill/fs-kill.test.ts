/**
 * SIGKILL of a process that writes through the fs adapter, again and again on one directory, at random moments. After each: the next owner
 * opens at once, everything that was reported stored is there byte for byte, nothing half-written is left, and usage is what is on disk.
 * (RocksDB's black-box method; users-and-failures.md P4.)
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";

import { SeededRandom } from "../../src/base/random.ts";
import { KeyBatch } from "../../src/keys/key-batch.ts";
import { FsPlace } from "../unit/l2/support.ts";
import { assertSameBytes } from "../../src/l2/conformance/harness.ts";
import { LoadStatus } from "../../src/l2/contract.ts";
import { keyOf, payloadOf, sizeOf } from "./fs-kill-objects.ts";

const kills = Number(process.env.KVFERRY_TEST_KILLS ?? 24);
const seed = Number(process.env.KVFERRY_TEST_SEED ?? 1);
const checkBatch = 64;

/** Runs the writer from object `first` and kills it some ms after its n-th report; returns the numbers it reported stored. */
async function writeUntilKilled(directory: string, first: number, engine: string, reports: number, thenMs: number): Promise<number[]> {
  const writer = spawn(process.execPath, [join(import.meta.dirname, "fs-kill-writer.js"), directory, String(first), engine], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(writer, "exit");
  const stored: number[] = [];
  let lines = 0;
  // Counted in reports, not in time, so that a slow machine kills in the middle of the work too. Line 0 says "ready".
  for await (const line of createInterface({ input: writer.stdout })) {
    if (lines++ === reports) setTimeout(() => writer.kill("SIGKILL"), thenMs);
    for (const number of line.split(" ").slice(1)) stored.push(Number(number));
  }
  const [, signal] = (await exited) as [number | null, string | null];
  assert.equal(signal, "SIGKILL", "the writer ended by itself");
  return stored;
}

async function check(directory: string, stored: readonly number[]): Promise<void> {
  const place = FsPlace.on(directory);
  const adapter = await place.open();
  const { harness } = place;
  for (let first = 0; first < stored.length; first += checkBatch) {
    const numbers = stored.slice(first, first + checkBatch);
    const keys = new KeyBatch(new Uint8Array(Buffer.concat(numbers.map((number) => keyOf(number, harness.context.namespaces).records))));
    const { statuses, batch } = await harness.load(adapter, keys, numbers.map(sizeOf));
    numbers.forEach((number, index) => {
      assert.equal(statuses[index], LoadStatus.loaded, `object ${number} was reported stored`);
      assertSameBytes(harness.read(batch, index), payloadOf(number), `object ${number}`);
    });
    harness.release(batch);
  }
  assert.deepEqual(await readdir(join(directory, "tmp")), []);
  let bytes = 0;
  for (const path of await place.objectFiles()) bytes += (await stat(path)).size;
  assert.equal(adapter.usage().usedBytes, bytes);
  assert.equal(place.counted("kvferry_l2_damaged_objects_total"), 0);
  await harness.finish();
}

for (const engine of ["auto", "threads"])
  test(`${kills / 2} kills of a writer with file engine ${engine} lose nothing (seed ${seed})`, async () => {
    const random = new SeededRandom(seed);
    const directory = await mkdtemp(join(tmpdir(), "kvferry-kill-"));
    const stored: number[] = [];
    for (let kill = 0; kill < kills / 2; kill++) {
      const fresh = await writeUntilKilled(directory, kill * 1_000_000, engine, random.nextBelow(14), random.nextBelow(12));
      stored.push(...fresh);
      // What earlier lives stored is sampled, what this one stored is checked whole.
      await check(directory, [...fresh, ...stored.filter((_, index) => index % 23 === kill % 23)]);
    }
    assert.ok(stored.length > kills * 8, `only ${stored.length} objects were stored: the kills came too early to prove anything`);
    await rm(directory, { recursive: true });
  });
