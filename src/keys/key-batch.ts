import { endianness } from "node:os";

import type { NamespaceTable } from "./namespace.ts";
import { checkObjectKey, type ObjectKey } from "./object-key.ts";

/**
 * Keys as they travel inside kvferry: one packed 48-byte record each, so that a request crosses into C++ as one typed array.
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 32 | chunk hash |
 * | 32 | 4 | namespace id (NamespaceTable of this process), little-endian u32 |
 * | 36 | 4 | kv rank |
 * | 40 | 4 | object group id |
 * | 44 | 4 | zero |
 */
export const keyRecordBytes = 48;
export const keyHashBytes = 32;
const wordsPerRecord = keyRecordBytes / 4;

if (endianness() !== "LE") throw new Error("kvferry supports little-endian hosts only");

export class KeyBatch {
  /** count x 48 bytes. Never written after construction. */
  readonly records: Uint8Array;
  readonly count: number;
  readonly #words: Uint32Array;

  /** `records` must start at a multiple of 4 bytes of its buffer and hold whole records. */
  constructor(records: Uint8Array) {
    if (records.byteLength % keyRecordBytes !== 0) throw new RangeError(`key records must be whole, got ${records.byteLength} bytes`);
    this.records = records;
    this.count = records.byteLength / keyRecordBytes;
    this.#words = new Uint32Array(records.buffer, records.byteOffset, records.byteLength / 4);
  }

  namespaceId(index: number): number {
    return this.#words[index * wordsPerRecord + 8];
  }

  kvRank(index: number): number {
    return this.#words[index * wordsPerRecord + 9];
  }

  objectGroupId(index: number): number {
    return this.#words[index * wordsPerRecord + 10];
  }

  /** A view of the 32 hash bytes. */
  chunkHash(index: number): Uint8Array {
    return this.records.subarray(index * keyRecordBytes, index * keyRecordBytes + keyHashBytes);
  }

  /** The key for people, spellings and policies that ask; never on a hot path. */
  objectKey(index: number, namespaces: NamespaceTable): ObjectKey {
    const namespace = namespaces.get(this.namespaceId(index));
    return {
      chunkHash: this.chunkHash(index).slice(),
      modelName: namespace.modelName,
      kvRank: this.kvRank(index),
      objectGroupId: this.objectGroupId(index),
      cacheSalt: namespace.cacheSalt,
    };
  }

  /** Records first..end-1 as a batch over the same memory. */
  slice(first: number, end: number): KeyBatch {
    return new KeyBatch(this.records.subarray(first * keyRecordBytes, end * keyRecordBytes));
  }

  /** The records at `indices`, copied, in that order. */
  pick(indices: ArrayLike<number>): KeyBatch {
    const records = new Uint8Array(indices.length * keyRecordBytes);
    for (let target = 0; target < indices.length; target++)
      records.set(this.records.subarray(indices[target] * keyRecordBytes, (indices[target] + 1) * keyRecordBytes), target * keyRecordBytes);
    return new KeyBatch(records);
  }
}

/** Packs keys that all have the image `fingerprint`. Throws RangeError on a key that breaks a rule or a hash that is not 32 bytes. */
export function packKeys(keys: readonly ObjectKey[], fingerprint: string, namespaces: NamespaceTable): KeyBatch {
  const records = new Uint8Array(keys.length * keyRecordBytes);
  const words = new Uint32Array(records.buffer);
  let lastKey: ObjectKey | undefined;
  let namespaceId = 0;
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index];
    checkObjectKey(key);
    if (key.chunkHash.byteLength !== keyHashBytes)
      throw new RangeError(`keys[${index}].chunkHash must have ${keyHashBytes} bytes, got ${key.chunkHash.byteLength}`);
    if (lastKey === undefined || key.modelName !== lastKey.modelName || key.cacheSalt !== lastKey.cacheSalt)
      namespaceId = namespaces.register({ modelName: key.modelName, cacheSalt: key.cacheSalt, fingerprint });
    lastKey = key;
    records.set(key.chunkHash, index * keyRecordBytes);
    words[index * wordsPerRecord + 8] = namespaceId;
    words[index * wordsPerRecord + 9] = key.kvRank;
    words[index * wordsPerRecord + 10] = key.objectGroupId;
  }
  return new KeyBatch(records);
}
