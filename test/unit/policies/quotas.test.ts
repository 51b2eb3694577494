import assert from "node:assert/strict";
import { test } from "node:test";

import { ConfigError } from "../../../src/base/errors.ts";
import { QuotaTable, type QuotaStore } from "../../../src/policies/quotas.ts";

/** A store in memory that can refuse writes. */
class MemoryStore implements QuotaStore {
  readonly place = "memory";
  text: string | undefined;
  refuse = false;

  async read(): Promise<string | undefined> {
    return this.text;
  }

  async write(text: string): Promise<void> {
    if (this.refuse) throw new Error("disk full");
    this.text = text;
  }
}

test("a salt without a quota has the default, which is no limit unless configured", async () => {
  const unlimited = await QuotaTable.open();
  assert.equal(unlimited.get("alice"), Infinity);
  const limited = await QuotaTable.open({ defaultQuotaBytes: 1000 });
  assert.equal(limited.get("alice"), 1000);
  await limited.set("alice", 5);
  assert.deepEqual([limited.get("alice"), limited.get(""), limited.has(""), limited.has("alice")], [5, 1000, false, true]);
});

test("quotas survive a restart", async () => {
  const store = new MemoryStore();
  const before = await QuotaTable.open({ store });
  await Promise.all([before.set("bob", 7), before.set("", 0), before.set("__proto__", 3), before.delete("bob"), before.set("bob", 9)]);
  const after = await QuotaTable.open({ store });
  assert.deepEqual(after.list(), [
    { cacheSalt: "", quotaBytes: 0 },
    { cacheSalt: "__proto__", quotaBytes: 3 },
    { cacheSalt: "bob", quotaBytes: 9 },
  ]);
});

test("delete answers whether there was a quota", async () => {
  const table = await QuotaTable.open();
  await table.set("a", 1);
  assert.deepEqual([await table.delete("a"), await table.delete("a"), table.get("a")], [true, false, Infinity]);
});

test("a change that cannot be kept is refused and changes nothing; the next one works", async () => {
  const store = new MemoryStore();
  const table = await QuotaTable.open({ store });
  await table.set("a", 1);
  store.refuse = true;
  await assert.rejects(table.set("a", 2), /disk full/);
  await assert.rejects(table.delete("a"), /disk full/);
  assert.equal(table.get("a"), 1);
  store.refuse = false;
  await table.set("b", 2);
  assert.deepEqual((await QuotaTable.open({ store })).list(), [{ cacheSalt: "a", quotaBytes: 1 }, { cacheSalt: "b", quotaBytes: 2 }]);
});

test("a quota that is no number of bytes and a forbidden salt are refused", async () => {
  const table = await QuotaTable.open();
  for (const bytes of [-1, 1.5, NaN, Infinity]) await assert.rejects(table.set("a", bytes), /quota of salt "a" must be a whole number of bytes/);
  await assert.rejects(table.set("a/b", 1), /cacheSalt must not contain/);
  await assert.rejects(QuotaTable.open({ defaultQuotaBytes: -1 }), ConfigError);
});

test("quotas that cannot be read stop the start: to ignore them would lift every limit", async () => {
  const broken = ["{", "[]", "null", "{}", '{"format":"kvferry-quotas/2","quotas":{}}', '{"format":"kvferry-quotas/1","quotas":{"a":-1}}', '{"format":"kvferry-quotas/1","quotas":{"a@b":1}}'];
  for (const text of broken) {
    const store = new MemoryStore();
    store.text = text;
    await assert.rejects(QuotaTable.open({ store }), (error) => error instanceof ConfigError && error.message.startsWith("memory: "), text);
  }
});
