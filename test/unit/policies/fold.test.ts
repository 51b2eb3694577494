import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { foldRows } from "../../../src/policies/prefetch/fold.ts";
import { planLoad } from "../../../src/policies/prefetch/plan.ts";
import { check } from "./support.ts";

/** The definition, spelled out: which of the cells before L a row needs. */
function neededCells(window: number, length: number): number[] {
  const first = window > 0 ? Math.max(0, length - window) : 0;
  return Array.from({ length: length - first }, (_, index) => first + index);
}

const cells = (columns: number): fc.Arbitrary<Uint8Array> => fc.array(fc.constantFrom(0, 1, 1, 1), { minLength: columns, maxLength: columns }).map((row) => Uint8Array.from(row));
const request = fc.tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 3 })).chain(([columns, rowCount, adapters]) =>
  fc.record({
    columns: fc.constant(columns),
    windows: fc.array(fc.constantFrom(-1, 0, 1, 2, 5), { minLength: rowCount, maxLength: rowCount }),
    l1: fc.array(cells(columns), { minLength: rowCount, maxLength: rowCount }),
    l2: fc.array(fc.array(cells(columns), { minLength: rowCount, maxLength: rowCount }), { minLength: adapters, maxLength: adapters }),
  }),
);

test("a length is servable exactly when every row has the cells that it needs", () => {
  check(
    fc.property(request, ({ columns, windows, l1 }) => {
      const { servable, hitChunks } = foldRows(l1, windows, columns);
      for (let length = 1; length <= columns; length++) {
        const served = l1.every((row, index) => neededCells(windows[index], length).every((column) => row[column] === 1));
        assert.equal(servable[length - 1], Number(served), `length ${length}`);
      }
      assert.equal(hitChunks, servable.lastIndexOf(1) + 1);
    }),
  );
});

test("a prefix plan takes each needed cell once, from the first tier that has it, and nothing else", () => {
  check(
    fc.property(request, ({ columns, windows, l1, l2 }) => {
      const rows = windows.map((windowChunks) => ({ windowChunks }));
      // Handed over last first, so that ascending order of use is the planner's doing.
      const entries = l2.map((found, index): [number, Uint8Array[]] => [index, found]);
      const l2Found = new Map([...entries.slice(-1), ...entries.slice(0, -1)]);
      const plan = planLoad(rows, columns, l1, l2Found, "prefix");
      const union = l1.map((row, index) => row.map((cell, column) => Number(cell === 1 || l2.some((found) => found[index][column] === 1))));
      assert.equal(plan.hitChunks, foldRows(union, windows, columns).hitChunks);
      windows.forEach((window, row) => {
        const needed = new Set(neededCells(window, plan.hitChunks));
        for (let column = 0; column < columns; column++) {
          const expected = !needed.has(column) ? "none" : l1[row][column] === 1 ? "L1" : String(l2.findIndex((found) => found[row][column] === 1));
          const takers = [...(plan.fromL1[row][column] === 1 ? ["L1"] : []), ...[...plan.fromL2].filter(([, given]) => given[row][column] === 1).map(([index]) => String(index))];
          assert.deepEqual(takers, expected === "none" ? [] : [expected]);
        }
      });
    }),
    400,
  );
});

test("the short way for one row gives what the general way gives", () => {
  check(
    fc.property(fc.integer({ min: 0, max: 20 }).chain((columns) => fc.record({ columns: fc.constant(columns), l1: cells(columns), l2: cells(columns) })), ({ columns, l1, l2 }) => {
      const one = planLoad([{ windowChunks: -1 }], columns, [l1], new Map([[3, [l2]]]), "prefix");
      const twice = planLoad([{ windowChunks: -1 }, { windowChunks: -1 }], columns, [l1, l1], new Map([[3, [l2, l2]]]), "prefix");
      assert.equal(one.hitChunks, twice.hitChunks);
      assert.deepEqual(one.fromL1[0], twice.fromL1[0]);
      assert.deepEqual(one.fromL2.get(3)?.[0], twice.fromL2.get(3)?.[0]);
    }),
  );
});

test("a full plan takes everything found, holes included, and counts the leading common columns", () => {
  const l1 = [Uint8Array.of(1, 1, 0, 1), Uint8Array.of(1, 0, 0, 0)];
  const l2 = [Uint8Array.of(0, 0, 0, 0), Uint8Array.of(0, 1, 0, 1)];
  const rows = [{ windowChunks: -1 }, { windowChunks: -1 }];
  const plan = planLoad(rows, 4, l1, new Map([[0, l2]]), "full");
  assert.deepEqual(plan.fromL1, l1);
  assert.deepEqual(plan.fromL2.get(0), l2);
  assert.equal(plan.hitChunks, 2);
});

test("a full plan with a sliding window plans nothing", () => {
  const plan = planLoad([{ windowChunks: 2 }], 2, [Uint8Array.of(1, 1)], new Map(), "full");
  assert.deepEqual([plan.fromL1[0].includes(1), plan.fromL2.size, plan.hitChunks], [false, 0, 0]);
});

test("rows that do not fit the request are refused", () => {
  assert.throws(() => planLoad([{ windowChunks: -1 }], 2, [Uint8Array.of(1)], new Map(), "prefix"), /row of 1 cells, the request has 2 columns/);
  assert.throws(() => planLoad([{ windowChunks: -1 }], 1, [Uint8Array.of(1)], new Map([[0, []]]), "prefix"), /source 1 has 0 rows, the request has 1/);
});
