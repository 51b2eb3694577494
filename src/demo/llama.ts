import type { Checkpoint, LlamaShape } from "./checkpoint.ts";
import type { KvSequence } from "./paged-kv.ts";

const normEpsilon = 1e-5;

/**
 * The forward pass of a Llama checkpoint, one token at a time, reading and writing K and V through a block table. Sums run in double
 * precision in a fixed order, so the same tokens give the same bits, wherever their blocks lie.
 */
export class Llama {
  readonly shape: LlamaShape;
  readonly #weights: Checkpoint["weights"];
  readonly #rotary: { readonly cosine: Float32Array; readonly sine: Float32Array };
  readonly #residual: Float32Array;
  readonly #normed: Float32Array;
  readonly #query: Float32Array;
  readonly #attended: Float32Array;
  readonly #projected: Float32Array;
  readonly #gate: Float32Array;
  readonly #up: Float32Array;
  readonly #scores: Float32Array;
  readonly #logits: Float32Array;

  constructor({ shape, weights }: Checkpoint) {
    this.shape = shape;
    this.#weights = weights;
    this.#rotary = rotaryTable(shape.headSize, shape.contextLength);
    this.#residual = new Float32Array(shape.dim);
    this.#normed = new Float32Array(shape.dim);
    this.#query = new Float32Array(shape.dim);
    this.#attended = new Float32Array(shape.dim);
    this.#projected = new Float32Array(shape.dim);
    this.#gate = new Float32Array(shape.hiddenDim);
    this.#up = new Float32Array(shape.hiddenDim);
    this.#scores = new Float32Array(shape.contextLength);
    this.#logits = new Float32Array(shape.vocabularySize);
  }

  /** Computes `tokens` behind what `sequence` holds. Returns the logits after the last one, valid until the next call. */
  prefill(tokens: ArrayLike<number>, sequence: KvSequence): Float32Array {
    for (let index = 0; index < tokens.length; index++) this.forward(tokens[index], sequence);
    return this.#logits;
  }

  /** Computes one token at position `sequence.length` and writes its K and V there. Returns the logits, valid until the next call. */
  forward(token: number, sequence: KvSequence): Float32Array {
    const { shape } = this;
    const w = this.#weights;
    const position = sequence.length;
    if (position >= shape.contextLength) throw new RangeError(`the model's context ends at ${shape.contextLength} tokens`);
    const { dim, hiddenDim } = shape;
    const kvDim = shape.kvHeadCount * shape.headSize;
    sequence.reserve(position + 1);
    const residual = this.#residual;
    residual.set(w.embedding.subarray(token * dim, (token + 1) * dim));

    for (let layer = 0; layer < shape.layerCount; layer++) {
      const cache = sequence.pool.layers[layer];
      const keyAt = sequence.keyOffset(position);
      const key = cache.subarray(keyAt, keyAt + kvDim);
      const value = cache.subarray(keyAt + sequence.pool.planeFloats, keyAt + sequence.pool.planeFloats + kvDim);
      normalize(this.#normed, residual, w.attentionNorm, layer * dim);
      multiply(this.#query, w.query, layer * dim * dim, this.#normed);
      multiply(key, w.key, layer * kvDim * dim, this.#normed);
      multiply(value, w.value, layer * kvDim * dim, this.#normed);
      this.#rotate(this.#query, position);
      this.#rotate(key, position);
      this.#attend(cache, sequence, position);
      multiply(this.#projected, w.output, layer * dim * dim, this.#attended);
      for (let i = 0; i < dim; i++) residual[i] += this.#projected[i];

      normalize(this.#normed, residual, w.ffnNorm, layer * dim);
      multiply(this.#gate, w.gate, layer * hiddenDim * dim, this.#normed);
      multiply(this.#up, w.up, layer * hiddenDim * dim, this.#normed);
      for (let i = 0; i < hiddenDim; i++) this.#gate[i] = (this.#gate[i] / (1 + Math.exp(-this.#gate[i]))) * this.#up[i];
      multiply(this.#projected, w.down, layer * dim * hiddenDim, this.#gate);
      for (let i = 0; i < dim; i++) residual[i] += this.#projected[i];
    }
    sequence.advanceTo(position + 1);
    normalize(this.#normed, residual, w.finalNorm, 0);
    multiply(this.#logits, w.classifier, 0, this.#normed);
    return this.#logits;
  }

  /** Attention of the token at `position` over itself and everything before it, block by block through the table. */
  #attend(cache: Float32Array, sequence: KvSequence, position: number): void {
    const { headCount, kvHeadCount, headSize } = this.shape;
    const { planeFloats } = sequence.pool;
    const scores = this.#scores;
    const inverseRoot = 1 / Math.sqrt(headSize);
    const offsets = Int32Array.from({ length: position + 1 }, (_, past) => sequence.keyOffset(past));
    this.#attended.fill(0);
    for (let head = 0; head < headCount; head++) {
      const queryAt = head * headSize;
      const headAt = Math.floor((head * kvHeadCount) / headCount) * headSize;
      let largest = -Infinity;
      for (let past = 0; past <= position; past++) {
        const at = offsets[past] + headAt;
        let dot = 0;
        for (let i = 0; i < headSize; i++) dot += this.#query[queryAt + i] * cache[at + i];
        scores[past] = dot * inverseRoot;
        if (scores[past] > largest) largest = scores[past];
      }
      let sum = 0;
      for (let past = 0; past <= position; past++) sum += scores[past] = Math.exp(scores[past] - largest);
      for (let past = 0; past <= position; past++) {
        const weight = scores[past] / sum;
        const at = offsets[past] + headAt + planeFloats;
        for (let i = 0; i < headSize; i++) this.#attended[queryAt + i] += weight * cache[at + i];
      }
    }
  }

  /** Rotary positions on neighbouring pairs, as llama2.c has them. */
  #rotate(heads: Float32Array, position: number): void {
    const { headSize } = this.shape;
    const half = headSize / 2;
    for (let i = 0; i < heads.length; i += 2) {
      const angle = position * half + (i % headSize) / 2;
      const cosine = this.#rotary.cosine[angle];
      const sine = this.#rotary.sine[angle];
      const x = heads[i];
      const y = heads[i + 1];
      heads[i] = x * cosine - y * sine;
      heads[i + 1] = x * sine + y * cosine;
    }
  }
}

function normalize(out: Float32Array, input: Float32Array, weight: Float32Array, weightAt: number): void {
  let squares = 0;
  for (let i = 0; i < input.length; i++) squares += input[i] * input[i];
  const scale = 1 / Math.sqrt(squares / input.length + normEpsilon);
  for (let i = 0; i < input.length; i++) out[i] = weight[weightAt + i] * (scale * input[i]);
}

/** out = matrix x input, for the matrix of out.length rows that starts at `matrixAt`. */
function multiply(out: Float32Array, matrix: Float32Array, matrixAt: number, input: Float32Array): void {
  const columns = input.length;
  for (let row = 0; row < out.length; row++) {
    const at = matrixAt + row * columns;
    let sum = 0;
    for (let column = 0; column < columns; column++) sum += matrix[at + column] * input[column];
    out[row] = sum;
  }
}

function rotaryTable(headSize: number, positions: number): { cosine: Float32Array; sine: Float32Array } {
  const half = headSize / 2;
  const cosine = new Float32Array(positions * half);
  const sine = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++)
    for (let pair = 0; pair < half; pair++) {
      const angle = position / 10000 ** ((2 * pair) / headSize);
      cosine[position * half + pair] = Math.cos(angle);
      sine[position * half + pair] = Math.sin(angle);
    }
  return { cosine, sine };
}
