import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { KvLink } from "../../../src/demo/kv-link.ts";
import type { OpenModel } from "../../../src/demo/model-files.ts";
import type { KvSequence } from "../../../src/demo/paged-kv.ts";
import { continueText, newSequence, openShipped } from "./models.ts";

const chunkTokens = 32;

function scratch(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "kvferry-kv-link-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function withLink<T>(model: OpenModel, directory: string, sequence: KvSequence, body: (link: KvLink) => Promise<T>): Promise<T> {
  const link = await KvLink.open({ directory, model, pool: sequence.pool, chunkTokens });
  try {
    return await body(link);
  } finally {
    await link.close();
  }
}

/** Writes a text of 130 tokens, stores its four full chunks and returns what the writer knows. */
async function storeStory(model: OpenModel, directory: string): Promise<{ tokens: readonly number[]; digests: readonly string[]; sequence: KvSequence }> {
  const sequence = newSequence(model, { orderSeed: 1 });
  const { tokens } = continueText(model, sequence, model.tokenizer.encode("Once a storm"), 130);
  const records = await withLink(model, directory, sequence, async (link) => {
    const saved = await Promise.all([0, 1, 2, 3].map((index) => link.save(sequence, tokens, index)));
    assert.equal(link.l1UsedBytes(), 0, "what is on disk has left L1");
    return saved;
  });
  return { tokens, digests: records.map((record) => record?.digest ?? "not stored"), sequence };
}

function objectFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /^[0-9a-f]{32}\.[0-9a-f]{8}$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

test("four chunks go to disk and come back into other blocks, byte for byte", async (context) => {
  const model = openShipped();
  const directory = scratch(context);
  const { tokens, digests, sequence: first } = await storeStory(model, directory);
  const second = newSequence(model, { orderSeed: 2 });
  await withLink(model, directory, second, async (link) => {
    const restored = await link.restore(second, tokens);
    assert.equal(restored.tokens, 128);
    assert.deepEqual(restored.chunks.map((chunk) => chunk.digest), digests);
    for (const chunk of restored.chunks) assert.notDeepEqual(chunk.blocks, first.chunkBlocks(chunk.index, chunkTokens));
    assert.equal(link.l1UsedBytes(), 0);
  });
  assert.deepEqual(continueText(model, second, tokens, 160).tokens, continueText(model, newSequence(model), tokens, 160).tokens);
});

test("a text finds its own beginning only", async (context) => {
  const model = openShipped();
  const directory = scratch(context);
  const { tokens } = await storeStory(model, directory);
  const hits = async (text: readonly number[]): Promise<number> => {
    const sequence = newSequence(model, { orderSeed: 3 });
    return withLink(model, directory, sequence, async (link) => (await link.restore(sequence, text)).tokens);
  };
  assert.equal(await hits(tokens.slice(0, 70)), 64);
  assert.equal(await hits(tokens.with(40, tokens[40] + 1)), 32, "one token differs in the second chunk");
  assert.equal(await hits(tokens.slice(1)), 0);
  assert.equal(await hits(tokens.slice(0, 32)), 0, "the last token is computed even when its chunk is known");
  const otherWeights: OpenModel = { ...model, modelName: "tiny-llama/ferry-0000000000000000" };
  const sequence = newSequence(model);
  assert.equal(await withLink(otherWeights, directory, sequence, async (link) => (await link.restore(sequence, tokens)).tokens), 0);
});

test("one byte of one file changed: the prefix before it is served, and the text stays right", async (context) => {
  const model = openShipped();
  const directory = scratch(context);
  const { tokens, digests } = await storeStory(model, directory);
  const files = objectFiles(directory);
  assert.equal(files.length, 4);
  for (const file of files) {
    const intact = readFileSync(file);
    const changed = Buffer.from(intact);
    changed[changed.length - 1000] ^= 4;
    writeFileSync(file, changed);
    const second = newSequence(model, { orderSeed: 4 });
    const restored = await withLink(model, directory, second, (link) => link.restore(second, tokens));
    assert.ok(restored.chunks.length < 4, "the changed chunk must be a miss");
    restored.chunks.forEach((chunk, index) => assert.equal(chunk.digest, digests[index]));
    assert.deepEqual(continueText(model, second, tokens, 150).tokens, continueText(model, newSequence(model), tokens, 150).tokens);
    writeFileSync(file, intact);
  }
});
