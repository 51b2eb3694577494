import { formatBytes } from "../../base/bytes.ts";
import type { EngineStats } from "../../native/binding.ts";
import type { RoomLimits } from "../object-room.ts";
import type { FsParts } from "./parts.ts";

export interface FsDescription {
  readonly name: string;
  readonly parts: FsParts;
  readonly limits: RoomLimits;
  readonly maxBytes: number;
  readonly policy: string;
  readonly engine: EngineStats;
  readonly directIo: { readonly used: boolean; readonly reason: string };
}

/** The banner's line: where, the limit that follows from the rules now, how bytes move and what was refused. */
export function describeFs({ name, parts, limits, maxBytes, policy, engine, directIo }: FsDescription): string {
  const { spec, basePath, freeSpace } = parts;
  const free = `${formatBytes(freeSpace.keptBytes)} of ${formatBytes(freeSpace.totalBytes)} stay free`;
  const rule = freeSpace.keptBytes > (freeSpace.totalBytes * spec.min_free_percent) / 100 ? `min_free_gb ${spec.min_free_gb}` : `min_free_percent ${spec.min_free_percent}`;
  const limit =
    limits.reason === "free_space"
      ? `at most ${formatBytes(Math.max(0, limits.capacityBytes))} of objects (${free}${limits.capacityBytes > 0 ? "" : `: ${rule} is more than is free`}${maxBytes === Infinity ? "" : `, before max_size_gb ${formatBytes(maxBytes)}`})`
      : `at most ${formatBytes(maxBytes)} of objects (max_size_gb; ${free})`;
  const count = spec.max_objects === undefined ? "" : `, at most ${spec.max_objects} objects`;
  const eviction = spec.eviction === undefined ? `${policy} when room is needed` : `${policy} from ${spec.eviction.trigger_watermark} of it, or when room is needed`;
  const moves = engine.fileEngine === "io_uring" ? "io_uring" : `thread pool (${engine.fileEngineReason || "as configured"})`;
  const direct = directIo.used ? "O_DIRECT" : `buffered (${directIo.reason || "as configured"})`;
  const ignored = [spec.relative_tmp_dir === undefined ? "" : "relative_tmp_dir", spec.read_ahead_size === undefined ? "" : "read_ahead_size"].filter(Boolean);
  const unused = ignored.length === 0 ? "" : `; not needed and not used: ${ignored.join(", ")}`;
  return `${name}: fs ${basePath}, ${limit}${count}, ${eviction}; ${moves}, ${direct}${spec.fsync ? ", fsync" : ""}${unused}`;
}
