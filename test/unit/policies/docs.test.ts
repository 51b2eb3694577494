/** docs/policies.md shows the fixtures as they are, and its examples run. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { NamespaceTable } from "../../../src/keys/namespace.ts";
import { packageRoot } from "../../../src/native/load.ts";
import { evictionPolicies, prefetchPolicies, storePolicies } from "../../../src/policies/registry.ts";
import { keysOf } from "./support.ts";

const document = readFile(join(packageRoot(), "docs/policies.md"), "utf8");

/** Code blocks after `<!-- mark -->`. */
async function blocks(mark: RegExp): Promise<{ mark: string; code: string }[]> {
  const found = [...(await document).matchAll(/<!-- (.*?) -->\n```js\n(.*?)```/gs)];
  return found.filter(([, text]) => mark.test(text)).map(([, text, code]) => ({ mark: text, code }));
}

test("the examples in the document are the files that the tests run", async () => {
  const shown = await blocks(/^file: /);
  assert.equal(shown.length, 2);
  for (const { mark, code } of shown) assert.equal(code, await readFile(join(packageRoot(), mark.slice("file: ".length)), "utf8"), mark);
});

test("the example that registers a policy runs, and what it registers works", async (t) => {
  const [example, ...others] = await blocks(/^run$/);
  assert.equal(others.length, 0);
  const directory = await mkdtemp(join(tmpdir(), "kvferry-docs-"));
  t.after(() => rm(directory, { recursive: true }));
  const policies = new URL("../../../src/policies/index.js", import.meta.url).href;
  assert.ok(example.code.includes('from "kvferry"'));
  await writeFile(join(directory, "example.mjs"), example.code.replace('"kvferry"', JSON.stringify(policies)));
  await import(pathToFileURL(join(directory, "example.mjs")).href);
  const policy = prefetchPolicies.find("retain-head", "f").create({ namespaces: new NamespaceTable() });
  assert.equal(policy.name, "retain-head");
  assert.deepEqual([...policy.planL1Retention(keysOf([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]))], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
  assert.equal(policy.planLoad([{ windowChunks: -1 }], 2, [Uint8Array.of(1, 0)], new Map(), "prefix").hitChunks, 1);
});

test("the document lists every built-in name, and shows the true message", async () => {
  const text = await document;
  const builtIn = [["default", "skip_l1"], ["default", "retain"], ["LRU", "noop", "ARC", "FIFO", "IsolatedLRU"]];
  for (const name of builtIn.flat()) assert.ok(text.includes(`\`${name}\``), name);
  builtIn.forEach((names, index) => {
    const known = [storePolicies, prefetchPolicies, evictionPolicies][index].names();
    for (const name of names) assert.ok(known.includes(name), name);
  });
  assert.throws(() => storePolicies.find("skipl1", "f"), (error) => error instanceof Error && text.includes(error.message));
});
