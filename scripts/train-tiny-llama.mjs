/**
 * Trains the small model of examples/tiny-llama from its own tales and writes it in llama2.c's checkpoint format.
 *
 *   node scripts/train-tiny-llama.mjs [--steps 2400] [--out examples/tiny-llama/model]
 *
 * No dependencies, one thread, one seed: the same Node release writes the same bytes (the sha256 is printed). It takes about
 * 13 minutes on one core of a small virtual machine.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { beginToken, encodeLine, trainVocabulary, vocabularyFile } from "./tiny-llama/bpe.mjs";
import { allocateParameters, lossAndGradient, parameterTable } from "./tiny-llama/network.mjs";
import { rotaryTable } from "./tiny-llama/kernels.mjs";

const modelFolder = join(dirname(fileURLToPath(import.meta.url)), "..", "examples", "tiny-llama", "model");
const { values } = parseArgs({ options: { steps: { type: "string", default: "2400" }, out: { type: "string", default: modelFolder } } });
const stepCount = Number(values.steps);
if (!Number.isInteger(stepCount) || stepCount < 1) throw new RangeError(`--steps must be a positive integer, got ${values.steps}`);

const shape = { dim: 64, hiddenDim: 96, layerCount: 3, headCount: 8, kvHeadCount: 4, vocabularySize: 384, contextLength: 256 };
const sequenceLength = 192;
const sequencesPerStep = 3;
const peakRate = 4e-3;
const warmUpSteps = 60;

const text = readFileSync(join(modelFolder, "tales.txt"), "utf8");
const tales = text.split("\n").filter((line) => line !== "");
const pieces = trainVocabulary(text, shape.vocabularySize);
const stories = tales.map((tale) => [beginToken, ...encodeLine(tale, pieces)]);
const random = mulberry32(20261122);
const { flat: weights, byName } = allocateParameters(shape);
initialize();
console.log(`${tales.length} tales, ${stories.flat().length} tokens, ${weights.length} parameters`);

const { flat: gradient, byName: gradientByName } = allocateParameters(shape);
const mean = new Float64Array(weights.length);
const variance = new Float64Array(weights.length);
let runningLoss = 0;
const startedMs = performance.now();
for (let step = 1; step <= stepCount; step++) {
  const { tokens, targets } = drawBatch();
  gradient.fill(0);
  const loss = lossAndGradient(shape, byName, tokens, targets, sequenceLength, gradientByName);
  updateWeights(step);
  runningLoss = step === 1 ? loss : runningLoss * 0.98 + loss * 0.02;
  if (step % 50 === 0 || step === stepCount)
    console.log(`step ${step}/${stepCount}  loss ${runningLoss.toFixed(3)}  ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
}
writeFileSync(join(values.out, "ferry.tok.bin"), vocabularyFile(pieces));
const checkpoint = checkpointFile();
writeFileSync(join(values.out, "ferry.bin"), checkpoint);
console.log(`ferry.bin: ${checkpoint.length} bytes, sha256 ${createHash("sha256").update(checkpoint).digest("hex")}`);

/** Each row of a batch starts with a whole tale, as every use of the model does, and is filled up with other tales. */
function drawBatch() {
  const tokens = new Int32Array(sequencesPerStep * sequenceLength);
  const targets = new Int32Array(tokens.length);
  for (let sequence = 0; sequence < sequencesPerStep; sequence++) {
    const line = [];
    while (line.length <= sequenceLength) line.push(...stories[Math.floor(random() * stories.length)]);
    tokens.set(line.slice(0, sequenceLength), sequence * sequenceLength);
    targets.set(line.slice(1, sequenceLength + 1), sequence * sequenceLength);
  }
  return { tokens, targets };
}

/** AdamW with a linear warm-up, a cosine fall, and the gradient's length held to 1. */
function updateWeights(step) {
  let squares = 0;
  for (let i = 0; i < gradient.length; i++) squares += gradient[i] * gradient[i];
  const clip = Math.min(1, 1 / Math.sqrt(squares));
  const progress = Math.max(0, (step - warmUpSteps) / Math.max(1, stepCount - warmUpSteps));
  const rate = step < warmUpSteps ? (peakRate * step) / warmUpSteps : peakRate * (0.02 + 0.49 * (1 + Math.cos(Math.PI * progress)));
  const meanCorrection = 1 - 0.9 ** step;
  const varianceCorrection = 1 - 0.99 ** step;
  for (let i = 0; i < weights.length; i++) {
    const g = gradient[i] * clip;
    mean[i] = 0.9 * mean[i] + 0.1 * g;
    variance[i] = 0.99 * variance[i] + 0.01 * g * g;
    weights[i] -= rate * (mean[i] / meanCorrection / (Math.sqrt(variance[i] / varianceCorrection) + 1e-8) + 0.02 * weights[i]);
  }
}

function initialize() {
  for (const { name, rows, columns } of parameterTable(shape)) {
    const target = byName[name];
    if (rows === 1) target.fill(1);
    else {
      const residualScale = /^(output|down)/.test(name) ? 1 / Math.sqrt(2 * shape.layerCount) : 1;
      const deviation = name === "embedding" ? 0.05 : residualScale / Math.sqrt(columns);
      for (let i = 0; i < target.length; i++) target[i] = normal() * deviation;
    }
  }
}

/** llama2.c version 0: seven int32, then float32 tensors, each kind for all layers; the rotary tables are part of the format. */
function checkpointFile() {
  const header = new Int32Array([
    shape.dim, shape.hiddenDim, shape.layerCount, shape.headCount, shape.kvHeadCount, shape.vocabularySize, shape.contextLength,
  ]);
  const parts = [Buffer.from(header.buffer)];
  const push = (array) => parts.push(Buffer.from(Float32Array.from(array).buffer));
  push(byName.embedding);
  for (const kind of ["attentionNorm", "query", "key", "value", "output", "ffnNorm", "gate", "down", "up"])
    for (let layer = 0; layer < shape.layerCount; layer++) push(byName[`${kind}.${layer}`]);
  push(byName.finalNorm);
  const { cosine, sine } = rotaryTable(shape.dim / shape.headCount, shape.contextLength);
  push(cosine);
  push(sine);
  return Buffer.concat(parts);
}

/** Uniform in [0, 1): mulberry32 (T. Ettinger), enough for drawing tales. */
function mulberry32(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function normal() {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
