/** What a person sees of a replay: the progress line, the summary, and the command that repeats it. */
import { basename } from "node:path";

import { formatBytes } from "../../base/bytes.ts";
import type { ReplayResult, ReplaySample } from "../../workload/replay-result.ts";
import type { ReplayFlags } from "../commands/replay.ts";
import { formatCount, formatPercent, formatRate, formatSeconds, table } from "../format.ts";

/** One line: how far, how good, how fast over the last moments, how long to go. */
export function progressLine(now: ReplaySample, before: ReplaySample, total: number, capacityBytes: number): string {
  const seconds = (now.atMs - before.atMs) / 1000;
  const done = total === 0 ? 1 : now.requests / total;
  const ratio = now.chunksRequested === 0 ? 0 : now.chunksHit / now.chunksRequested;
  const left = done > 0.02 && done < 1 ? `, ${formatSeconds(((now.atMs / 1000) * (1 - done)) / done)} to go` : "";
  return [
    `${progressBar(done)} ${now.requests}/${total} requests`,
    `hit ${formatPercent(ratio)}`,
    `L1 ${formatBytes(now.l1UsedBytes)} of ${formatBytes(capacityBytes)}`,
    `store ${formatRate(now.storedBytes - before.storedBytes, seconds)}`,
    `load ${formatRate(now.loadedBytes - before.loadedBytes, seconds)}${left}`,
  ].join("  ");
}

function progressBar(done: number): string {
  const cells = 20;
  const full = Math.min(cells, Math.floor(done * cells));
  return `[${"=".repeat(full)}${" ".repeat(cells - full)}]`;
}

export function summaryOf(result: ReplayResult): string {
  const { bytes, chunks, l1, obligations, seconds, eventLoopDelayMs, policies } = result;
  return table(`${basename(result.trace)}: ${formatCount(result.requests)} requests in ${formatSeconds(seconds)}`, [
    ["prefix hits", `${formatCount(chunks.hit)} of ${formatCount(chunks.requested)} chunks = ${formatPercent(result.prefixHitRatio)}  (a store that never evicts, from empty: ${formatPercent(result.infinitePrefixHitRatio)})`],
    ["stored", `${formatCount(chunks.stored)} chunks, ${formatBytes(bytes.stored)} (${formatRate(bytes.stored, seconds)})`],
    ["loaded", `${formatBytes(bytes.loaded)} (${formatRate(bytes.loaded, seconds)}), every byte checked: ${formatCount(bytes.wrong)} wrong`],
    ["L1", `peak ${formatBytes(l1.peakBytes)} of ${formatBytes(l1.capacityBytes)}, ${formatBytes(l1.usedBytesAtEnd)} at the end  (eviction ${policies.eviction}, store ${policies.store}, prefetch ${policies.prefetch})`],
    ["obligations", `${formatCount(obligations.created)} created = ${formatCount(obligations.stored)} stored + ${formatCount(obligations.failed)} failed + ${formatCount(obligations.dropped)} dropped${lossesIn(result)}`],
    ["event loop", `delay p50 ${eventLoopDelayMs.p50.toFixed(1)} ms, p99 ${eventLoopDelayMs.p99.toFixed(1)} ms, longest ${eventLoopDelayMs.max.toFixed(1)} ms`],
    ["verdict", verdictOf(result)],
  ]);
}

function verdictOf(result: ReplayResult): string {
  if (result.problems.length > 0) return `BROKEN: ${result.problems.join("; ")}`;
  const { failed, dropped, created } = result.obligations;
  const lost = [failed > 0 ? `${formatCount(failed)} failed` : "", dropped > 0 ? `${formatCount(dropped)} dropped` : ""].filter(Boolean).join(", ");
  const losses = lost !== "" ? `; of ${formatCount(created)} stores ${lost}: see obligations` : result.warnings.length > 0 ? "; see the warnings" : "";
  if (result.interruptedBy !== null) return `ended early by ${result.interruptedBy} after ${formatCount(result.requests)} requests; every loaded byte right, L1 at rest${losses}`;
  return `every loaded byte right, L1 at rest${losses}`;
}

/** ` (118 no_room at fs)`: what stores that ended otherwise than stored ended for. */
function lossesIn({ storeLosses }: ReplayResult): string {
  if (storeLosses.length === 0) return "";
  return ` (${storeLosses.map(({ adapter, reason, chunks }) => `${formatCount(chunks)} ${reason}${adapter === "none" ? "" : ` at ${adapter}`}`).join(", ")})`;
}

/** The command line that makes the same run again, quoted for a shell. */
export function commandLineOf(tracePath: string, flags: ReplayFlags): string {
  const parts = ["kvferry", "replay", quote(tracePath)];
  const add = (flag: string, value: unknown): void => {
    if (value !== undefined) parts.push(flag, quote(String(value)));
  };
  add("--limit", flags.limit);
  add("--payload-bytes-per-block", flags.payloadBytesPerBlock);
  add("--l1-size-gb", flags.l1SizeGb);
  add("--eviction-policy", flags.evictionPolicy);
  add("--l2-store-policy", flags.l2StorePolicy);
  add("--l2-prefetch-policy", flags.l2PrefetchPolicy);
  for (const spec of flags.l2Adapter ?? []) add("--l2-adapter", JSON.stringify(spec));
  if (flags.speed !== undefined && flags.speed !== Infinity) add("--speed", flags.speed === 1 ? "trace" : flags.speed);
  add("--seed", flags.seed);
  if (flags.skipBrokenLines === true) parts.push("--skip-broken-lines");
  return parts.join(" ");
}

function quote(text: string): string {
  return /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
