/**
 * A Llama-shaped network (RMSNorm, rotary positions, grouped-query attention, SwiGLU, tied classifier) with its hand-written gradient.
 * All arrays are Float64Array: slower memory, but the gradient can then be checked against finite differences to many digits
 * (test/unit/demo/train.test.ts does), and V8 converts nothing in the inner loops.
 *
 * Matrices are row-major. A weight has one row per output. Rows of activations are tokens: sequence s, position t is row s x T + t.
 */
import { accumulateColumns, multiplyTransposed, rotate, transpose } from "./kernels.mjs";

const epsilon = 1e-5;

/** @typedef {{ dim: number, hiddenDim: number, layerCount: number, headCount: number, kvHeadCount: number, vocabularySize: number, contextLength: number }} Shape */

/** Names, row counts and column counts of the parameters; one flat array holds them in this order. */
export function parameterTable(shape) {
  const { dim, hiddenDim, layerCount, vocabularySize } = shape;
  const kvDim = (dim / shape.headCount) * shape.kvHeadCount;
  const table = [{ name: "embedding", rows: vocabularySize, columns: dim }];
  for (let layer = 0; layer < layerCount; layer++)
    table.push(
      { name: `attentionNorm.${layer}`, rows: 1, columns: dim },
      { name: `query.${layer}`, rows: dim, columns: dim },
      { name: `key.${layer}`, rows: kvDim, columns: dim },
      { name: `value.${layer}`, rows: kvDim, columns: dim },
      { name: `output.${layer}`, rows: dim, columns: dim },
      { name: `ffnNorm.${layer}`, rows: 1, columns: dim },
      { name: `gate.${layer}`, rows: hiddenDim, columns: dim },
      { name: `down.${layer}`, rows: dim, columns: hiddenDim },
      { name: `up.${layer}`, rows: hiddenDim, columns: dim },
    );
  table.push({ name: "finalNorm", rows: 1, columns: dim });
  return table;
}

/** Parameters (or gradients) by name: views of one flat array. */
export function allocateParameters(shape) {
  const table = parameterTable(shape);
  const flat = new Float64Array(table.reduce((sum, { rows, columns }) => sum + rows * columns, 0));
  const byName = {};
  let offset = 0;
  for (const { name, rows, columns } of table) {
    byName[name] = flat.subarray(offset, offset + rows * columns);
    offset += rows * columns;
  }
  return { flat, byName };
}

/** Mean cross-entropy (nats per token) of `targets`; adds its gradient to `gradients` when given. */
export function lossAndGradient(shape, weights, tokens, targets, sequenceLength, gradients) {
  const rows = tokens.length;
  const { dim, hiddenDim, layerCount, vocabularySize } = shape;
  const kvDim = (dim / shape.headCount) * shape.kvHeadCount;
  const residual = new Float64Array(rows * dim);
  for (let row = 0; row < rows; row++)
    residual.set(weights.embedding.subarray(tokens[row] * dim, (tokens[row] + 1) * dim), row * dim);

  const saved = [];
  for (let layer = 0; layer < layerCount; layer++) {
    const w = (name) => weights[`${name}.${layer}`];
    const attentionNorm = normalize(residual, w("attentionNorm"), rows, dim);
    const q = multiplyTransposed(attentionNorm.out, w("query"), rows, dim, dim);
    const k = multiplyTransposed(attentionNorm.out, w("key"), rows, kvDim, dim);
    const v = multiplyTransposed(attentionNorm.out, w("value"), rows, kvDim, dim);
    rotate(q, rows, dim, dim / shape.headCount, sequenceLength, 1);
    rotate(k, rows, kvDim, dim / shape.headCount, sequenceLength, 1);
    const attention = attend(shape, q, k, v, rows, sequenceLength);
    add(residual, multiplyTransposed(attention.out, w("output"), rows, dim, dim));
    const ffnNorm = normalize(residual, w("ffnNorm"), rows, dim);
    const gate = multiplyTransposed(ffnNorm.out, w("gate"), rows, hiddenDim, dim);
    const up = multiplyTransposed(ffnNorm.out, w("up"), rows, hiddenDim, dim);
    const hidden = new Float64Array(rows * hiddenDim);
    for (let i = 0; i < hidden.length; i++) hidden[i] = (gate[i] / (1 + Math.exp(-gate[i]))) * up[i];
    add(residual, multiplyTransposed(hidden, w("down"), rows, dim, hiddenDim));
    saved.push({ attentionNorm, q, k, v, attention, ffnNorm, gate, up, hidden });
  }
  const finalNorm = normalize(residual, weights.finalNorm, rows, dim);
  const logits = multiplyTransposed(finalNorm.out, weights.embedding, rows, vocabularySize, dim);
  const loss = softmaxLoss(logits, targets, vocabularySize);
  if (gradients === undefined) return loss;

  // Backwards, in the reverse order of the above. `logits` now holds the gradient of the loss by the logits.
  accumulateColumns(gradients.embedding, logits, finalNorm.out, rows, vocabularySize, dim);
  const flow = normalizeGradient(
    finalNorm,
    weights.finalNorm,
    gradients.finalNorm,
    multiplyTransposed(logits, transpose(weights.embedding, vocabularySize, dim), rows, dim, vocabularySize),
    rows,
    dim,
  );
  for (let layer = layerCount - 1; layer >= 0; layer--) {
    const w = (name) => weights[`${name}.${layer}`];
    const g = (name) => gradients[`${name}.${layer}`];
    const { attentionNorm, q, k, v, attention, ffnNorm, gate, up, hidden } = saved[layer];
    accumulateColumns(g("down"), flow, hidden, rows, dim, hiddenDim);
    const hiddenFlow = multiplyTransposed(flow, transpose(w("down"), dim, hiddenDim), rows, hiddenDim, dim);
    const gateFlow = new Float64Array(rows * hiddenDim);
    const upFlow = new Float64Array(rows * hiddenDim);
    for (let i = 0; i < hiddenFlow.length; i++) {
      const sigmoid = 1 / (1 + Math.exp(-gate[i]));
      upFlow[i] = hiddenFlow[i] * gate[i] * sigmoid;
      gateFlow[i] = hiddenFlow[i] * up[i] * sigmoid * (1 + gate[i] * (1 - sigmoid));
    }
    accumulateColumns(g("gate"), gateFlow, ffnNorm.out, rows, hiddenDim, dim);
    accumulateColumns(g("up"), upFlow, ffnNorm.out, rows, hiddenDim, dim);
    const ffnFlow = multiplyTransposed(gateFlow, transpose(w("gate"), hiddenDim, dim), rows, dim, hiddenDim);
    add(ffnFlow, multiplyTransposed(upFlow, transpose(w("up"), hiddenDim, dim), rows, dim, hiddenDim));
    add(flow, normalizeGradient(ffnNorm, w("ffnNorm"), g("ffnNorm"), ffnFlow, rows, dim));

    accumulateColumns(g("output"), flow, attention.out, rows, dim, dim);
    const attentionFlow = multiplyTransposed(flow, transpose(w("output"), dim, dim), rows, dim, dim);
    const { qFlow, kFlow, vFlow } = attendGradient(shape, q, k, v, attention, attentionFlow, rows, sequenceLength);
    rotate(qFlow, rows, dim, dim / shape.headCount, sequenceLength, -1);
    rotate(kFlow, rows, kvDim, dim / shape.headCount, sequenceLength, -1);
    accumulateColumns(g("query"), qFlow, attentionNorm.out, rows, dim, dim);
    accumulateColumns(g("key"), kFlow, attentionNorm.out, rows, kvDim, dim);
    accumulateColumns(g("value"), vFlow, attentionNorm.out, rows, kvDim, dim);
    const normFlow = multiplyTransposed(qFlow, transpose(w("query"), dim, dim), rows, dim, dim);
    add(normFlow, multiplyTransposed(kFlow, transpose(w("key"), kvDim, dim), rows, dim, kvDim));
    add(normFlow, multiplyTransposed(vFlow, transpose(w("value"), kvDim, dim), rows, dim, kvDim));
    add(flow, normalizeGradient(attentionNorm, w("attentionNorm"), g("attentionNorm"), normFlow, rows, dim));
  }
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < dim; i++) gradients.embedding[tokens[row] * dim + i] += flow[row * dim + i];
  return loss;
}

function add(target, source) {
  for (let i = 0; i < target.length; i++) target[i] += source[i];
}

/** RMSNorm. Keeps a copy of its input, because the residual stream goes on changing. */
function normalize(input, weight, rows, dim) {
  const kept = input.slice();
  const scale = new Float64Array(rows);
  const out = new Float64Array(rows * dim);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let i = 0; i < dim; i++) sum += kept[row * dim + i] ** 2;
    scale[row] = 1 / Math.sqrt(sum / dim + epsilon);
    for (let i = 0; i < dim; i++) out[row * dim + i] = weight[i] * kept[row * dim + i] * scale[row];
  }
  return { kept, scale, out };
}

function normalizeGradient({ kept, scale }, weight, weightGradient, outFlow, rows, dim) {
  const flow = new Float64Array(rows * dim);
  for (let row = 0; row < rows; row++) {
    let dot = 0;
    for (let i = 0; i < dim; i++) {
      const at = row * dim + i;
      weightGradient[i] += outFlow[at] * kept[at] * scale[row];
      dot += outFlow[at] * weight[i] * kept[at];
    }
    const correction = (dot * scale[row] ** 3) / dim;
    for (let i = 0; i < dim; i++) {
      const at = row * dim + i;
      flow[at] = outFlow[at] * weight[i] * scale[row] - kept[at] * correction;
    }
  }
  return flow;
}

/** Causal attention; probabilities are kept as [sequence][head][t][0..t] for the gradient. */
function attend(shape, q, k, v, rows, sequenceLength) {
  const { dim, headCount, kvHeadCount } = shape;
  const headSize = dim / headCount;
  const kvDim = headSize * kvHeadCount;
  const sequences = rows / sequenceLength;
  const out = new Float64Array(rows * dim);
  const probabilities = new Float64Array(sequences * headCount * sequenceLength * sequenceLength);
  const inverseRoot = 1 / Math.sqrt(headSize);
  for (let sequence = 0; sequence < sequences; sequence++)
    for (let head = 0; head < headCount; head++) {
      const kvOffset = Math.floor((head * kvHeadCount) / headCount) * headSize;
      for (let t = 0; t < sequenceLength; t++) {
        const qAt = (sequence * sequenceLength + t) * dim + head * headSize;
        const pAt = ((sequence * headCount + head) * sequenceLength + t) * sequenceLength;
        let largest = -Infinity;
        for (let past = 0; past <= t; past++) {
          const kAt = (sequence * sequenceLength + past) * kvDim + kvOffset;
          let dot = 0;
          for (let i = 0; i < headSize; i++) dot += q[qAt + i] * k[kAt + i];
          probabilities[pAt + past] = dot * inverseRoot;
          if (dot * inverseRoot > largest) largest = dot * inverseRoot;
        }
        let sum = 0;
        for (let past = 0; past <= t; past++) sum += probabilities[pAt + past] = Math.exp(probabilities[pAt + past] - largest);
        for (let past = 0; past <= t; past++) {
          const p = (probabilities[pAt + past] /= sum);
          const vAt = (sequence * sequenceLength + past) * kvDim + kvOffset;
          for (let i = 0; i < headSize; i++) out[qAt + i] += p * v[vAt + i];
        }
      }
    }
  return { out, probabilities };
}

function attendGradient(shape, q, k, v, attention, outFlow, rows, sequenceLength) {
  const { dim, headCount, kvHeadCount } = shape;
  const headSize = dim / headCount;
  const kvDim = headSize * kvHeadCount;
  const qFlow = new Float64Array(q.length);
  const kFlow = new Float64Array(k.length);
  const vFlow = new Float64Array(v.length);
  const scoreFlow = new Float64Array(sequenceLength);
  const inverseRoot = 1 / Math.sqrt(headSize);
  for (let sequence = 0; sequence < rows / sequenceLength; sequence++)
    for (let head = 0; head < headCount; head++) {
      const kvOffset = Math.floor((head * kvHeadCount) / headCount) * headSize;
      for (let t = 0; t < sequenceLength; t++) {
        const qAt = (sequence * sequenceLength + t) * dim + head * headSize;
        const pAt = ((sequence * headCount + head) * sequenceLength + t) * sequenceLength;
        let weighted = 0;
        for (let past = 0; past <= t; past++) {
          const vAt = (sequence * sequenceLength + past) * kvDim + kvOffset;
          const p = attention.probabilities[pAt + past];
          let dot = 0;
          for (let i = 0; i < headSize; i++) {
            dot += outFlow[qAt + i] * v[vAt + i];
            vFlow[vAt + i] += p * outFlow[qAt + i];
          }
          scoreFlow[past] = dot;
          weighted += p * dot;
        }
        for (let past = 0; past <= t; past++) {
          const kAt = (sequence * sequenceLength + past) * kvDim + kvOffset;
          const flow = attention.probabilities[pAt + past] * (scoreFlow[past] - weighted) * inverseRoot;
          for (let i = 0; i < headSize; i++) {
            qFlow[qAt + i] += flow * k[kAt + i];
            kFlow[kAt + i] += flow * q[qAt + i];
          }
        }
      }
    }
  return { qFlow, kFlow, vFlow };
}

/** Replaces logits by the gradient of the mean loss and returns the mean loss. A target below zero does not count. */
function softmaxLoss(logits, targets, vocabularySize) {
  let counted = 0;
  for (const target of targets) if (target >= 0) counted++;
  let loss = 0;
  for (let row = 0; row < targets.length; row++) {
    const at = row * vocabularySize;
    if (targets[row] < 0) {
      logits.fill(0, at, at + vocabularySize);
      continue;
    }
    let largest = -Infinity;
    for (let i = 0; i < vocabularySize; i++) if (logits[at + i] > largest) largest = logits[at + i];
    let sum = 0;
    for (let i = 0; i < vocabularySize; i++) sum += Math.exp(logits[at + i] - largest);
    loss += (Math.log(sum) + largest - logits[at + targets[row]]) / counted;
    for (let i = 0; i < vocabularySize; i++) logits[at + i] = Math.exp(logits[at + i] - largest) / sum / counted;
    logits[at + targets[row]] -= 1 / counted;
  }
  return loss;
}
