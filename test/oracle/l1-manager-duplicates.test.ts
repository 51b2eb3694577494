import assert from "node:assert/strict";
import { test } from "node:test";

import { Divergence, LmcacheL1 } from "./lmcache-l1.ts";
import { withVectors } from "./vectors.ts";

interface Vectors {
  sequences: { seed: number; slots: number; unit: number; writeTtlS: number; readTtlS: number; ops: { op: [string, ...unknown[]] }[] }[];
}

// Exception, the whole file: LMCache gives a key that is named twice in one reservation two buffers and loses the first (N16). Ours treats it as
// one key, so only the calls are taken from the vectors; what is checked is that nothing is left behind.
withVectors<Vectors>("l1-manager-duplicates", ({ sequences }) => {
  test(`a key named twice in one call leaves nothing behind (${sequences.length} recorded sequences)`, () => {
    let reservedTwice = 0;
    for (const { seed, slots, unit, writeTtlS, readTtlS, ops } of sequences) {
      const l1 = new LmcacheL1(slots, unit, writeTtlS, readTtlS).connect();
      try {
        for (const { op } of ops) {
          const [name, keys, ...rest] = op as [string, number[], ...unknown[]];
          if (name === "reserve_write") {
            if (new Set(keys).size < keys.length) reservedTwice++;
            const before = l1.l1.stagedCount;
            const answers = l1.reserveWrite(keys, rest[0] as number[], rest[1] as number, rest[2] as string);
            const granted = [...answers.values()].filter(([code]) => code === "SUCCESS").length;
            assert.equal(l1.l1.stagedCount - before, granted, `sequence ${seed}: one buffer per key in ${JSON.stringify(op)}`);
          } else if (name === "finish_write") l1.finishWrite(keys, rest[0] as string);
          else if (name === "finish_write_and_delete") l1.finishWriteAndDelete(keys, rest[0] as string);
          else if (name === "clear") l1.clear(false);
        }
      } catch (error) {
        if (!(error instanceof Divergence)) throw error;
      }
      l1.clear(true);
      assert.equal(l1.usedBytes, 0, `sequence ${seed}: bytes`);
      assert.equal(l1.l1.stagedBytes, 0, `sequence ${seed}: staged bytes`);
      assert.equal(l1.l1.keys.size, 0, `sequence ${seed}: key ids`);
    }
    assert.ok(reservedTwice > 0, "the vectors name keys twice");
  });
});
