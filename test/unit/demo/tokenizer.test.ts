import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { shippedModel } from "../../../src/demo/model-files.ts";
import { chooseToken } from "../../../src/demo/sampler.ts";
import { beginToken, Tokenizer, unknownToken } from "../../../src/demo/tokenizer.ts";
import { packageRoot } from "../../../src/native/load.ts";
import { eachModel, openShipped } from "./models.ts";

const tales = readFileSync(join(dirname(shippedModel().checkpointPath), "tales.txt"), "utf8").split("\n").filter((line) => line !== "");

interface BytePairs {
  trainVocabulary(text: string, size: number): string[];
  vocabularyFile(pieces: string[]): Buffer;
  encodeLine(line: string, pieces: string[]): number[];
}

test("encoding and decoding give the text back, on every tale", (context) => {
  eachModel(context, ({ tokenizer }) => {
    for (const tale of tales) assert.equal(tokenizer.decode(tokenizer.encode(tale)), tale);
  });
});

test("the vocabulary is what the trainer makes of the tales, byte for byte, and both encode alike", async () => {
  const pairs = (await import(pathToFileURL(join(packageRoot(), "scripts/tiny-llama/bpe.mjs")).href)) as BytePairs;
  const { tokenizer, tokenizerPath } = openShipped();
  const pieces = pairs.trainVocabulary(tales.join("\n"), tokenizer.size);
  assert.deepEqual(pairs.vocabularyFile(pieces), readFileSync(tokenizerPath));
  for (const tale of tales) assert.deepEqual(tokenizer.encode(tale), [beginToken, ...pairs.encodeLine(tale, pieces)]);
});

test("a character outside the vocabulary is the unknown token, or its bytes where there are byte tokens", (context) => {
  eachModel(context, ({ tokenizer, name }) => {
    const tokens = tokenizer.encode("é☃");
    if (name === "ferry") assert.deepEqual(tokens.slice(-2), [unknownToken, unknownToken]);
    else assert.equal(tokenizer.decode(tokens), "é☃");
  });
});

test("an empty prompt is the begin token alone", () => {
  assert.deepEqual(openShipped().tokenizer.encode(""), [beginToken]);
});

test("a tokenizer file that is too short is refused", () => {
  const file = readFileSync(shippedModel().tokenizerPath);
  assert.throws(() => new Tokenizer(file.subarray(0, 100), 384, "t.bin"), /t\.bin ends after \d+ tokens, the model has 384/);
  assert.throws(() => new Tokenizer(file, 385, "t.bin"), /ends after 384 tokens/);
});

test("a draw depends on seed and position alone, and follows the weights", () => {
  const logits = Float32Array.from([0, Math.log(3), -Infinity]);
  const draw = (position: number, seed: number): number => chooseToken(logits, position, { temperature: 1, seed });
  const counts = [0, 0, 0];
  for (let position = 0; position < 4000; position++) {
    assert.equal(draw(position, 7), draw(position, 7));
    counts[draw(position, 7)]++;
  }
  assert.equal(counts[2], 0);
  assert.ok(counts[1] > 2850 && counts[1] < 3150, `3 of 4 expected, got ${counts[1]} of 4000`);
  assert.notDeepEqual(
    Array.from({ length: 40 }, (_, position) => draw(position, 7)),
    Array.from({ length: 40 }, (_, position) => draw(position, 8)),
  );
  assert.equal(chooseToken(logits, 3, { temperature: 0, seed: 1 }), 1);
});
