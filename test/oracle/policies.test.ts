import assert from "node:assert/strict";
import { test } from "node:test";

import { KeyBatch, keyRecordBytes } from "../../src/keys/key-batch.ts";
import type { AdapterDescriptor, FoundRows, PrefetchPolicy, StorePolicy } from "../../src/policies/contract.ts";
import { DefaultPrefetchPolicy } from "../../src/policies/prefetch/default.ts";
import { planSources } from "../../src/policies/prefetch/plan.ts";
import { RetainPrefetchPolicy } from "../../src/policies/prefetch/retain.ts";
import { DefaultStorePolicy } from "../../src/policies/store/default.ts";
import { SkipL1StorePolicy } from "../../src/policies/store/skip-l1.ts";
import { bitsOf, cellsOf, withVectors } from "./vectors.ts";

interface Vectors {
  store: { policy: string; keys: number[]; adapters: number[]; targets: [number, number[]][]; deletions: number[] }[];
  plan: {
    policy: string;
    rows: number;
    cols: number;
    windows: number[];
    fetching: "prefix" | "full";
    l1Managers: number[];
    l2Adapters: number[];
    l1Found: Record<string, string[]>;
    l2Found: Record<string, string[]>;
    l1Plan: Record<string, string[]>;
    l2Plan: Record<string, string[]>;
    retain: boolean[];
  }[];
}

const storePolicies: Record<string, () => StorePolicy> = { default: () => new DefaultStorePolicy(), skip_l1: () => new SkipL1StorePolicy() };
const prefetchPolicies: Record<string, () => PrefetchPolicy> = {
  default: () => new DefaultPrefetchPolicy(),
  retain: () => new RetainPrefetchPolicy(),
};

/** Records whose first word is the recorded key number. */
function batchOf(keys: readonly number[]): KeyBatch {
  const words = new Uint32Array((keys.length * keyRecordBytes) / 4);
  keys.forEach((key, index) => {
    words[(index * keyRecordBytes) / 4] = key;
  });
  return new KeyBatch(new Uint8Array(words.buffer));
}

const descriptor = (index: number): AdapterDescriptor => ({ index, name: `mock#${index}`, type: "mock" });

// Exceptions
// - dead adapter: some rows have found cells of adapter 9, which is not there. LMCache counts them for the hit and then does not plan them.
//   Our controller never passes such an adapter; here it is passed as the last source, and its part of the plan is left out.
// - one L1: LMCache plans over several L1 managers; our contract has one, so the union of the managers' plans is compared as well.
withVectors<Vectors>("policies", ({ store, plan }) => {
  test(`store policies choose the recorded targets and deletions (${store.length} decisions)`, () => {
    for (const row of store) {
      const policy = storePolicies[row.policy]();
      const targets = policy.selectStoreTargets(batchOf(row.keys), row.adapters.map(descriptor));
      const spelled = targets.map(({ adapterIndex, keyIndices }) => [
        adapterIndex,
        keyIndices === "all" ? row.keys : [...keyIndices].map((index) => row.keys[index]),
      ]);
      assert.deepEqual(spelled, row.targets);
      const decision = policy.decideL1({ storedCount: row.adapters.length, failedCount: 0, droppedCount: 0 });
      assert.deepEqual(decision === "drop" ? row.keys : [], row.deletions);
    }
  });

  test(`prefetch plans over every L1 manager and adapter are the recorded ones (${plan.length} plans)`, () => {
    for (const row of plan) {
      const managers = live(row.l1Managers, row.l1Found);
      const adapters = live(row.l2Adapters, row.l2Found);
      const dead = Object.keys(row.l2Found).map(Number).filter((index) => !row.l2Adapters.includes(index));
      const sources = [...managers.map((index) => rowsOf(row.l1Found[index])), ...[...adapters, ...dead].map((index) => rowsOf(row.l2Found[index]))];
      const { bySource } = planSources(requestRows(row.windows), row.cols, sources, row.fetching);
      assert.deepEqual(planned(managers, bySource.slice(0, managers.length)), row.l1Plan, JSON.stringify(row));
      assert.deepEqual(planned(adapters, bySource.slice(managers.length, managers.length + adapters.length)), row.l2Plan, JSON.stringify(row));
    }
  });

  test("prefetch policies give the recorded adapter plans, the union of the L1 plans, and the recorded retention", () => {
    for (const row of plan) {
      const policy = prefetchPolicies[row.policy]();
      const l2Found = new Map(Object.entries(row.l2Found).map(([index, bits]) => [Number(index), rowsOf(bits)]));
      const l1Found = union(row.rows, row.cols, live(row.l1Managers, row.l1Found).map((index) => row.l1Found[index]));
      const outcome = policy.planLoad(requestRows(row.windows), row.cols, l1Found, l2Found, row.fetching);
      assert.deepEqual(outcome.fromL1.map(bitsOf), union(row.rows, row.cols, Object.values(row.l1Plan)).map(bitsOf));
      const fromL2 = [...outcome.fromL2].filter(([index]) => row.l2Adapters.includes(index));
      assert.deepEqual(Object.fromEntries(fromL2.map(([index, rows]) => [index, rows.map(bitsOf)])), row.l2Plan);
      assert.deepEqual([...policy.planL1Retention(batchOf(row.retain.map(Number)))], row.retain.map(Number));
    }
  });
});

function requestRows(windows: readonly number[]): { windowChunks: number }[] {
  return windows.map((windowChunks) => ({ windowChunks }));
}

function live(indices: readonly number[], found: Record<string, string[]>): number[] {
  return indices.filter((index) => found[index] !== undefined).sort((a, b) => a - b);
}

function rowsOf(bits: readonly string[]): FoundRows {
  return bits.map(cellsOf);
}

function planned(indices: readonly number[], plans: readonly FoundRows[]): Record<string, string[]> {
  const entries = indices.map((index, position): [string, string[]] => [String(index), plans[position].map(bitsOf)]);
  return Object.fromEntries(entries.filter(([, rows]) => rows.some((bits) => bits.includes("1"))));
}

function union(rows: number, columns: number, plans: readonly string[][]): Uint8Array[] {
  return Array.from({ length: rows }, (_, row) => {
    const cells = new Uint8Array(columns);
    for (const bits of plans) cellsOf(bits[row]).forEach((cell, column) => (cells[column] |= cell));
    return cells;
  });
}
