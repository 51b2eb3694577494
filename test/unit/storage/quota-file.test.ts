import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { ConfigError } from "../../../src/base/errors.ts";
import { QuotaTable } from "../../../src/policies/quotas.ts";
import { quotaFile } from "../../../src/storage/quota-file.ts";

test("quotas are read back from their file after a restart, and no temporary file stays", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "kvferry-quotas-"));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, "new", "quotas.json");
  const before = await QuotaTable.open({ store: quotaFile(path) });
  await before.set("alice", 1 << 30);
  await before.set("bob", 5);
  await before.delete("bob");
  const after = await QuotaTable.open({ store: quotaFile(path) });
  assert.deepEqual(after.list(), [{ cacheSalt: "alice", quotaBytes: 1 << 30 }]);
  assert.deepEqual(await readdir(join(directory, "new")), ["quotas.json"]);
});

test("a write that fails is an error, changes nothing and leaves no temporary file", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "kvferry-quotas-"));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, "quotas.json");
  const table = await QuotaTable.open({ store: quotaFile(path) });
  await table.set("alice", 1);
  await rm(path);
  await mkdir(path);
  await assert.rejects(table.set("alice", 2), { code: "EISDIR" });
  assert.equal(table.get("alice"), 1);
  assert.deepEqual(await readdir(directory), ["quotas.json"]);
});

test("a place that cannot be read is not taken for an empty one", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "kvferry-quotas-"));
  t.after(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, "blocker"), "");
  for (const path of [join(directory, "blocker", "quotas.json"), directory])
    await assert.rejects(QuotaTable.open({ store: quotaFile(path) }), (error) => error instanceof ConfigError && error.field === "quotas.path" && error.message.includes(path), path);
});
