import { KeyBatch, keyRecordBytes } from "../keys/key-batch.ts";

/** One row of a request: the keys of one object group and rank, one per chunk. */
export interface GridRow {
  readonly keys: KeyBatch;
  readonly sizeBytes: number;
  /** -1 = the whole prefix is needed, w >= 1 = its last w chunks. */
  readonly windowChunks: number;
}

/**
 * The cells of a request, rows (group x rank) by columns (chunks), with the keys chunk by chunk: the order in which room is granted,
 * because a chunk counts only with all its rows (law 5).
 */
export class KeyGrid {
  readonly rows: readonly GridRow[];
  readonly columns: number;
  /** Cell (row, column) is key column x rows.length + row. */
  readonly keys: KeyBatch;
  readonly rowSizes: readonly number[];

  constructor(rows: readonly GridRow[]) {
    if (rows.length === 0) throw new RangeError("a request needs at least one row of keys");
    this.rows = rows;
    this.columns = rows[0].keys.count;
    for (const row of rows)
      if (row.keys.count !== this.columns) throw new RangeError(`all rows must have the same number of chunks, got ${this.columns} and ${row.keys.count}`);
    this.rowSizes = rows.map((row) => row.sizeBytes);
    // A copy in any case: the caller may use its own batch again while ours is still written under these keys.
    this.keys = rows.length === 1 ? new KeyBatch(rows[0].keys.records.slice()) : interleave(rows, this.columns);
  }

  /** True when some row needs only the end of the prefix. */
  get hasWindows(): boolean {
    return this.rows.some((row) => row.windowChunks > 0);
  }

  get cellCount(): number {
    return this.keys.count;
  }

  /** Cell flags as one array per row, for policies. */
  toRows(cells: Uint8Array): Uint8Array[] {
    const rowCount = this.rows.length;
    if (rowCount === 1) return [cells];
    return this.rows.map((_, row) => {
      const flags = new Uint8Array(this.columns);
      for (let column = 0; column < this.columns; column++) flags[column] = cells[column * rowCount + row];
      return flags;
    });
  }

  /** The inverse of toRows. */
  fromRows(rows: readonly Uint8Array[]): Uint8Array {
    const rowCount = this.rows.length;
    if (rowCount === 1) return rows[0];
    const cells = new Uint8Array(this.cellCount);
    for (let row = 0; row < rowCount; row++) for (let column = 0; column < this.columns; column++) cells[column * rowCount + row] = rows[row][column];
    return cells;
  }

  /** The cells of columns of which every row is set: a chunk is of use only with all its groups and ranks. */
  wholeColumns(cells: Uint8Array): Uint8Array {
    const rowCount = this.rows.length;
    return cells.map((_, cell) => {
      const first = cell - (cell % rowCount);
      return cells.subarray(first, first + rowCount).includes(0) ? 0 : 1;
    });
  }

  sizeOf(cell: number): number {
    return this.rowSizes[cell % this.rowSizes.length];
  }
}

function interleave(rows: readonly GridRow[], columns: number): KeyBatch {
  const records = new Uint8Array(rows.length * columns * keyRecordBytes);
  let offset = 0;
  for (let column = 0; column < columns; column++) {
    for (const row of rows) {
      records.set(row.keys.records.subarray(column * keyRecordBytes, (column + 1) * keyRecordBytes), offset);
      offset += keyRecordBytes;
    }
  }
  return new KeyBatch(records);
}
