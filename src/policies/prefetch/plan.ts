/** The planning that `default` and `retain` share: what is needed, and which tier gives which cell. */
import type { Cells } from "../../keys/bitmap.ts";
import { leadingOnes } from "../../keys/bitmap.ts";
import type { FoundRows, LoadPlan, PrefetchRow } from "../contract.ts";
import { commonColumns, foldRows } from "./fold.ts";

export interface SourcePlan {
  /** Per source, in the given order, the cells it gives; a cell is given by the first source that has it. */
  readonly bySource: readonly FoundRows[];
  readonly hitChunks: number;
}

/** Plans over one L1 and adapters in ascending index. Throws RangeError when the rows do not fit together. */
export function planLoad(
  rows: readonly PrefetchRow[],
  columns: number,
  l1Found: FoundRows,
  l2Found: ReadonlyMap<number, FoundRows>,
  fetching: "prefix" | "full",
): LoadPlan {
  const adapterIndices = [...l2Found.keys()].sort((a, b) => a - b);
  const sources = [l1Found, ...adapterIndices.map((index) => l2Found.get(index) as FoundRows)];
  const { bySource, hitChunks } = planSources(rows, columns, sources, fetching);
  const fromL2 = new Map<number, FoundRows>();
  adapterIndices.forEach((adapterIndex, position) => {
    const given = bySource[position + 1];
    if (given.some((cells) => cells.includes(1))) fromL2.set(adapterIndex, given);
  });
  return { fromL1: bySource[0], fromL2, hitChunks };
}

/** Plans over sources in order of preference. */
export function planSources(rows: readonly PrefetchRow[], columns: number, sources: readonly FoundRows[], fetching: "prefix" | "full"): SourcePlan {
  checkSources(rows.length, columns, sources);
  const bySource = sources.map(() => rows.map(() => new Uint8Array(columns)));
  if (fetching === "full") return planFull(rows, columns, sources, bySource);
  if (rows.length === 1 && rows[0].windowChunks <= 0) return planOnePrefix(columns, sources, bySource);
  const found = unionOf(rows.length, columns, sources);
  const { hitChunks, needed } = foldRows(found, rows.map((row) => row.windowChunks), columns);
  if (hitChunks > 0) assign(needed, columns, sources, bySource);
  return { bySource, hitChunks };
}

/** One row, whole prefix (most requests): scan until no source has the next chunk. */
function planOnePrefix(columns: number, sources: readonly FoundRows[], bySource: Uint8Array[][]): SourcePlan {
  let column = 0;
  for (; column < columns; column++) {
    let source = 0;
    while (source < sources.length && sources[source][0][column] === 0) source++;
    if (source === sources.length) break;
    bySource[source][0][column] = 1;
  }
  return { bySource, hitChunks: column };
}

/** Everything found, holes or not. A sliding window has no meaning without a prefix, so any window plans nothing. */
function planFull(rows: readonly PrefetchRow[], columns: number, sources: readonly FoundRows[], bySource: Uint8Array[][]): SourcePlan {
  if (rows.some((row) => row.windowChunks > 0)) return { bySource, hitChunks: 0 };
  const found = unionOf(rows.length, columns, sources);
  assign(found, columns, sources, bySource);
  return { bySource, hitChunks: leadingOnes(commonColumns(found, columns)) };
}

function unionOf(rowCount: number, columns: number, sources: readonly FoundRows[]): Uint8Array[] {
  const union = Array.from({ length: rowCount }, () => new Uint8Array(columns));
  for (const source of sources)
    for (let row = 0; row < rowCount; row++) {
      const target = union[row];
      const found = source[row];
      for (let column = 0; column < columns; column++) target[column] |= found[column];
    }
  return union;
}

/** Each source in turn takes what it has of what is still needed. */
function assign(needed: readonly Cells[], columns: number, sources: readonly FoundRows[], bySource: Uint8Array[][]): void {
  for (let row = 0; row < needed.length; row++) {
    const missing = needed[row].slice();
    for (let source = 0; source < sources.length; source++) {
      const found = sources[source][row];
      const given = bySource[source][row];
      for (let column = 0; column < columns; column++) {
        given[column] = missing[column] & found[column];
        missing[column] ^= given[column];
      }
    }
  }
}

function checkSources(rowCount: number, columns: number, sources: readonly FoundRows[]): void {
  sources.forEach((source, index) => {
    if (source.length !== rowCount) throw new RangeError(`source ${index} has ${source.length} rows, the request has ${rowCount}`);
    for (const cells of source)
      if (cells.length !== columns) throw new RangeError(`source ${index} has a row of ${cells.length} cells, the request has ${columns} columns`);
  });
}
