import assert from "node:assert/strict";
import { test } from "node:test";

import type { ChunkRecord } from "../../../src/demo/story-events.ts";
import { judge, type StoryEvidence } from "../../../src/demo/story-report.ts";

const chunk = (index: number, changes: Partial<ChunkRecord> = {}): ChunkRecord => ({ index, digest: `digest ${index}`, bytes: 100, blocks: [index], ...changes });
const moved = (index: number, changes: Partial<ChunkRecord> = {}): ChunkRecord => chunk(index, { blocks: [index + 10], ...changes });
const tokens = Array.from({ length: 60 }, (_, index) => index);

function evidence(changes: { readonly restored?: readonly ChunkRecord[]; readonly text?: readonly number[]; readonly l1UsedBytes?: number; readonly killedAt?: number } = {}): StoryEvidence {
  const restored = changes.restored ?? [moved(0), moved(1)];
  return {
    model: "m",
    text: "t",
    chunkTokens: 16,
    expected: tokens,
    first: { tokens: tokens.slice(0, changes.killedAt ?? 40), stored: [chunk(0), chunk(1)], signal: "SIGKILL" },
    second: {
      tokens: changes.text ?? tokens,
      restored: { type: "restored", tokens: restored.length * 16, chunks: restored, restoreMs: 1, openMs: 1 },
      done: { type: "done", l1UsedBytes: changes.l1UsedBytes ?? 0, coldPrefillMs: 5 },
    },
  };
}

test("the demo is content when bytes, blocks, text and L1 are as promised", () => {
  const report = judge(evidence());
  assert.equal(report.ok, true);
  assert.deepEqual([report.restoredTokens, report.computedTokens, report.wrongChunks, report.sameBlocks], [32, 8, 0, 0]);
});

test("each broken promise fails the demo by itself", () => {
  const broken = {
    "a byte differs": evidence({ restored: [moved(0), moved(1, { digest: "other" })] }),
    "a chunk lies in the same blocks, so nothing proves that it was moved": evidence({ restored: [moved(0), chunk(1)] }),
    "a chunk that was reported stored is missing": evidence({ restored: [moved(0)] }),
    "nothing was restored": evidence({ restored: [] }),
    "a token differs": evidence({ text: tokens.with(50, 7) }),
    "the text is short": evidence({ text: tokens.slice(0, 59) }),
    "L1 still holds something": evidence({ l1UsedBytes: 4096 }),
  };
  for (const [what, facts] of Object.entries(broken)) assert.equal(judge(facts).ok, false, what);
});

test("a chunk that ends with the last token is not asked for", () => {
  assert.equal(judge(evidence({ killedAt: 32, restored: [moved(0)] })).ok, true);
  assert.equal(judge(evidence({ killedAt: 33, restored: [moved(0)] })).ok, false);
});
