/** docs/adapters.md shows the example as it is, its test runs, and it names every field of every adapter. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { l2AdapterTypes, parseAdapterFlag } from "../../../src/l2/registry.ts";
import { packageRoot } from "../../../src/native/load.ts";
import * as testing from "../../../src/testing.ts";

const document = readFile(join(packageRoot(), "docs/adapters.md"), "utf8");

async function block(mark: string): Promise<string> {
  const found = new RegExp(`<!-- ${mark} -->\\n\`\`\`js\\n(.*?)\`\`\``, "s").exec(await document);
  assert.ok(found !== null, `no block is marked ${mark}`);
  return found[1];
}

test("the example in the document is the file that runs under conformance", async () => {
  const path = "examples/l2-plugin/memory-adapter.mjs";
  assert.equal(await block(`file: ${path}`), await readFile(join(packageRoot(), path), "utf8"));
});

test("the suite in the document registers its tests, and the first of them passes", async () => {
  const code = (await block("test")).replace(/^import .*$/gm, "").replace('"examples/', `"${packageRoot()}/examples/`);
  const registered: [string, () => Promise<void>][] = [];
  const collect = (name: string, body: () => Promise<void>): void => void registered.push([name, body]);
  const run = new Function("test", "openL2Adapter", "parseAdapterSpec", "testL2Adapter", code) as (...names: unknown[]) => void;
  run(collect, testing.openL2Adapter, testing.parseAdapterSpec, testing.testL2Adapter);
  assert.ok(registered.length >= 20, `${registered.length} tests`);
  assert.match(registered[0][0], /^memory /);
  await registered[0][1]();
});

test("every field of every adapter is in the document", async () => {
  const words = await document;
  for (const type of l2AdapterTypes()) {
    assert.ok(words.includes(`\`${type.type}\``), type.type);
    const { properties } = type.jsonSchema as { properties: Record<string, { properties?: Record<string, unknown> }> };
    for (const [field, schema] of Object.entries(properties)) {
      assert.ok(words.includes(`\`${field}\``), `${type.type}.${field}`);
      for (const inner of Object.keys(schema.properties ?? {})) assert.ok(words.includes(`\`${inner}\``) || words.includes(`.${inner}\``), `${type.type}.${field}.${inner}`);
    }
  }
});

test("the message in the document is the true one", async () => {
  const words = await document;
  assert.throws(
    () => parseAdapterFlag('{"type":"mock","max_size_gb":"1","mock_bandwidth_gb":1}', 1),
    (error) => error instanceof Error && words.includes(`\`${error.message}\``),
  );
});
