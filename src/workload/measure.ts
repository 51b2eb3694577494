/** Reads a storage's counters into a replay's samples and result. */
import { formatBytes } from "../base/bytes.ts";
import type { Counters } from "../base/counters.ts";
import type { Storage } from "../storage/index.ts";
import type { ReplayCounts } from "./replay.ts";
import type { ReplaySample, StoreLoss } from "./replay-result.ts";

interface Obligations {
  readonly created: number;
  readonly stored: number;
  readonly failed: number;
  readonly dropped: number;
}

export function obligationsOf(counters: Counters): Obligations {
  const ended = (ending: string): number => counters.total("kvferry_obligations_ended_total", { ending });
  return { created: counters.total("kvferry_obligations_created_total"), stored: ended("stored"), failed: ended("failed"), dropped: ended("dropped") };
}

export function takeSample(storage: Storage, counts: ReplayCounts, blockBytes: number, atMs: number): ReplaySample {
  const { created, stored, failed, dropped } = obligationsOf(storage.counters);
  return {
    atMs,
    requests: counts.requests,
    chunksRequested: counts.chunksRequested,
    chunksHit: counts.chunksHit,
    l1UsedBytes: storage.usage.usedBytes,
    storedBytes: stored * blockBytes,
    loadedBytes: counts.bytesVerified,
    queuedChunks: created - stored - failed - dropped,
    waitingWriters: counts.waitingWriters,
  };
}

/** State of L1 when a run has drained, and the sentences for what is not as the quiescence law wants it. */
export function checkAtRest(storage: Storage): { readonly usedBytes: number; readonly problems: readonly string[] } {
  const { l1, obligations, policies } = storage.status();
  const usedBytes = l1.usedBytes;
  const problems: string[] = [];
  const mustBeZero: readonly (readonly [string, number])[] = [
    ["leases", Number(l1.leases)],
    ["open writes", Number(l1.openWrites)],
    ["staged bytes", Number(l1.stagedBytes)],
    ["bytes that drain", Number(l1.drainingBytes)],
    ["chunks still owed to a store", obligations.openKeys],
  ];
  for (const [what, value] of mustBeZero) if (value !== 0) problems.push(`L1 did not come to rest: ${value} ${what}`);
  // A store policy that skips L1 leaves nothing behind, unless the prefetch policy keeps what was loaded.
  if (policies.store === "skip_l1" && policies.prefetch !== "retain" && usedBytes !== 0)
    problems.push(`L1 holds ${formatBytes(usedBytes)} at the end of a run in which every chunk should have left it`);
  const counted = obligationsOf(storage.counters);
  if (counted.created !== counted.stored + counted.failed + counted.dropped)
    problems.push(`obligations do not add up: ${counted.created} created, ${counted.stored} stored, ${counted.failed} failed, ${counted.dropped} dropped`);
  return { usedBytes, problems };
}

/** How many chunk stores ended otherwise than stored, per adapter and reason. */
export function storeLossesOf(counters: Counters): readonly StoreLoss[] {
  const found: StoreLoss[] = [];
  for (const [id, chunks] of Object.entries(counters.snapshot())) {
    const { name, labels } = parseCounterId(id);
    if (name !== "kvferry_store_keys_total" || chunks === 0 || (labels.ending !== "failed" && labels.ending !== "dropped")) continue;
    found.push({ adapter: labels.adapter, ending: labels.ending, reason: labels.reason, chunks });
  }
  return found;
}

/** One sentence per adapter and reason for which chunks were not stored or not found whole. */
export function lossesOf(counters: Counters): readonly string[] {
  const found: string[] = [];
  for (const [id, value] of Object.entries(counters.snapshot())) {
    if (value === 0) continue;
    const { name, labels } = parseCounterId(id);
    if (name === "kvferry_store_keys_total" && labels.ending !== "stored") found.push(`${value} chunk stores ${labels.ending}${labels.reason === "no_target" ? " by the store policy, which named no adapter" : ` at ${labels.adapter}`}: ${labels.reason}`);
    else if (name === "kvferry_load_misses_total" && labels.reason !== "missing") found.push(`${value} chunks of ${labels.adapter} counted as misses: ${labels.reason}`);
    else if (name === "kvferry_policy_errors_total") found.push(`the ${labels.kind} policy ${labels.policy} threw ${value} times`);
    else if (name === "kvferry_lookup_deadlines_total") found.push(`${value} lookups ended at their deadline with a shorter prefix`);
  }
  return found;
}

function parseCounterId(id: string): { readonly name: string; readonly labels: Readonly<Record<string, string>> } {
  const brace = id.indexOf("{");
  if (brace === -1) return { name: id, labels: {} };
  return { name: id.slice(0, brace), labels: Object.fromEntries([...id.slice(brace).matchAll(/(\w+)="([^"]*)"/g)].map(([, label, value]) => [label, value])) };
}

/** Prefix hit ratio of these requests in a store that starts empty and keeps everything. */
export function infinitePrefixHitRatio(requests: readonly { readonly hashIds: readonly number[] }[]): number {
  const seen = new Set<number>();
  let requested = 0;
  let hit = 0;
  for (const { hashIds } of requests) {
    requested += hashIds.length;
    const miss = hashIds.findIndex((id) => !seen.has(id));
    hit += miss === -1 ? hashIds.length : miss;
    for (const id of hashIds) seen.add(id);
  }
  return requested === 0 ? 0 : hit / requested;
}

