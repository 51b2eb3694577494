/**
 * Which prefix lengths a set of found cells can serve. A row with window w (w <= 0: whole prefix) serves length L when its last min(w, L)
 * chunks up to L are there; a prefix is servable when every row serves it. With windows a longer prefix may be servable where a shorter
 * one is not.
 */
import { highestOne, type Cells } from "../../keys/bitmap.ts";

export interface Fold {
  /** servable[L - 1] = 1 when a prefix of L chunks can be served. */
  readonly servable: Cells;
  /** The longest servable prefix, in chunks. */
  readonly hitChunks: number;
  /** Per row the cells that the hit needs: the last min(window, hit) chunks. */
  readonly needed: readonly Cells[];
}

/** Folds `rows` (each of `columns` cells). No rows serve nothing. */
export function foldRows(rows: readonly Cells[], windows: readonly number[], columns: number): Fold {
  const servable = new Uint8Array(columns).fill(rows.length > 0 ? 1 : 0);
  rows.forEach((row, rowIndex) => markServable(row, windows[rowIndex], servable));
  const hitChunks = highestOne(servable) + 1;
  const needed = windows.map((window) => {
    const first = window > 0 ? Math.max(0, hitChunks - window) : 0;
    return new Uint8Array(columns).fill(1, first, hitChunks);
  });
  return { servable, hitChunks, needed: needed.slice(0, rows.length) };
}

/** Clears in `servable` every length that this row cannot serve. */
function markServable(row: Cells, window: number, servable: Uint8Array): void {
  let runLength = 0;
  for (let column = 0; column < servable.length; column++) {
    runLength = row[column] === 1 ? runLength + 1 : 0;
    const wanted = window > 0 ? Math.min(window, column + 1) : column + 1;
    if (runLength < wanted) servable[column] = 0;
  }
}

/** Columns that every row has, which is what a "full" request counts as hit. */
export function commonColumns(rows: readonly Cells[], columns: number): Cells {
  const common = new Uint8Array(columns).fill(rows.length > 0 ? 1 : 0);
  for (const row of rows) for (let column = 0; column < columns; column++) common[column] &= row[column];
  return common;
}
