import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { parseCheckpoint } from "../../../src/demo/checkpoint.ts";
import { findModel, openModel, shippedModel, type OpenModel } from "../../../src/demo/model-files.ts";
import { KvSequence, PagedKvPool } from "../../../src/demo/paged-kv.ts";
import { continueText, eachModel, newSequence, openShipped, storiesPath } from "./models.ts";

const chunkTokens = 16;

/** What llama2.c's own test (test_all.py at 350e04fe) expects of 200 greedy steps from the begin token. */
const goldenStory = `Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. She said, "I want to play with your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she`;

test("stories260K writes the text that llama2.c publishes for it", (context) => {
  if (!existsSync(storiesPath)) {
    context.skip(`there is no ${storiesPath}; name the file in KVFERRY_MODEL`);
    return;
  }
  const model = openModel(findModel(storiesPath));
  const { tokens } = continueText(model, newSequence(model), model.tokenizer.encode(""), 201);
  assert.equal(model.tokenizer.decode(tokens), goldenStory);
});

test("where the blocks lie changes no bit: paged equals one contiguous block", (context) => {
  eachModel(context, (model) => {
    const prompt = model.tokenizer.encode("The captain");
    const contiguous = continueText(model, newSequence(model, { blockTokens: model.checkpoint.shape.contextLength, blockCount: 1 }), prompt, 120);
    for (const orderSeed of [1, 2, 3]) assertSameBits(continueText(model, newSequence(model, { orderSeed }), prompt, 120), contiguous);
  });
});

test("a chunk moved by its image into other blocks of another pool goes on with the same bits", (context) => {
  eachModel(context, (model) => {
    const { tokens } = continueText(model, newSequence(model), model.tokenizer.encode("A boy"), 80);
    const first = newSequence(model, { orderSeed: 5 });
    const uninterrupted = continueText(model, first, tokens, 150);
    const second = restored(model, first, 4, 6);
    assert.notDeepEqual(second.blockTable.slice(0, 4), first.blockTable.slice(0, 4), "the blocks must differ for this test to mean anything");
    assertSameBits(continueText(model, second, tokens, 150), uninterrupted);
  });
});

// Stories of the two tests below: tokens are a weak witness. Attention does not care about the order of its past and rounding hides
// small damage, so a store that swapped two chunks or lost one bit would still tell the same story for a while. Bytes must be compared.

test("two whole chunks swapped: the tokens stay the same, the digests do not", () => {
  const model = openShipped();
  const { tokens } = continueText(model, newSequence(model), model.tokenizer.encode("The ferry"), 81);
  const intact = newSequence(model, { orderSeed: 1 });
  const expected = continueText(model, intact, tokens, 110).tokens;
  const swapped = restored(model, intact, 5, 2, [0, 2, 1, 3, 4]);
  assert.deepEqual(continueText(model, swapped, tokens, 110).tokens, expected);
  const digests = (sequence: KvSequence): string[] => [0, 1, 2, 3, 4].map((chunk) => sequence.pool.chunkDigest(sequence.chunkBlocks(chunk, chunkTokens)));
  assert.notDeepEqual(digests(swapped), digests(intact));
});

test("one mantissa bit flipped: the tokens stay the same, the digest does not", () => {
  const model = openShipped();
  const { tokens } = continueText(model, newSequence(model), model.tokenizer.encode("The ferry"), 81);
  const intact = newSequence(model, { orderSeed: 1 });
  const expected = continueText(model, intact, tokens, 110).tokens;
  const flipped = restored(model, intact, 5, 2);
  const bits = new Uint32Array(flipped.pool.layers[1].buffer);
  bits[flipped.keyOffset(20)] ^= 1;
  assert.deepEqual(continueText(model, flipped, tokens, 110).tokens, expected);
  const digest = (sequence: KvSequence): string => sequence.pool.chunkDigest(sequence.chunkBlocks(1, chunkTokens));
  assert.notEqual(digest(flipped), digest(intact));
});

test("K of one layer replaced by noise changes the text: the cache is really read", () => {
  const model = openShipped();
  const { tokens } = continueText(model, newSequence(model), model.tokenizer.encode("The ferry"), 81);
  const intact = newSequence(model, { orderSeed: 1 });
  const expected = continueText(model, intact, tokens, 140).tokens;
  const damaged = restored(model, intact, 5, 2);
  damaged.pool.layers[1].forEach((value, index, layer) => (layer[index] = value + (index % 7) - 3));
  assert.notDeepEqual(continueText(model, damaged, tokens, 140).tokens, expected);
});

test("the shipped model is the one the trainer's README names", () => {
  const digest = createHash("sha256").update(readFileSync(shippedModel().checkpointPath)).digest("hex");
  const readme = readFileSync(new URL(`file://${shippedModel().checkpointPath}/../README.md`), "utf8");
  assert.ok(readme.includes(digest), `model/README.md does not name ${digest}`);
});

test("the context has an end, and the pool too", () => {
  const model = openShipped();
  const { contextLength } = model.checkpoint.shape;
  const full = newSequence(model);
  full.reserve(contextLength);
  full.advanceTo(contextLength);
  assert.throws(() => continueText(model, full, Array.from({ length: contextLength + 1 }, () => 5), contextLength + 2), /context ends at 256/);
  assert.throws(() => newSequence(model, { blockCount: 2 }).reserve(33), /all 2 KV blocks are in use/);
  assert.throws(() => newSequence(model).advanceTo(1), RangeError);
});

test("released blocks return to the pool", () => {
  const model = openShipped();
  const sequence = newSequence(model, { blockCount: 8 });
  sequence.reserve(100);
  assert.equal(sequence.pool.freeCount, 1);
  sequence.release();
  assert.equal(sequence.pool.freeCount, 8);
  assert.equal(sequence.length, 0);
});

test("a broken checkpoint is refused in words", () => {
  const file = readFileSync(shippedModel().checkpointPath);
  assert.throws(() => parseCheckpoint(file.subarray(0, 10), "a.bin"), /a\.bin has 10 bytes/);
  assert.throws(() => parseCheckpoint(file.subarray(0, file.length - 4), "a.bin"), /its header asks for/);
  assert.throws(() => parseCheckpoint(Buffer.from("ak42 and so on, not a model at all"), "a.bin"), /no llama2\.c version 0 checkpoint/);
  assert.throws(() => findModel("/nonexistent/model.bin"), /no model at/);
});

/** A new sequence that holds the first chunks of `source`, moved image by image in the given order, as if through a store. */
function restored(model: OpenModel, source: KvSequence, chunks: number, orderSeed: number, order?: readonly number[]): KvSequence {
  const target = newSequence(model, { orderSeed });
  target.reserve(chunks * chunkTokens);
  for (let chunk = 0; chunk < chunks; chunk++)
    placeImage(target.pool, target.chunkBlocks(chunk, chunkTokens), source.pool.chunkImage(source.chunkBlocks(order?.[chunk] ?? chunk, chunkTokens)));
  target.advanceTo(chunks * chunkTokens);
  return target;
}

/** The inverse of chunkImage. */
function placeImage(pool: PagedKvPool, blocks: readonly number[], image: Uint8Array): void {
  const floats = new Float32Array(image.buffer);
  let source = 0;
  for (let plane = 0; plane < 2; plane++)
    for (const layer of pool.layers)
      for (const block of blocks) {
        layer.set(floats.subarray(source, source + pool.planeFloats), block * pool.blockFloats + plane * pool.planeFloats);
        source += pool.planeFloats;
      }
}

function assertSameBits(actual: { tokens: readonly number[]; logits: readonly Float32Array[] }, expected: typeof actual): void {
  assert.deepEqual(actual.tokens, expected.tokens);
  assert.equal(actual.logits.length, expected.logits.length);
  actual.logits.forEach((logits, step) => assert.deepEqual(new Uint32Array(logits.buffer), new Uint32Array(expected.logits[step].buffer), `step ${step}`));
}
