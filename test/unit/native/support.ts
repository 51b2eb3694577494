import assert from "node:assert/strict";

import type { ArenaOptions, NativeArena, NativeEngine, SlotRefs } from "../../../src/native/binding.ts";
import { loadBinding } from "../../../src/native/load.ts";

export const KiB = 1024;
export const MiB = 1024 * KiB;

export const native = loadBinding();

export function openArena(options: ArenaOptions): NativeArena {
  return new native.Arena(options);
}

/** Takes exactly `count` slots. */
export function allocate(arena: NativeArena, sizeBytes: number, count: number): SlotRefs {
  const refs = new Uint32Array(2 * count);
  assert.equal(arena.allocate(sizeBytes, count, refs), count);
  return refs;
}

/** The references at these positions of a batch. */
export function pick(refs: SlotRefs, ...positions: number[]): SlotRefs {
  return Uint32Array.from(positions.flatMap((position) => [refs[2 * position], refs[2 * position + 1]]));
}

/** opId -> statuses of everything that waits in the ring. */
export function drainAll(engine: NativeEngine): Map<number, number[]> {
  const records = new Map<number, number[]>();
  const out = new Int32Array(65_536);
  for (;;) {
    const words = engine.drain(out);
    if (words === 0) return records;
    for (let offset = 0; offset < words; offset += 2 + out[offset + 1]) {
      records.set(out[offset] >>> 0, [...out.subarray(offset + 2, offset + 2 + out[offset + 1])]);
    }
  }
}

export function staleHandle(error: unknown): boolean {
  return error instanceof RangeError && (error as RangeError & { code?: string }).code === "KVFERRY_STALE_HANDLE";
}

/** Values that no argument wants, and a few that some want. */
export function garbage(): unknown[] {
  const detached = new Uint32Array(8);
  structuredClone(detached, { transfer: [detached.buffer] });
  return [
    undefined,
    null,
    true,
    -1,
    0,
    1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 32,
    2 ** 53,
    2n ** 64n,
    "",
    "refs",
    Symbol("s"),
    {},
    [],
    [1, 2],
    () => 1,
    new Proxy({}, {}),
    new Date(),
    detached,
    new Uint32Array(0),
    new Uint32Array(3),
    new Uint32Array([4_000_000_000, 1]),
    new Uint32Array(new SharedArrayBuffer(64)),
    new Uint8Array(5),
    new Int32Array(4),
    new Float64Array(2),
    new BigUint64Array(2),
    new DataView(new ArrayBuffer(8)),
    new ArrayBuffer(8),
    Object.create(native.Arena.prototype as object),
    native.Arena,
  ];
}

/** A seeded choice of garbage arguments; the same seed gives the same call. */
export function garbageCall(seed: number, most: number): unknown[] {
  const values = garbage();
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  const next = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) >>> 8;
  return Array.from({ length: next() % (most + 1) }, () => values[next() % values.length]);
}
