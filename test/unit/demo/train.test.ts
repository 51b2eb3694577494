import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { SeededRandom } from "../../../src/base/random.ts";
import type { LlamaShape } from "../../../src/demo/checkpoint.ts";
import { Llama } from "../../../src/demo/llama.ts";
import { KvSequence, PagedKvPool } from "../../../src/demo/paged-kv.ts";
import { packageRoot } from "../../../src/native/load.ts";

type Parameters = Record<string, Float64Array>;
interface Network {
  allocateParameters(shape: LlamaShape): { flat: Float64Array; byName: Parameters };
  lossAndGradient(shape: LlamaShape, weights: Parameters, tokens: Int32Array, targets: Int32Array, sequenceLength: number, gradients?: Parameters): number;
}

const network = (await import(pathToFileURL(join(packageRoot(), "scripts/tiny-llama/network.mjs")).href)) as Network;
const shape: LlamaShape = { dim: 8, hiddenDim: 6, layerCount: 2, headCount: 4, kvHeadCount: 2, headSize: 2, vocabularySize: 11, contextLength: 16 };

test("the trainer's gradient is the slope of its loss, for every parameter", () => {
  const { weights, byName, tokens, targets } = randomProblem();
  const { flat: gradient, byName: gradientByName } = network.allocateParameters(shape);
  network.lossAndGradient(shape, byName, tokens, targets, 6, gradientByName);
  const step = 1e-5;
  for (let index = 0; index < weights.length; index++) {
    const kept = weights[index];
    weights[index] = kept + step;
    const above = network.lossAndGradient(shape, byName, tokens, targets, 6);
    weights[index] = kept - step;
    const below = network.lossAndGradient(shape, byName, tokens, targets, 6);
    weights[index] = kept;
    const slope = (above - below) / (2 * step);
    assert.ok(Math.abs(slope - gradient[index]) <= 1e-5 * (0.01 + Math.abs(slope)), `parameter ${index}: ${gradient[index]}, measured ${slope}`);
  }
});

test("the trainer and the reader are one model: the same weights give the same loss", () => {
  const { byName, tokens, targets } = randomProblem();
  const layers = (kind: string): Float32Array => Float32Array.from([0, 1].flatMap((layer) => [...byName[`${kind}.${layer}`]]));
  const embedding = Float32Array.from(byName.embedding);
  const weights = {
    embedding,
    attentionNorm: layers("attentionNorm"),
    query: layers("query"),
    key: layers("key"),
    value: layers("value"),
    output: layers("output"),
    ffnNorm: layers("ffnNorm"),
    gate: layers("gate"),
    down: layers("down"),
    up: layers("up"),
    finalNorm: Float32Array.from(byName.finalNorm),
    classifier: embedding,
  };
  const sequenceLength = 6;
  let loss = 0;
  for (let first = 0; first < tokens.length; first += sequenceLength) {
    const llama = new Llama({ shape, weights });
    const sequence = new KvSequence(new PagedKvPool(shape, { blockCount: 4, blockTokens: 4, orderSeed: 2 }));
    for (let t = first; t < first + sequenceLength; t++) {
      const logits = llama.forward(tokens[t], sequence);
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
      loss -= Math.log(Math.exp(logits[targets[t]]) / total) / tokens.length;
    }
  }
  assert.ok(Math.abs(loss - network.lossAndGradient(shape, byName, tokens, targets, sequenceLength)) < 1e-5);
});

function randomProblem(): { weights: Float64Array; byName: Parameters; tokens: Int32Array; targets: Int32Array } {
  const random = new SeededRandom(17);
  const { flat: weights, byName } = network.allocateParameters(shape);
  for (let index = 0; index < weights.length; index++) weights[index] = random.nextFloat() - 0.5;
  const draw = (): Int32Array => Int32Array.from({ length: 12 }, () => random.nextBelow(shape.vocabularySize));
  return { weights, byName, tokens: draw(), targets: draw() };
}
