import assert from "node:assert/strict";
import { test } from "node:test";

import { GiB, MiB } from "../../../src/base/bytes.ts";
import { ConfigError } from "../../../src/base/errors.ts";
import { parseStorageConfig, type StorageConfigInput } from "../../../src/storage/config.ts";

function refused(input: unknown, field: string, message: RegExp): void {
  assert.throws(
    () => parseStorageConfig(input as StorageConfigInput, 8 * GiB),
    (error) => {
      assert.ok(error instanceof ConfigError, String(error));
      assert.equal(error.field, field, error.message);
      assert.match(error.message, message);
      return true;
    },
  );
}

const l1 = { sizeBytes: MiB };

test("a misspelled field is named before the one that is missing because of it", () => {
  refused({ l1: { sizeByte: 1 } }, "l1.sizeByte", /unknown field l1\.sizeByte; .*did you mean "sizeBytes"\?/);
  refused({ l1, l2: { adapters: [{ type: "fs", base_pth: "/x" }] } }, "l2.adapters[0].base_pth", /unknown field base_pth; .*did you mean "base_path"\?/);
});

test("a refusal shows what came, also what JSON cannot say", () => {
  refused({ l1: { sizeBytes: NaN } }, "l1.sizeBytes", /got NaN$/);
  refused({ l1: { sizeBytes: Infinity } }, "l1.sizeBytes", /got Infinity$/);
  refused({ l1: { sizeBytes: 5n } }, "l1.sizeBytes", /got 5n$/);
  for (const field of ["loadDeadlineMs", "loadTimeoutMs", "storeDeadlineMs", "storeRetryDelayMs"]) refused({ l1, l2: { [field]: NaN } }, `l2.${field}`, /milliseconds, 0 or more, got NaN$/);
  refused({ l1: { ...l1, storeWaitMs: -Infinity } }, "l1.storeWaitMs", /got -Infinity$/);
  const ring: Record<string, unknown> = {};
  ring.ring = ring;
  refused({ l1: { sizeBytes: ring } }, "l1.sizeBytes", /got \[object Object\]$/);
});

test("what only the native core refused is refused with its field", () => {
  for (const alignBytes of [4097, 2048, 2 * GiB]) refused({ l1: { ...l1, alignBytes } }, "l1.alignBytes", new RegExp(`got ${alignBytes}$`));
  refused({ l1: { ...l1, alignBytes: 2 * MiB } }, "l1.alignBytes", /at most l1\.sizeBytes \(1048576\), got 2097152$/);
  for (const sharedName of ["a/b", ".", "..", "a\0b", "x".repeat(251)]) refused({ l1: { ...l1, sharedName } }, "l1.sharedName", /1 to 250 characters without '\/'/);
  for (const field of ["copyThreads", "fileThreads"]) for (const count of [0, 257, 1.5]) refused({ l1, engine: { [field]: count } }, `engine.${field}`, new RegExp(`from 1 to 256, got ${count}$`));
  assert.equal(parseStorageConfig({ l1: { ...l1, alignBytes: MiB, sharedName: "kv.cache-1" }, engine: { copyThreads: 256 } }, GiB).l1.alignBytes, MiB);
});

test("no share leaves a class of requests nothing", () => {
  for (const field of ["storeShare", "loadShare"]) refused({ l1: { ...l1, storeShare: 0, loadShare: 0, [field]: 1 } }, `l1.${field}`, /from 0 to 0\.9, got 1$/);
  refused({ l1: { ...l1, storeShare: 0.6, loadShare: 0.5 } }, "l1.storeShare", /must be at most 1, got 0\.6 \+ 0\.5/);
  assert.equal(parseStorageConfig({ l1: { ...l1, storeShare: 0.9, loadShare: 0 } }, GiB).l1.storeShare, 0.9);
});

test("two adapters on one directory are refused however the path is written", () => {
  const fs = (base_path: string) => ({ type: "fs", base_path });
  refused({ l1, l2: { adapters: [fs("/a/kv"), fs("/a/b/../kv/")] } }, "l2.adapters[1].base_path", /differ from that of l2\.adapters\[0\]/);
  refused({ l1, l2: { adapters: [{ type: "fault_inject", inner: fs("kv") }, fs(`${process.cwd()}/kv`)] } }, "l2.adapters[1].base_path", /l2\.adapters\[0\]\.inner/);
  refused({ l1, l2: { adapters: [fs("/a/kv"), { type: "fault_inject", inner: fs("/a//kv") }] } }, "l2.adapters[1].inner.base_path", /l2\.adapters\[0\]/);
  assert.equal(parseStorageConfig({ l1, l2: { adapters: [fs("/a/kv"), fs("/a/kv2")] } }, GiB).l2.adapters.length, 2);
});

test("a mock that memory cannot hold is refused by its field", () => {
  const mock = (max_size_gb: number) => ({ type: "mock", max_size_gb, mock_bandwidth_gb: 20 });
  refused({ l1, l2: { adapters: [mock(1e9)] } }, "l2.adapters[0].max_size_gb", /at most 6\.00 here \(memory limit 8\.00? GiB\), got 1000000000/);
  refused({ l1, l2: { adapters: [{ type: "fault_inject", inner: mock(7) }] } }, "l2.adapters[0].inner.max_size_gb", /got 7$/);
  assert.equal(parseStorageConfig({ l1, l2: { adapters: [mock(5)] } }, 8 * GiB).l2.adapters.length, 1);
});
