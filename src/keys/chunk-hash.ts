/**
 * Rolling chunk hashes, byte for byte those of LMCache's `blake3` algorithm: h(0) = seed, h(i) = blake3(h(i-1) || the tokens of chunk i as
 * big-endian u32). Only full chunks have a hash. The salt is no part of it: it is a field of the key.
 */
import type { NativeBinding } from "../native/binding.ts";

export type ChunkHasher = Pick<NativeBinding, "chunkHashes">;

/** blake3(int64be(0) || u32be(0)): what LMCache starts every chain from. */
export const chunkHashSeed: Uint8Array = Uint8Array.from(
  Buffer.from("7e3eff9ef7613a50340eb12677ee03b83ac759fcba9bb32705f07248d56d473b", "hex"),
);

export interface ChunkHashRange {
  /** Only chunks whose first token is at or after this are returned; earlier ones are hashed on the way. Default 0. */
  readonly startToken?: number;
  /** Hashing stops here. Default: all tokens. */
  readonly endToken?: number;
  /** Hash of what comes before the first token. Default: the seed. */
  readonly prefix?: Uint8Array;
}

/** 32 bytes per returned chunk. Tokens are u32; checkTokens makes them from anything else. */
export function chunkHashes(hasher: ChunkHasher, tokens: Uint32Array, chunkTokens: number, range: ChunkHashRange = {}): Uint8Array {
  const { startToken = 0, endToken = tokens.length, prefix = chunkHashSeed } = range;
  if (!Number.isInteger(chunkTokens) || chunkTokens < 1) throw new RangeError(`chunkTokens must be a positive integer, got ${chunkTokens}`);
  const hashes = hasher.chunkHashes(tokens.subarray(0, Math.max(0, endToken)), chunkTokens, prefix);
  const skippedChunks = Math.ceil(Math.max(0, startToken) / chunkTokens);
  return hashes.subarray(Math.min(hashes.byteLength, skippedChunks * 32));
}

/** Token ids as u32. Throws RangeError naming the first that is not an integer in 0..2^32-1: silently wrapped, it would name other content. */
export function checkTokens(tokens: ArrayLike<number>): Uint32Array {
  const out = new Uint32Array(tokens.length);
  for (let index = 0; index < tokens.length; index++) {
    out[index] = tokens[index];
    if (out[index] !== tokens[index]) throw new RangeError(`tokens[${index}] must be an integer in [0, 2^32), got ${tokens[index]}`);
  }
  return out;
}
