/**
 * Gather, scatter and crc32c of the CPU device against memcpy, single-threaded, inside one native call: the yardstick and the measured
 * alternate on the same memory, so that ratios hold on a busy machine too.
 */
import { MiB } from "../../base/bytes.ts";
import type { CopyBenchOptions, CopyBenchRound } from "../../native/binding.ts";
import { loadBinding } from "../../native/load.ts";
import { quartiles } from "./quartiles.ts";
import type { BenchOptions, BenchReport } from "./contract.ts";

export const summary = "gather, scatter and crc32c against memcpy";

interface Shape extends Omit<CopyBenchOptions, "objects" | "rounds"> {
  readonly name: string;
  readonly meaning: string;
}

/** bf16, 8 KV heads of 128: the KV of an 8B model of the Llama 3.1 family, by what one (block, layer, plane) holds. */
const shapes: readonly Shape[] = [
  { name: "pieces4KiB", meaning: "2 heads of 64, blocks of 16 tokens", layers: 32, heads: 2, headBytes: 128, blockTokens: 16, chunkTokens: 256, headMajor: false },
  { name: "pieces32KiB", meaning: "8 heads of 128, blocks of 16 tokens (FlashAttention NHD)", layers: 32, heads: 8, headBytes: 256, blockTokens: 16, chunkTokens: 256, headMajor: false },
  { name: "pieces256KiB", meaning: "8 heads of 128, blocks of 128 tokens", layers: 32, heads: 8, headBytes: 256, blockTokens: 128, chunkTokens: 256, headMajor: false },
  { name: "pieces2MiB", meaning: "8 heads of 128, blocks of 1,024 tokens", layers: 8, heads: 8, headBytes: 256, blockTokens: 1024, chunkTokens: 1024, headMajor: false },
  { name: "headMajor", meaning: "8 heads of 128, blocks of 16 tokens, heads outside tokens (HND): pieces of one head of one token", layers: 32, heads: 8, headBytes: 256, blockTokens: 16, chunkTokens: 256, headMajor: true },
];

const gatherOrScatter = { pieces32KiB: 0.8, pieces256KiB: 0.9, pieces2MiB: 0.9 };

export async function run(options: BenchOptions): Promise<BenchReport> {
  const binding = loadBinding();
  const rounds = options.quick ? 3 : 15;
  const figures: Record<string, unknown> = {};
  const ratios: Record<string, number> = {};
  let ok = true;
  for (const { name, meaning, ...shape } of shapes) {
    options.progress(name);
    // One turn of the event loop, so that the line is seen before the call blocks.
    await new Promise((resolve) => setImmediate(resolve));
    const bytes = 2 * shape.layers * shape.heads * shape.headBytes * shape.chunkTokens;
    const objects = Math.max(1, Math.round(((options.quick ? 64 : 512) * MiB) / bytes));
    const result = binding.copyBench({ ...shape, objects, rounds });
    ok &&= result.equal;
    const rate = (kind: keyof CopyBenchRound): unknown => quartiles(result.rounds.map((round) => (objects * bytes) / round[kind]));
    figures[name] = {
      meaning,
      objectBytes: result.objectBytes,
      pieceBytes: result.pieceBytes,
      equal: result.equal,
      memcpyPiecesBytesPerSecond: rate("memcpyPieces"),
      memcpyWholeBytesPerSecond: rate("memcpyWhole"),
      gatherBytesPerSecond: rate("gather"),
      scatterBytesPerSecond: rate("scatter"),
      crc32cBytesPerSecond: rate("crc32c"),
    };
    const against = (kind: keyof CopyBenchRound, yardstick: keyof CopyBenchRound): number => quartiles(result.rounds.map((round) => round[yardstick] / round[kind])).median;
    ratios[`${name}.gatherToMemcpyOfPieces`] = against("gather", "memcpyPieces");
    ratios[`${name}.gatherToMemcpyOfWholeObjects`] = against("gather", "memcpyWhole");
    ratios[`${name}.scatterToMemcpyOfPieces`] = against("scatter", "memcpyPieces");
    ratios[`${name}.scatterToMemcpyOfWholeObjects`] = against("scatter", "memcpyWhole");
    ratios[`${name}.crc32cToMemcpyOfWholeObjects`] = against("crc32c", "memcpyWhole");
  }
  return {
    figures,
    ratios,
    conditions: {
      threads: 1,
      rounds,
      gather: "checksum of the object included; blocks in random order",
      memcpyOfPieces: "the same pieces by the C library's memcpy, no checksum",
      memcpyOfWholeObjects: "as many bytes by one memcpy per object, no checksum",
      benchMemory: options.quick ? "64 MiB on each side, touched before" : "512 MiB on each side, touched before",
      spread: "quartiles over rounds; ratios are medians of per-round ratios",
      targets: { gatherAndScatterToMemcpyOfPieces: gatherOrScatter, crc32cToMemcpy: 0.75 },
    },
    ok,
  };
}
