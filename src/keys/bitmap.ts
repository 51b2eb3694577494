/**
 * Rows of cells, one byte per cell (1 or 0), index 0 first. Bytes and not bits: planning looks at single cells, and a request has few
 * thousand of them.
 */
export type Cells = Uint8Array;

/** `count` cells whose first `ones` are set. */
export function leadingCells(count: number, ones: number): Cells {
  return new Uint8Array(count).fill(1, 0, Math.max(0, ones));
}

export function countOnes(cells: Cells): number {
  let ones = 0;
  for (let index = 0; index < cells.length; index++) ones += cells[index];
  return ones;
}

/** How many cells from the first on are 1. */
export function leadingOnes(cells: Cells): number {
  const zero = cells.indexOf(0);
  return zero === -1 ? cells.length : zero;
}

/** How many cells from the first on are 0. */
export function leadingZeros(cells: Cells): number {
  const one = cells.indexOf(1);
  return one === -1 ? cells.length : one;
}

/** Index of the last 1, or -1. */
export function highestOne(cells: Cells): number {
  return cells.lastIndexOf(1);
}

/** Cells set in both; as long as the shorter. */
export function andCells(a: Cells, b: Cells): Cells {
  const out = a.slice(0, b.length);
  for (let index = 0; index < out.length; index++) out[index] &= b[index];
  return out;
}

/** Cells set in either; as long as the shorter. */
export function orCells(a: Cells, b: Cells): Cells {
  const out = a.slice(0, b.length);
  for (let index = 0; index < out.length; index++) out[index] |= b[index];
  return out;
}

export function notCells(cells: Cells): Cells {
  return cells.map((cell) => 1 - cell);
}

/** Indices of the ones, ascending. */
export function indicesOfOnes(cells: Cells): Uint32Array {
  const indices = new Uint32Array(countOnes(cells));
  let count = 0;
  for (let index = 0; index < cells.length; index++) if (cells[index] === 1) indices[count++] = index;
  return indices;
}

/** Elements of `list` at the ones. */
export function gatherAtOnes<T>(cells: Cells, list: readonly T[]): T[] {
  return list.filter((_, index) => cells[index] === 1);
}

/** A copy with first..end-1 set; what lies outside is ignored. */
export function withRangeSet(cells: Cells, first: number, end: number): Cells {
  const out = cells.slice();
  if (end > first) out.fill(1, Math.max(0, first), Math.max(0, end));
  return out;
}
