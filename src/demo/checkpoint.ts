import { readFileSync } from "node:fs";

/** Geometry of a Llama checkpoint, in llama2.c's terms. */
export interface LlamaShape {
  readonly dim: number;
  readonly hiddenDim: number;
  readonly layerCount: number;
  readonly headCount: number;
  /** Fewer than headCount means grouped-query attention: several query heads share one K/V head. */
  readonly kvHeadCount: number;
  readonly headSize: number;
  readonly vocabularySize: number;
  readonly contextLength: number;
}

/** Views of one file; the matrices of all layers of a kind lie behind each other, row-major, one row per output. */
export interface LlamaWeights {
  readonly embedding: Float32Array;
  readonly attentionNorm: Float32Array;
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  readonly output: Float32Array;
  readonly ffnNorm: Float32Array;
  readonly gate: Float32Array;
  readonly down: Float32Array;
  readonly up: Float32Array;
  readonly finalNorm: Float32Array;
  readonly classifier: Float32Array;
}

export interface Checkpoint {
  readonly shape: LlamaShape;
  readonly weights: LlamaWeights;
}

const headerBytes = 7 * 4;

/** Reads a llama2.c version 0 checkpoint (float32, no magic). Throws RangeError when the file's length does not fit its header. */
export function readCheckpoint(path: string): Checkpoint {
  const file = readFileSync(path);
  return parseCheckpoint(new Uint8Array(file.buffer, file.byteOffset, file.byteLength), path);
}

export function parseCheckpoint(file: Uint8Array, name: string): Checkpoint {
  if (file.byteLength < headerBytes) throw new RangeError(`${name} has ${file.byteLength} bytes, a llama2.c checkpoint starts with ${headerBytes}`);
  const header = new DataView(file.buffer, file.byteOffset, headerBytes);
  const [dim, hiddenDim, layerCount, headCount, kvHeadCount, signedVocabulary, contextLength] = Array.from({ length: 7 }, (_, index) =>
    header.getInt32(index * 4, true),
  );
  // llama2.c marks a classifier of its own by a negative vocabulary size.
  const ownClassifier = signedVocabulary < 0;
  const vocabularySize = Math.abs(signedVocabulary);
  const plausible = [dim, hiddenDim, layerCount, headCount, kvHeadCount, vocabularySize, contextLength].every((size) => size > 0 && size <= 1 << 20);
  if (!plausible || dim % headCount !== 0 || headCount % kvHeadCount !== 0 || (dim / headCount) % 2 !== 0)
    throw new RangeError(`${name} is no llama2.c version 0 checkpoint: its header says dim ${dim}, ${headCount} heads, ${kvHeadCount} KV heads, ${layerCount} layers`);

  const headSize = dim / headCount;
  const shape: LlamaShape = { dim, hiddenDim, layerCount, headCount, kvHeadCount, headSize, vocabularySize, contextLength };
  const kvDim = headSize * kvHeadCount;
  const rotaryFloats = contextLength * headSize; // two tables of contextLength x headSize / 2, which the forward pass recomputes
  const sizes = {
    embedding: vocabularySize * dim,
    attentionNorm: layerCount * dim,
    query: layerCount * dim * dim,
    key: layerCount * kvDim * dim,
    value: layerCount * kvDim * dim,
    output: layerCount * dim * dim,
    ffnNorm: layerCount * dim,
    gate: layerCount * hiddenDim * dim,
    down: layerCount * dim * hiddenDim,
    up: layerCount * hiddenDim * dim,
    finalNorm: dim,
  };
  const expectedFloats = Object.values(sizes).reduce((sum, size) => sum + size, 0) + rotaryFloats + (ownClassifier ? vocabularySize * dim : 0);
  if (file.byteLength !== headerBytes + expectedFloats * 4)
    throw new RangeError(`${name} has ${file.byteLength} bytes, its header asks for ${headerBytes + expectedFloats * 4}`);

  // One copy gives every view its alignment, whatever the offset of the bytes we were given.
  const floats = new Float32Array(file.slice(headerBytes).buffer);
  let offset = 0;
  const take = (size: number): Float32Array => floats.subarray(offset, (offset += size));
  const weights = {
    embedding: take(sizes.embedding),
    attentionNorm: take(sizes.attentionNorm),
    query: take(sizes.query),
    key: take(sizes.key),
    value: take(sizes.value),
    output: take(sizes.output),
    ffnNorm: take(sizes.ffnNorm),
    gate: take(sizes.gate),
    down: take(sizes.down),
    up: take(sizes.up),
    finalNorm: take(sizes.finalNorm),
  };
  offset += rotaryFloats;
  return { shape, weights: { ...weights, classifier: ownClassifier ? take(vocabularySize * dim) : weights.embedding } };
}
