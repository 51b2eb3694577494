/**
 * Payloads that anybody can recompute: the bytes of a chunk follow from its hash id and the run's seed, so a load is checked word by
 * word against what must have been stored, without keeping a copy. A chunk's words come from 64 mixed bits of (id, seed) and their
 * position, so bytes that were shifted, swapped between chunks, cut or left over from another run are seen.
 */

/** Odd constants of the 32-bit finaliser by Chris Wellons ("lowbias32"); good avalanche at two multiplications a word. */
const multiplierA = 0x7feb352d;
const multiplierB = 0x846ca68b;
const golden = 0x9e3779b9;

function mix(value: number): number {
  let word = value | 0;
  word = Math.imul(word ^ (word >>> 16), multiplierA);
  word = Math.imul(word ^ (word >>> 15), multiplierB);
  return word ^ (word >>> 16);
}

/** Two mixed words of all 53 bits of id and seed: where the sequence starts, and what is added to each of its words. */
function chunkWords(id: number, seed: number): [start: number, tag: number] {
  let state = 0;
  for (const part of [seed >>> 0, Math.floor(seed / 2 ** 32), id >>> 0, Math.floor(id / 2 ** 32)]) state = mix((state ^ part) + golden);
  return [state, mix(state ^ mix(id + golden))];
}

/** Writes words first..first+target.length-1 of chunk `id` into `target`. */
export function fillPayload(target: Uint32Array, id: number, seed: number, first = 0): void {
  const [start, tag] = chunkWords(id, seed);
  let state = (start + Math.imul(first, golden)) | 0;
  for (let index = 0; index < target.length; index++) {
    // mix() by hand: the call is not inlined reliably, and this loop is most of what a replay computes.
    let word = Math.imul(state ^ (state >>> 16), multiplierA);
    word = Math.imul(word ^ (word >>> 15), multiplierB);
    target[index] = (word ^ (word >>> 16)) + tag;
    state = (state + golden) | 0;
  }
}

/** Bytes of `source` that are not what fillPayload writes there for chunk `id`; every byte is looked at. */
export function countWrongBytes(source: Uint32Array, id: number, seed: number, first = 0): number {
  const [start, tag] = chunkWords(id, seed);
  let state = (start + Math.imul(first, golden)) | 0;
  let wrong = 0;
  for (let index = 0; index < source.length; index++) {
    let word = Math.imul(state ^ (state >>> 16), multiplierA);
    word = Math.imul(word ^ (word >>> 15), multiplierB);
    const difference = ((word ^ (word >>> 16)) + tag) ^ source[index];
    if (difference !== 0) wrong += wrongBytesOf(difference);
    state = (state + golden) | 0;
  }
  return wrong;
}

function wrongBytesOf(difference: number): number {
  let bytes = 0;
  for (let shift = 0; shift < 32; shift += 8) if (((difference >>> shift) & 0xff) !== 0) bytes++;
  return bytes;
}

/**
 * The 32 bytes that stand for hash id `id` as a chunk hash. Id and seed lie in it in clear, so two ids or two seeds never meet; the
 * rest is mixed, so that what shards by hash sees an even spread. Written to `out` at `byteOffset`.
 */
export function chunkHashOf(id: number, seed: number, out: DataView, byteOffset = 0): void {
  let [state] = chunkWords(id, seed);
  for (let offset = 0; offset < 16; offset += 4) {
    out.setUint32(byteOffset + offset, state >>> 0, true);
    state = mix(state + golden);
  }
  out.setFloat64(byteOffset + 16, id, true);
  out.setFloat64(byteOffset + 24, seed, true);
}
