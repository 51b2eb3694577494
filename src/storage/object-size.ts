import { formatBytes } from "../base/bytes.ts";
import { CapacityError } from "../base/errors.ts";
import type { KeyGrid } from "../controllers/index.ts";
import { AdmissionClass, type L1Manager } from "../l1/index.ts";

/** Segments of the arena are at most this large, and an object lies in one. */
const segmentBytesMax = 2 ** 30;

/** Largest object that a write can ever get from an L1 of this capacity. */
export function largestObjectBytes(capacityBytes: number, loadShare: number): number {
  const shared = Math.floor((1 - loadShare) * capacityBytes);
  // Beyond a third of L1 the classes share one pool, and one object may take all of it.
  return Math.min(shared >= capacityBytes / 3 ? capacityBytes : shared, segmentBytesMax);
}

/** Refuses a chunk that can never fit, with the largest object that can. */
export function checkFits(l1: L1Manager, grid: KeyGrid, largestBytes: number): void {
  const footprints = grid.rowSizes.map((size) => l1.bytes.footprint(size));
  const chunkBytes = footprints.reduce((sum, bytes) => sum + bytes, 0);
  const largest = Math.max(...footprints);
  if (largest <= segmentBytesMax && chunkBytes <= l1.bytes.limit(AdmissionClass.store, largest)) return;
  throw new CapacityError(
    "KVFERRY_OBJECT_TOO_LARGE",
    `a chunk of ${formatBytes(chunkBytes)} (${grid.rowSizes.length} objects) cannot fit into this L1 of ${formatBytes(l1.bytes.capacityBytes)}; the largest object that fits is ${formatBytes(largestBytes)}`,
  );
}
