import type { AdapterContext } from "../contract.ts";
import { type EvictionSpec, gibToBytes } from "../spec.ts";
import type { Marker } from "./directory.ts";
import type { FreeSpace } from "./free-space.ts";
import type { OwnerLock } from "./owner-lock.ts";

export interface FsSpec {
  readonly base_path: string;
  readonly relative_tmp_dir?: string;
  readonly read_ahead_size?: number;
  readonly use_odirect?: boolean;
  readonly fsync: boolean;
  readonly max_size_gb?: number;
  readonly max_capacity_gb?: number;
  readonly max_objects?: number;
  readonly min_free_gb: number;
  readonly min_free_percent: number;
  readonly min_free_inodes_percent: number;
  readonly eviction?: EvictionSpec;
}

/** What the parts of one fs adapter share: made when it is opened. */
export interface FsParts {
  readonly spec: FsSpec;
  readonly basePath: string;
  readonly marker: Marker;
  readonly lock: OwnerLock;
  readonly freeSpace: FreeSpace;
  readonly context: AdapterContext;
}

/** Most bytes of object files; Infinity when only the free space limits. */
export function maxBytesOf(spec: FsSpec): number {
  const gib = spec.max_size_gb ?? spec.max_capacity_gb ?? 0;
  return gib === 0 ? Infinity : gibToBytes(gib);
}
