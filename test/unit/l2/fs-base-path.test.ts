import assert from "node:assert/strict";
import { mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { MiB } from "../../../src/base/bytes.ts";
import { AdapterError } from "../../../src/base/errors.ts";
import { makeDirectory } from "../../../src/base/make-directory.ts";
import { openStorage } from "../../../src/storage/index.ts";

const open = (base_path: string) => openStorage({ l1: { sizeBytes: MiB, evictionPolicy: "noop" }, l2: { adapters: [{ type: "fs", base_path, min_free_gb: 0, min_free_percent: 0 }] } });

test("a base_path that no directory can be made at is refused at once, by its field", { timeout: 20_000 }, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "kvferry-base-path-"));
  t.after(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, "file"), "");
  await symlink("nowhere", join(directory, "dangling"));
  const places = ["/proc/nope", "/proc/nope/deeper/still", join(directory, "file"), join(directory, "file", "below"), join(directory, "dangling"), join(directory, "x".repeat(300)), join(directory, "a\0b")];
  for (const place of places) await assert.rejects(open(place), (error) => error instanceof AdapterError && error.message.includes("base_path"), JSON.stringify(place));
});

test("missing parents are made, also by two at the same time", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "kvferry-base-path-"));
  t.after(() => rm(directory, { recursive: true }));
  const deep = join(directory, "a", "b", "c");
  await Promise.all([makeDirectory(deep), makeDirectory(deep), makeDirectory(join(deep, "d"))]);
  assert.equal((await stat(deep)).mode & 0o777, 0o700);
  await (await open(join(directory, "new", "kv"))).close();
});
