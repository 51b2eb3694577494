import { checkTokens, chunkHashes, type ChunkHasher } from "./chunk-hash.ts";
import type { ObjectKey } from "./object-key.ts";
import { workerKvRank } from "./rank.ts";

export interface TokenKeyOptions {
  /** Whose weights the KV belongs to: KV of other weights is other KV, so let the name change with them. */
  readonly modelName: string;
  /** Keeps tenants apart; default "". */
  readonly cacheSalt?: string;
  /** Default: the only worker of its world. */
  readonly kvRank?: number;
  /** For engines with several KV cache groups; default 0. */
  readonly objectGroupId?: number;
}

/** One key per full chunk of `chunkTokens` tokens; each names its chunk and everything before it. `hasher` is a storage's `runtime.binding`. */
export function tokenKeys(hasher: ChunkHasher, tokens: ArrayLike<number>, chunkTokens: number, options: TokenKeyOptions): ObjectKey[] {
  const hashes = chunkHashes(hasher, checkTokens(tokens), chunkTokens);
  const { modelName, cacheSalt = "", kvRank = workerKvRank(1, 0), objectGroupId = 0 } = options;
  return Array.from({ length: hashes.byteLength / 32 }, (_, index) => ({ chunkHash: hashes.slice(index * 32, (index + 1) * 32), modelName, kvRank, objectGroupId, cacheSalt }));
}
