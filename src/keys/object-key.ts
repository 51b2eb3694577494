/**
 * The object key, as LMCache 0.5.6 defines it (shared reference storage-core 1.1): five fields, all of them part of equality.
 */
export interface ObjectKey {
  /** Rolling hash of the chunk and everything before it. L1 and L2 want exactly 32 bytes; the spellings take any length. */
  readonly chunkHash: Uint8Array;
  /** No `@`. */
  readonly modelName: string;
  /** worldSize << 24 | globalRank << 16 | localWorldSize << 8 | localRank, unsigned. */
  readonly kvRank: number;
  /** 0 or more; engines with several KV cache groups store one object per group and chunk. */
  readonly objectGroupId: number;
  /** Tenant separation: at most 128 characters, none of `@ / \ NUL`. */
  readonly cacheSalt: string;
}

const saltCharactersMax = 128;

/** Throws a RangeError that names the field when `key` breaks a rule. */
export function checkObjectKey(key: ObjectKey): void {
  checkModelName(key.modelName);
  checkCacheSalt(key.cacheSalt);
  if (!Number.isInteger(key.kvRank) || key.kvRank < 0 || key.kvRank > 0xffffffff)
    throw new RangeError(`kvRank must be an integer in [0, 2^32), got ${key.kvRank}`);
  if (!Number.isInteger(key.objectGroupId) || key.objectGroupId < 0 || key.objectGroupId > 0xffffffff)
    throw new RangeError(`objectGroupId must be an integer in [0, 2^32), got ${key.objectGroupId}`);
}

export function checkModelName(modelName: string): void {
  if (modelName.includes("@")) throw new RangeError(`modelName must not contain "@", got ${JSON.stringify(modelName)}`);
}

export function checkCacheSalt(cacheSalt: string): void {
  if ([...cacheSalt].length > saltCharactersMax)
    throw new RangeError(`cacheSalt must have at most ${saltCharactersMax} characters, got ${[...cacheSalt].length}`);
  const forbidden = /[@/\\\0]/.exec(cacheSalt);
  if (forbidden !== null) throw new RangeError(`cacheSalt must not contain ${JSON.stringify(forbidden[0])}, got ${JSON.stringify(cacheSalt)}`);
}
