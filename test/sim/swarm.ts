import { KiB, MiB, roundUp } from "../../src/base/bytes.ts";
import type { Random } from "../../src/base/random.ts";
import { faultNames, type FaultRates } from "./faults.ts";

/** One row of the objects of a document: an object group with its own size. */
export interface ShapeRow {
  readonly sizeBytes: number;
  readonly windowChunks: number;
}

/** What one seed runs: drawn as a whole before anything starts, so that a seed is a scenario. */
export interface SwarmPlan {
  readonly l1SizeBytes: number;
  /** Aligned bytes of the largest chunk. */
  readonly chunkBytes: number;
  readonly evictionPolicy: string;
  readonly storePolicy: string;
  readonly prefetchPolicy: string;
  readonly bufferOnly: boolean;
  readonly policiesThrow: boolean;
  readonly adapters: readonly { readonly latencyMs: number; readonly heedsSignals: boolean; readonly knowsKeys: boolean }[];
  /** A real mock adapter behind the simulated ones, driven through the stepped engine. */
  readonly withMock: boolean;
  readonly rates: FaultRates;
  readonly salts: readonly string[];
  readonly shapes: readonly (readonly ShapeRow[])[];
  readonly documents: number;
  readonly chunksPerDocument: number;
  readonly clients: number;
  readonly operationsPerClient: number;
  readonly storePressure: "wait" | "drop_newest" | "drop_oldest";
  readonly storeDeadlineMs: number;
  readonly loadDeadlineMs: number;
  readonly loadTimeoutMs: number;
  readonly storeWaitMs: number;
  readonly storeAttemptsMax: number;
  readonly prefetchMaxInFlight: number;
  readonly writeTtlSeconds: number;
  readonly readTtlSeconds: number;
  readonly storeBytesInFlightMax: number | undefined;
  readonly storeShare: number;
  readonly loadShare: number;
  readonly defaultQuotaBytes: number | undefined;
}

/** Faults of clients and operators; their rates do not follow the failure rate of the adapters. */
const clientFaults = new Set<string>([
  "policy_throw",
  "write_abandoned",
  "read_abandoned",
  "double_release",
  "double_commit",
  "caller_abort",
  "duplicate_key",
  "read_under_io",
  "clock_jump",
  "timer_starvation",
  "adapter_added",
  "adapter_removed",
  "clear_forced",
  "quota_changed",
  "close_in_the_middle",
]);
/** Faults that at a high rate would leave nothing to go wrong elsewhere: calls that hang for good, objects that are gone. */
const gentle = new Set<string>(["store_never", "load_never", "lookup_hang", "close_reject", "bandwidth_zero", "no_space_window", "lost_behind_back"]);

export function drawPlan(random: Random): SwarmPlan {
  const pick = <T>(values: readonly T[]): T => values[random.nextBelow(values.length)];
  const chunksInL1 = pick([1, 1, 2, 2, 3, 4, 16, 16, 512]);
  const chunkBytes = chunksInL1 === 512 ? 64 * KiB : Math.max(pick([4, 8, 12]) * KiB, roundUp(64 * KiB, chunksInL1 * 4 * KiB) / chunksInL1);
  const l1SizeBytes = chunksInL1 === 512 ? 32 * MiB : chunksInL1 * chunkBytes + pick([0, 0, 4 * KiB]);
  const adapterCount = pick([0, 1, 1, 1, 2, 2, 3]);
  const bufferOnly = adapterCount > 0 && random.nextFloat() < 0.5;
  const evictionPolicy = bufferOnly ? "noop" : pick(["LRU", "LRU", "ARC", "FIFO", "IsolatedLRU", "IsolatedLRU", "noop"]);
  const storePolicy = bufferOnly ? "skip_l1" : pick(adapterCount > 0 ? ["default", "default", "skip_l1"] : ["default"]);
  const prefetchPolicy = bufferOnly || (evictionPolicy === "noop" && storePolicy === "skip_l1") ? "default" : pick(["default", "retain"]);
  const drawRate = (): number => pick([0, 0, 0.001, 0.01, 0.1, 0.1, 1]);
  const failureRates = { store: drawRate(), load: drawRate(), lookup: drawRate(), other: drawRate() };
  return {
    l1SizeBytes,
    chunkBytes,
    evictionPolicy,
    storePolicy,
    prefetchPolicy,
    bufferOnly: evictionPolicy === "noop" && storePolicy === "skip_l1",
    policiesThrow: random.nextFloat() < 0.15,
    adapters: Array.from({ length: adapterCount }, () => ({
      latencyMs: pick([0, 1, 5, 50]),
      heedsSignals: random.nextFloat() < 0.5,
      knowsKeys: random.nextFloat() < 0.5,
    })),
    withMock: adapterCount > 0 && random.nextFloat() < 0.2,
    rates: drawRates(random, failureRates),
    salts: pick([[""], ["", "tenant-a"], ["a", "b", "c"]]),
    shapes: drawShapes(random, chunkBytes),
    documents: 1 + random.nextBelow(6),
    chunksPerDocument: pick([2, 4, 8, Math.min(64, 2 * chunksInL1 + 3)]),
    clients: 1 + random.nextBelow(6),
    operationsPerClient: 5 + random.nextBelow(25),
    storePressure: pick(["wait", "wait", "drop_newest", "drop_oldest"] as const),
    storeDeadlineMs: pick([200, 5_000, 30_000]),
    loadDeadlineMs: pick([20, 1_500]),
    loadTimeoutMs: pick([100, 5_000, 30_000]),
    storeWaitMs: pick([0, 50, 10_000]),
    storeAttemptsMax: pick([1, 3]),
    prefetchMaxInFlight: pick([1, 8]),
    writeTtlSeconds: pick([1, 600]),
    readTtlSeconds: pick([1, 300]),
    storeBytesInFlightMax: pick([undefined, undefined, chunkBytes, 1]),
    ...pick([{ storeShare: 0.25, loadShare: 0.25 }, { storeShare: 0, loadShare: 0 }, { storeShare: 0.5, loadShare: 0.5 }]),
    defaultQuotaBytes: pick([undefined, undefined, 0, 2 * chunkBytes]),
  };
}

/** Swarm testing (A. Groce et al., ISSTA 2012): each run has only some kinds of fault, so that none hides behind another. */
function drawRates(random: Random, failureRates: Readonly<Record<"store" | "load" | "lookup" | "other", number>>): FaultRates {
  const rates: Record<string, number> = {};
  const density = [0, 0.2, 0.5, 1][random.nextBelow(4)];
  for (const name of faultNames) {
    if (random.nextFloat() >= density) continue;
    const [group] = name.split("_");
    const failureRate = failureRates[group === "store" || group === "load" || group === "lookup" ? group : "other"];
    if (name === "close_in_the_middle") rates[name] = random.nextFloat() < 0.3 ? 1 : 0;
    else if (name === "clock_jump" || name === "timer_starvation") rates[name] = 0.05;
    else if (clientFaults.has(name)) rates[name] = 0.1;
    else if (gentle.has(name)) rates[name] = Math.min(failureRate, 0.1);
    else rates[name] = failureRate;
  }
  return rates;
}

/** One to three kinds of document: one object per chunk, or one per row and chunk with sizes of their own. */
function drawShapes(random: Random, chunkBytes: number): ShapeRow[][] {
  const sizeWithin = (bytes: number): number => Math.max(1, bytes - [0, 0, 1, 4095, random.nextBelow(4096)][random.nextBelow(5)]);
  const windows = (): number => (random.nextFloat() < 0.25 ? 1 + random.nextBelow(3) : -1);
  const shapes: ShapeRow[][] = [[{ sizeBytes: sizeWithin(chunkBytes), windowChunks: -1 }]];
  if (chunkBytes >= 8 * KiB && random.nextFloat() < 0.5) {
    const first = 4 * KiB * (1 + random.nextBelow(chunkBytes / (4 * KiB) - 1));
    shapes.push([
      { sizeBytes: sizeWithin(first), windowChunks: -1 },
      { sizeBytes: sizeWithin(chunkBytes - first), windowChunks: windows() },
    ]);
  }
  if (random.nextFloat() < 0.5) shapes.push([{ sizeBytes: sizeWithin(Math.max(4 * KiB, roundUp(chunkBytes / 3, 4 * KiB))), windowChunks: windows() }]);
  return shapes;
}
