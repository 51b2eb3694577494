/** What openStorage refuses for lack of memory or because a name is taken: as a whole, before anything is opened. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { GiB, MiB } from "../../../src/base/bytes.ts";
import { ConfigError } from "../../../src/base/errors.ts";
import { sharedNameTaken } from "../../../src/native/binding.ts";
import { largestL1Bytes, memoryLimitBytes, openStorage, type StorageConfigInput } from "../../../src/storage/index.ts";

const pageBytes = 4096;

async function refused(config: StorageConfigInput, field: string, message: RegExp, limitBytes?: number): Promise<ConfigError> {
  const refusal = await openStorage(config, { memoryLimitBytes: limitBytes }).then(
    async (storage) => {
      await storage.close();
      return assert.fail(`${field} was taken`);
    },
    (error: unknown) => error,
  );
  assert.ok(refusal instanceof ConfigError, String(refusal));
  assert.equal(refusal.field, field, refusal.message);
  assert.match(refusal.message, message);
  return refusal;
}

/** A path that nothing has been made under yet. */
function untouched(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "kvferry-limits-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, "kv");
}

test("an L1 that leaves less than the larger of 2 GiB and 10 % is refused before anything is opened", async (context) => {
  const base_path = untouched(context);
  for (const [limitBytes, largestBytes] of [
    [8 * GiB, 6 * GiB],
    [40 * GiB, 36 * GiB],
  ]) {
    await refused({ l1: { sizeBytes: largestBytes + pageBytes }, l2: { adapters: [{ type: "fs", base_path }] } }, "l1.sizeBytes", /must be at most \d+(\.\d+)? GiB here \(memory limit/, limitBytes);
    assert.equal(existsSync(base_path), false, "the adapter was opened");
  }
  const storage = await openStorage({ l1: { sizeBytes: 6 * GiB } }, { memoryLimitBytes: 8 * GiB });
  await storage.close();
});

test("without a limit of the caller's the host's own holds", async () => {
  const largestBytes = Math.floor(largestL1Bytes(memoryLimitBytes()));
  await refused({ l1: { sizeBytes: largestBytes + pageBytes } }, "l1.sizeBytes", /must be at most/);
});

test("the caller's limit holds for what an adapter keeps in memory, too", async () => {
  const withMock = (max_size_gb: number): StorageConfigInput => ({ l1: { sizeBytes: MiB }, l2: { adapters: [{ type: "mock", max_size_gb, mock_bandwidth_gb: 1 }] } });
  await refused(withMock(7), "l2.adapters[0].max_size_gb", /must be at most 6\.00 here/, 8 * GiB);
  const beyondHost = Math.ceil(memoryLimitBytes() / GiB) + 1;
  await (await openStorage(withMock(beyondHost), { memoryLimitBytes: 4 * beyondHost * GiB })).close();
});

test("a shared name that a living storage holds is refused, and the cause says why", async () => {
  const sharedName = `kvferry_open_${process.pid}_${Date.now()}`;
  const config = { l1: { sizeBytes: MiB, sharedName } };
  const owner = await openStorage(config);
  const { cause } = await refused(config, "l1.sharedName", /held by a live process/);
  assert.equal((cause as NodeJS.ErrnoException).code, sharedNameTaken);
  await owner.close();
  await (await openStorage(config)).close();
});
