import assert from "node:assert/strict";
import { test } from "node:test";

import * as bitmap from "../../src/keys/bitmap.ts";
import { commonColumns, foldRows } from "../../src/policies/prefetch/fold.ts";
import { bitsOf, cellsOf, withVectors } from "./vectors.ts";

interface Vectors {
  ops: {
    a: string;
    b: string;
    popcount: number;
    clz: number;
    clo: number;
    highest: number;
    and: string;
    or: string;
    not: string;
    indices: number[];
    setRange: [number, number, string];
    prefix: [number, string];
    testPastEnd: boolean;
    gatherLen: number;
    gather: number[];
  }[];
  fold: { chunks: number; ranks: number; windows: number[]; found: string; servable: string; hit: number; retain: string }[];
  grouped: { windows: number[]; rows: string[]; servable: string; hit: number; retain: string[] }[];
  full: { rows: string[]; common: string[] }[];
}

// Exceptions: none.
withVectors<Vectors>("bitmaps", ({ ops, fold, grouped, full }) => {
  test(`operations on cells (${ops.length})`, () => {
    for (const op of ops) {
      const a = cellsOf(op.a);
      const b = cellsOf(op.b);
      const [first, end, ranged] = op.setRange;
      const [ones, prefix] = op.prefix;
      assert.equal(bitmap.countOnes(a), op.popcount);
      assert.equal(bitmap.leadingZeros(a), op.clz);
      assert.equal(bitmap.leadingOnes(a), op.clo);
      assert.equal(bitmap.highestOne(a), op.highest);
      assert.equal(bitsOf(bitmap.andCells(a, b)), op.and);
      assert.equal(bitsOf(bitmap.orCells(a, b)), op.or);
      assert.equal(bitsOf(bitmap.notCells(a)), op.not);
      assert.deepEqual([...bitmap.indicesOfOnes(a)], op.indices);
      assert.equal(bitsOf(bitmap.withRangeSet(a, first, end)), ranged);
      assert.equal(bitsOf(bitmap.leadingCells(a.length, ones)), prefix);
      assert.equal(a[a.length] === 1, op.testPastEnd);
      assert.deepEqual(bitmap.gatherAtOnes(a, Array.from({ length: op.gatherLen }, (_, index) => index)), op.gather);
    }
  });

  test(`folds of one bitmap, chunk-major, then group, then rank (${fold.length})`, () => {
    for (const row of fold) {
      const rowsPerChunk = row.windows.length * row.ranks;
      const found = cellsOf(row.found);
      const rows = Array.from({ length: rowsPerChunk }, (_, index) =>
        Uint8Array.from({ length: row.chunks }, (_cell, chunk) => found[chunk * rowsPerChunk + index]),
      );
      const windows = rows.map((_, index) => row.windows[Math.floor(index / row.ranks)]);
      const outcome = foldRows(rows, windows, row.chunks);
      const retain = new Uint8Array(found.length);
      outcome.needed.forEach((cells, index) => cells.forEach((cell, chunk) => (retain[chunk * rowsPerChunk + index] = cell)));
      assert.deepEqual([bitsOf(outcome.servable), outcome.hitChunks, bitsOf(retain)], [row.servable, row.hit, row.retain]);
    }
  });

  test(`folds of rows (${grouped.length})`, () => {
    for (const row of grouped) {
      const outcome = foldRows(row.rows.map(cellsOf), row.windows, row.rows[0].length);
      assert.deepEqual([bitsOf(outcome.servable), outcome.hitChunks, outcome.needed.map(bitsOf)], [row.servable, row.hit, row.retain]);
    }
  });

  test(`whole columns (${full.length})`, () => {
    for (const row of full) {
      const common = bitsOf(commonColumns(row.rows.map(cellsOf), row.rows[0].length));
      assert.deepEqual(row.rows.map(() => common), row.common);
    }
  });
});
