import assert from "node:assert/strict";
import { test } from "node:test";

import { VirtualClock } from "../../src/base/clock.ts";
import type { KeyBatch } from "../../src/keys/key-batch.ts";
import type { ObjectKey } from "../../src/keys/object-key.ts";
import { LoadStatus, type L2Adapter, type ObjectBatch } from "../../src/l2/index.ts";
import { openStorage, type Storage } from "../../src/storage/index.ts";
import { bitsOf, withVectors } from "./vectors.ts";

type Cell = [row: number, column: number];

interface Case {
  seed: number;
  policy: string;
  rows: number;
  cols: number;
  windows: number[];
  fetching: "prefix" | "full";
  lockMode: "LOCK" | "NO_LOCK";
  readers: number;
  skipL2: boolean;
  l1Slots: number;
  l1Resident: Cell[];
  adapters: { has: Cell[]; loadFails: Cell[] }[];
  hit: string[];
  usedAfterReads: number;
}

const layout = { sizeBytes: 4096 };

/** Has the cells it is told to have, and fails the loads it is told to fail. */
class ScriptedAdapter implements L2Adapter {
  readonly type = "scripted";
  readonly name: string;
  readonly capabilities = { persistent: false, accountsBytes: false, evicts: false, lists: false, shared: false, throughJavaScript: true };
  readonly #has: Set<string>;
  readonly #loadFails: Set<string>;

  constructor(index: number, { has, loadFails }: Case["adapters"][number]) {
    this.name = `scripted#${index}`;
    this.#has = new Set(has.map(String));
    this.#loadFails = new Set(loadFails.map(String));
  }

  lookup = (keys: KeyBatch) => Promise.resolve(Uint8Array.from({ length: keys.count }, (_, index) => (this.#has.has(cellOf(keys, index)) ? 1 : 0)));
  load = ({ keys }: ObjectBatch) =>
    Promise.resolve(
      Uint8Array.from({ length: keys.count }, (_, index) => {
        const cell = cellOf(keys, index);
        return this.#has.has(cell) && !this.#loadFails.has(cell) ? LoadStatus.loaded : LoadStatus.missing;
      }),
    );
  store = ({ keys }: ObjectBatch) => Promise.resolve(new Uint8Array(keys.count));
  delete = (keys: KeyBatch) => Promise.resolve(new Uint8Array(keys.count));
  usage = () => ({ usedBytes: 0, capacityBytes: 0, objectCount: 0, bytesBySalt: {} });
  health = () => ({ ready: true, problems: [] });
  describe = () => this.name;
  close = () => Promise.resolve();
}

const keyOf = (row: number, column: number): ObjectKey => ({ chunkHash: new Uint8Array(32).fill(column), modelName: "m", kvRank: 0, objectGroupId: row, cacheSalt: "" });
const cellOf = (keys: KeyBatch, index: number): string => `${keys.objectGroupId(index)},${keys.chunkHash(index)[0]}`;

async function openFor({ policy, l1Slots, l1Resident, adapters }: Case): Promise<Storage> {
  const storage = await openStorage(
    {
      l1: { sizeBytes: Math.max(16, l1Slots) * layout.sizeBytes, evictionPolicy: "noop", storeShare: 0, loadShare: 0 },
      // The recorded L1 holds its resident cells whatever the store policy is; a policy that keeps is the one that does so here.
      l2: { storePolicy: "default", prefetchPolicy: policy, adapters: [] },
    },
    { clock: new VirtualClock() },
  );
  for (const [row, column] of l1Resident) await (await storage.reserveWrite([keyOf(row, column)], layout)).commit();
  for (const [index, script] of adapters.entries()) await storage.addAdapter(new ScriptedAdapter(index, script));
  return storage;
}

/** The row of hits that LMCache records: under "full" the columns that every row has. */
function hitRows({ rows, cols }: Case, hitCells: Uint8Array): Uint8Array[] {
  return Array.from({ length: rows }, (_, row) => Uint8Array.from({ length: cols }, (_unused, column) => hitCells[column * rows + row]));
}

// Exceptions
// - more hits: where an adapter fails a load, ours asks the next one that has the key; where L1 is small (l1Slots 2 and 6) LMCache reserves
//   all-or-nothing per row and ours loads the longest prefix that fits. More hits than recorded are fine, fewer are not.
// - l1Slots below 16: our smallest arena is 64 KiB, so those cases have room for 16 objects here.
withVectors<{ cases: Case[] }>("prefetch-controller", ({ cases }) => {
  test(`a prefetch hits at least what LMCache hits, and exactly that where no load fails and L1 is large (${cases.length} recorded requests)`, async () => {
    let exact = 0;
    for (const run of cases) {
      const storage = await openFor(run);
      const rows = Array.from({ length: run.rows }, (_, row) => ({
        keys: Array.from({ length: run.cols }, (_unused, column) => keyOf(row, column)),
        layout,
        windowChunks: run.windows[row],
      }));
      const read = await storage.prefetchRows(rows, { fetching: run.fetching, skipL2: run.skipL2, deliveries: run.readers });
      const ours = hitRows(run, read.hitCells).map(bitsOf);
      const at = `case ${run.seed} (${run.fetching}, windows ${run.windows.join()})`;
      const isExact = run.l1Slots === 200 && run.adapters.every(({ loadFails }) => loadFails.length === 0);
      if (isExact) {
        assert.deepEqual(ours, run.hit, at);
        exact++;
      } else {
        const count = (bits: string[]) => bits.join("").split("1").length - 1;
        assert.ok(count(ours) >= count(run.hit), `${at}: ${ours.join(" ")} hits less than ${run.hit.join(" ")}`);
      }
      for (let reader = 0; reader < run.readers; reader++) {
        assert.equal(read.live, true, `${at}: the lease stands until all readers have retrieved`);
        read.deliver(`reader ${reader}`);
      }
      assert.equal(read.live, false, at);
      if (isExact && run.lockMode === "LOCK") assert.equal(storage.usage.usedBytes, run.usedAfterReads, `${at}: what stays in L1`);
      await storage.close({ deadlineMs: 0 });
    }
    assert.ok(exact > 60, `only ${exact} cases were compared exactly`);
  });
});
