import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import * as kvferry from "../../src/index.ts";
import { packageRoot } from "../../src/native/load.ts";

const AsyncFunction = (async () => {}).constructor as new (...namesAndCode: string[]) => (...values: unknown[]) => Promise<void>;

test("the program in the README runs as it stands, and reads back what it wrote", async (context) => {
  const directory = mkdtempSync(join(tmpdir(), "kvferry-readme-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const block = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(packageRoot(), "README.md"), "utf8"))?.[1] ?? "";
  const imported = /^import \{ ([^}]+) \} from "kvferry";$/m.exec(block)?.[1].split(", ") ?? [];
  assert.deepEqual(imported, ["MiB", "openStorage"]);
  // The reader's disk is large; the limits that keep a small one from filling are not what this test is about.
  const code = block.replace(/^import .*$/m, "").replace('base_path: "/mnt/nvme/kv"', `base_path: ${JSON.stringify(directory)}, min_free_gb: 0, min_free_percent: 0, min_free_inodes_percent: 0`);
  assert.ok(code.includes(directory));

  const bytes = new Uint8Array(2 * kvferry.MiB).map((_, index) => index % 251);
  const keys = [{ chunkHash: new Uint8Array(32).fill(7), modelName: "a model", kvRank: 0, objectGroupId: 0, cacheSalt: "" }];
  const printed: unknown[][] = [];
  const names = [...imported, "keys", "bytes", "console"];
  const values = [...imported.map((name) => (kvferry as Record<string, unknown>)[name]), keys, bytes, { log: (...line: unknown[]) => printed.push(line) }];
  await new AsyncFunction(...names, code)(...values);
  assert.equal(printed.length, 1);
  const [hitCount, readBack] = printed[0];
  assert.equal(hitCount, 1);
  assert.deepEqual(readBack, bytes);
});
