/**
 * BLAKE2b (RFC 7693) without a key, with any digest length: Node's crypto has only the 64-byte form, and the length is part of the hash.
 * Used for the slot identities of LMCache's raw_block, a few per object, so BigInt is fast enough.
 */
const initial = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n, 0x510e527fade682d1n, 0x9b05688c2b3e6c1fn,
  0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];

const sigma = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
const blockBytes = 128;
const rounds = 12;
const mask64 = (1n << 64n) - 1n;

/** The digest of `bytes`, `digestBytes` (1..64) long. */
export function blake2b(bytes: Uint8Array, digestBytes: number): Uint8Array {
  const state = initial.slice();
  state[0] ^= 0x01010000n ^ BigInt(digestBytes);
  const blocks = Math.max(1, Math.ceil(bytes.length / blockBytes));
  for (let block = 0; block < blocks; block++) {
    const padded = new Uint8Array(blockBytes);
    padded.set(bytes.subarray(block * blockBytes, (block + 1) * blockBytes));
    const last = block === blocks - 1;
    compress(state, padded, BigInt(last ? bytes.length : (block + 1) * blockBytes), last);
  }
  const digest = new DataView(new ArrayBuffer(64));
  state.forEach((word, index) => digest.setBigUint64(index * 8, word, true));
  return new Uint8Array(digest.buffer, 0, digestBytes);
}

function compress(state: bigint[], block: Uint8Array, bytesSoFar: bigint, last: boolean): void {
  const view = new DataView(block.buffer);
  const message = Array.from({ length: 16 }, (_, index) => view.getBigUint64(index * 8, true));
  const v = [...state, ...initial];
  v[12] ^= bytesSoFar;
  if (last) v[14] ^= mask64;
  for (let round = 0; round < rounds; round++) {
    const order = sigma[round % sigma.length];
    for (let lane = 0; lane < 4; lane++) mix(v, lane, lane + 4, lane + 8, lane + 12, message[order[2 * lane]], message[order[2 * lane + 1]]);
    for (let lane = 0; lane < 4; lane++)
      mix(v, lane, ((lane + 1) & 3) + 4, ((lane + 2) & 3) + 8, ((lane + 3) & 3) + 12, message[order[8 + 2 * lane]], message[order[9 + 2 * lane]]);
  }
  for (let index = 0; index < 8; index++) state[index] ^= v[index] ^ v[index + 8];
}

function mix(v: bigint[], a: number, b: number, c: number, d: number, x: bigint, y: bigint): void {
  v[a] = (v[a] + v[b] + x) & mask64;
  v[d] = rotateRight(v[d] ^ v[a], 32n);
  v[c] = (v[c] + v[d]) & mask64;
  v[b] = rotateRight(v[b] ^ v[c], 24n);
  v[a] = (v[a] + v[b] + y) & mask64;
  v[d] = rotateRight(v[d] ^ v[a], 16n);
  v[c] = (v[c] + v[d]) & mask64;
  v[b] = rotateRight(v[b] ^ v[c], 63n);
}

function rotateRight(word: bigint, bits: bigint): bigint {
  return (word >> bits) | ((word << (64n - bits)) & mask64);
}
