import { formatBytes } from "../base/bytes.ts";
import type { Counters } from "../base/counters.ts";
import { errorText } from "../base/errors.ts";
import type { EvictionController, PrefetchController, StoreController } from "../controllers/index.ts";
import { AdmissionClass, type Admission, type L1Manager } from "../l1/index.ts";
import type { L2Adapter } from "../l2/index.ts";
import type { NativeRuntime } from "../native/runtime.ts";
import type { StorageConfig } from "./config.ts";
import type { StorageAudit, StorageStatus } from "./options.ts";

/** The parts of a storage, for what reports on it. */
export interface StorageParts {
  readonly config: StorageConfig;
  readonly counters: Counters;
  readonly runtime: NativeRuntime;
  readonly l1: L1Manager;
  readonly admission: Admission;
  readonly store: StoreController;
  readonly prefetch: PrefetchController;
  readonly eviction: EvictionController;
  readonly adapters: readonly L2Adapter[];
  readonly openWriteCount: number;
}

/** State in numbers and words. Costs O(objects). */
export function storageStatus(parts: StorageParts, peakUsedBytes: number): StorageStatus {
  const { config, l1, store } = parts;
  const arena = l1.arena.stats();
  return {
    l1: {
      capacityBytes: arena.capacityBytes,
      usedBytes: arena.usedBytes,
      peakUsedBytes,
      stagedBytes: l1.stagedBytes,
      drainingBytes: arena.drainingBytes,
      storeBytes: l1.bytes.of(AdmissionClass.store),
      loadBytes: l1.bytes.of(AdmissionClass.load),
      leases: l1.leaseCount,
      openWrites: parts.openWriteCount,
      waiting: parts.admission.waitingCount,
      ...l1.counts(),
      arena,
    },
    policies: { store: config.l2.storePolicy, prefetch: config.l2.prefetchPolicy, eviction: config.l1.evictionPolicy },
    obligations: { openKeys: store.openKeys, unsentBytes: store.unsentBytes, lanes: store.status() },
    adapters: parts.adapters.map((adapter) => ({
      name: adapter.name,
      type: adapter.type,
      describe: describe(adapter),
      usage: answerOf(() => adapter.usage()),
      health: answerOf(() => adapter.health()),
    })),
    engine: parts.runtime.stats(),
    counters: parts.counters.snapshot(),
  };
}

/** Recounts what is held, by whom, and whether every sum agrees. */
export function storageAudit(parts: StorageParts): StorageAudit {
  const l1 = parts.l1.audit();
  const problems = [...l1.problems];
  const openParts = parts.store.openKeys;
  if (l1.openObligations !== openParts) problems.push(`${l1.openObligations} obligations hold objects in L1 and ${openParts} are open`);
  return {
    ...l1,
    problems,
    openWrites: parts.openWriteCount,
    waiting: parts.admission.waitingCount,
    openObligationKeys: openParts,
    loadsInFlight: parts.prefetch.loadsInFlight,
    ...parts.prefetch.waiting,
    saltsWithBytes: parts.eviction.saltCount,
    arena: parts.l1.arena.stats(false),
  };
}

/** Lines for people at the start: what was decided, and what will surprise (law 10). */
export function storageBanner({ config, runtime, l1, adapters }: StorageParts, largestObjectBytes: number): string[] {
  const engine = runtime.stats();
  return [
    `L1 ${formatBytes(l1.arena.capacityBytes)}, eviction ${config.l1.evictionPolicy}, store policy ${config.l2.storePolicy}, prefetch policy ${config.l2.prefetchPolicy}; largest object ${formatBytes(largestObjectBytes)}`,
    // Before an adapter has opened files there is nothing to say about how they move.
    ...(engine.fileEngine === "io_uring" || !adapters.some((adapter) => adapter.capabilities.persistent && !adapter.capabilities.throughJavaScript) ? [] : [`files go through threads: ${engine.fileEngineReason}`]),
    ...adapters.map((adapter) => `L2 ${describe(adapter)}`),
    ...config.warnings.map((warning) => `warning: ${warning}`),
  ];
}

/** An adapter that throws when asked about itself must not hide the others. */
function answerOf<T>(ask: () => T): T | { readonly error: string } {
  try {
    return ask();
  } catch (error) {
    return { error: errorText(error) };
  }
}

function describe(adapter: L2Adapter): string {
  const answer = answerOf(() => adapter.describe());
  return typeof answer === "string" ? answer : `${adapter.name}: cannot describe itself: ${answer.error}`;
}
