import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";

import { formatBytes, GiB, MiB } from "../../base/bytes.ts";
import { systemClock } from "../../base/clock.ts";
import { CapacityError, ConfigError, errorText } from "../../base/errors.ts";
import { createLogger } from "../../base/log.ts";
import { packageRoot } from "../../native/load.ts";
import { openStorage, type Storage, type StorageConfigInput } from "../../storage/index.ts";
import { checkAtRest, infinitePrefixHitRatio, lossesOf, obligationsOf, takeSample } from "../../workload/measure.ts";
import { renderReport } from "../../workload/report/page.ts";
import { Replay } from "../../workload/replay.ts";
import type { ReplayResult, ReplaySample } from "../../workload/replay-result.ts";
import { Sampler } from "../../workload/sampler.ts";
import type { LoadedTrace, ReplayFlags } from "../commands/replay.ts";
import type { Terminal } from "../terminal.ts";
import { exitCodes, UsageError } from "../usage.ts";
import { DeviceEngine } from "./device-engine.ts";
import { commandLineOf, progressLine, summaryOf } from "./summary.ts";

const defaults = { payloadBytes: 16 * 1024, l1SizeGb: 0.25, seed: 1, drainSeconds: 60 };
/** One window of payload: small enough that filling or checking it, 0.3 ms a slice, never shows in the event loop's delay. */
const windowBytesMax = MiB;
const windowCount = 8;
/** Smallest arena. */
const l1BytesMin = 64 * 1024;
const signalExitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

/** Replays with real payload and returns the exit code. */
export async function runPayloadReplay(trace: LoadedTrace, flags: ReplayFlags, terminal: Terminal): Promise<number> {
  const temporary = wantsTemporaryDirectory(flags) ? await mkdtemp(join(tmpdir(), "kvferry-replay-")) : undefined;
  try {
    if (flags.report !== undefined) await checkWritable(flags.report);
    const logger = createLogger("warn", systemClock, (line) => {
      terminal.progress("");
      terminal.err(`${line}\n`);
    });
    const storage = await inWordsOfFlags(() => openStorage(storageConfig(flags, temporary), { logger }));
    let run: ReplayRun;
    try {
      checkPayloadFits(storage, flags);
      if (flags.json !== true) for (const line of storage.banner()) terminal.err(`${line}\n`);
      run = await replayOver(storage, trace, flags, terminal);
    } finally {
      await storage.close({ deadlineMs: 1_000 });
    }
    return await finish(run, trace, flags, terminal);
  } finally {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  }
}

interface ReplayRun {
  readonly result: ReplayResult;
  readonly samples: readonly ReplaySample[];
}

async function finish({ result, samples }: ReplayRun, trace: LoadedTrace, flags: ReplayFlags, terminal: Terminal): Promise<number> {
  if (flags.report !== undefined) {
    const version = (JSON.parse(await readFile(join(packageRoot(), "package.json"), "utf8")) as { version: string }).version;
    await writeFile(flags.report, renderReport(result, samples, { title: trace.name, command: commandLineOf(trace.path, flags), version, madeAt: new Date() }));
    terminal.err(`report: ${flags.report}\n`);
  }
  terminal.out(flags.json === true ? `${JSON.stringify(result, undefined, 2)}\n` : summaryOf(result));
  for (const warning of result.warnings) terminal.err(`warning: ${warning}\n`);
  if (result.problems.length > 0) {
    if (flags.json === true) for (const problem of result.problems) terminal.err(`kvferry replay: ${problem}\n`);
    return exitCodes.failed;
  }
  return result.interruptedBy === null ? exitCodes.ok : signalExitCodes[result.interruptedBy];
}

/** With neither policy nor adapter named the replay shows the project's own mode, and needs a place for L2. */
function wantsTemporaryDirectory(flags: ReplayFlags): boolean {
  return flags.evictionPolicy === undefined && flags.l2StorePolicy === undefined && flags.l2Adapter === undefined;
}

function storageConfig(flags: ReplayFlags, temporary: string | undefined): StorageConfigInput {
  const sizeGb = flags.l1SizeGb ?? defaults.l1SizeGb;
  const sizeBytes = Math.floor(sizeGb * GiB);
  if (sizeBytes < l1BytesMin) throw new UsageError(`--l1-size-gb must be at least ${l1BytesMin / GiB} (${formatBytes(l1BytesMin)}), got ${sizeGb} (${formatBytes(sizeBytes)})`);
  // The temporary directory goes away in a moment: it may use what a store that stays must leave free.
  const adapters = temporary === undefined ? (flags.l2Adapter ?? []) : [{ type: "fs", base_path: temporary, min_free_gb: 0.25, min_free_percent: 0, min_free_inodes_percent: 1 }];
  return {
    l1: { sizeBytes, evictionPolicy: flags.evictionPolicy ?? (temporary === undefined ? "LRU" : "noop"), queueMax: 1024 },
    l2: {
      ...(flags.l2StorePolicy === undefined ? {} : { storePolicy: flags.l2StorePolicy }),
      ...(flags.l2PrefetchPolicy === undefined ? {} : { prefetchPolicy: flags.l2PrefetchPolicy }),
      // A replay waits for a slow store instead of giving chunks up: an L1 of many GiB before a slow disk queues for minutes.
      storeDeadlineMs: 600_000,
      storePressure: "wait",
      adapters: adapters as NonNullable<StorageConfigInput["l2"]>["adapters"],
    },
  };
}

const flagOfField: Readonly<Record<string, string>> = {
  "l1.sizeBytes": "--l1-size-gb",
  "l1.evictionPolicy": "--eviction-policy",
  "l2.storePolicy": "--l2-store-policy",
  "l2.prefetchPolicy": "--l2-prefetch-policy",
};

/** A refusal of the configuration speaks of its fields; the person who typed flags gets their names. */
async function inWordsOfFlags<Result>(open: () => Promise<Result>): Promise<Result> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const named = [error.field, error.field.replace(/\.[^.]*$/, "")].some((field) => error.message.includes(field));
    let sentence = named ? error.message : `${error.field}: ${error.message}`;
    for (const [field, flag] of Object.entries(flagOfField)) sentence = sentence.replaceAll(field, flag);
    throw new UsageError(sentence.replaceAll(/\bl2\.adapters\[(\d+)\]/g, (_, index: string) => `--l2-adapter ${Number(index) + 1}`).replace("l2.adapters must name", "--l2-adapter must name"));
  }
}

function checkPayloadFits(storage: Storage, flags: ReplayFlags): void {
  const payloadBytes = flags.payloadBytesPerBlock ?? defaults.payloadBytes;
  const largest = storage.largestObjectBytes();
  if (payloadBytes > largest)
    throw new UsageError(
      `--payload-bytes-per-block must be at most ${largest} (${formatBytes(largest)}), the largest object of an L1 of ${formatBytes(storage.arena.capacityBytes)}, got ${payloadBytes} (${formatBytes(payloadBytes)})`,
    );
}

async function checkWritable(path: string): Promise<void> {
  try {
    await writeFile(path, "");
  } catch (error) {
    throw new UsageError(`--report must be a file that can be written, got "${path}" (${errorText(error)})`);
  }
}

async function replayOver(storage: Storage, trace: LoadedTrace, flags: ReplayFlags, terminal: Terminal): Promise<ReplayRun> {
  const payloadBytes = flags.payloadBytesPerBlock ?? defaults.payloadBytes;
  const seed = flags.seed ?? defaults.seed;
  const windowBlocks = Math.max(1, Math.min(Math.floor(windowBytesMax / payloadBytes), Math.floor(storage.arena.capacityBytes / 16 / payloadBytes)));
  const engine = new DeviceEngine(storage.runtime, payloadBytes, windowBlocks * windowCount);
  const stop = new AbortController();
  let interruptedBy: "SIGINT" | "SIGTERM" | null = null;
  const forgetSignals = terminal.onSignal((signal) => {
    // The second one means it: no drain, no summary. What was reported stored is on disk, the rest was never promised.
    if (interruptedBy !== null) process.exit(signalExitCodes[signal]);
    interruptedBy = signal;
    terminal.progress("");
    terminal.err(`${signal}: no new requests; waiting for what is in flight (once more to leave at once)\n`);
    stop.abort(new Error(signal));
  });
  await adaptersReady(storage);
  const replay = new Replay({ requests: trace.requests, storage, engine, clock: systemClock, traceName: trace.name, seed, speed: flags.speed ?? Infinity, windowBlocks, signal: stop.signal });
  const startMs = systemClock.nowMs();
  const look = (): ReplaySample => takeSample(storage, replay.counts, payloadBytes, systemClock.nowMs() - startMs);
  const sampler = new Sampler(systemClock, look);
  const delay = new LoopDelay();
  let before = look();
  // Also what keeps the process alive while a replay by the trace's clock waits: kvferry's own timers do not.
  const ticker = setInterval(() => {
    const now = look();
    terminal.progress(progressLine(now, before, trace.requests.length, storage.arena.capacityBytes));
    if (now.atMs - before.atMs > 1_000) before = now;
  }, 200);
  const problems: string[] = [];
  sampler.start();
  try {
    try {
      await replay.run();
    } catch (error) {
      problems.push(failureOf(error));
    }
    if (!(await drained(storage, (flags.drainSeconds ?? defaults.drainSeconds) * 1000))) problems.push(`stores were still in flight after ${flags.drainSeconds ?? defaults.drainSeconds} s (--drain-seconds)`);
  } finally {
    clearInterval(ticker);
    forgetSignals();
    terminal.progress("");
  }
  const seconds = (systemClock.nowMs() - startMs) / 1000;
  const samples = sampler.finish();
  const atRest = checkAtRest(storage);
  problems.push(...atRest.problems);
  const { counts } = replay;
  if (counts.bytesWrong > 0) problems.push(`${counts.bytesWrong} of ${counts.bytesVerified} loaded bytes were wrong`);
  const obligations = obligationsOf(storage.counters);
  if (obligations.dropped > 0 && interruptedBy === null) problems.push(`${obligations.dropped} chunks were dropped; a replay waits for room and may lose nothing`);
  await engine.close();
  const result: ReplayResult = {
    trace: trace.path,
    requests: counts.requests,
    chunks: { requested: counts.chunksRequested, hit: counts.chunksHit, stored: counts.chunksStored },
    prefixHitRatio: counts.chunksRequested === 0 ? 0 : counts.chunksHit / counts.chunksRequested,
    infinitePrefixHitRatio: infinitePrefixHitRatio(trace.requests),
    bytes: { stored: counts.bytesCommitted, loaded: counts.bytesLoaded, verified: counts.bytesVerified, wrong: counts.bytesWrong },
    l1: { capacityBytes: storage.arena.capacityBytes, peakBytes: storage.usage.peakUsedBytes, usedBytesAtEnd: atRest.usedBytes },
    obligations,
    seconds,
    payloadBytesPerBlock: payloadBytes,
    seed,
    brokenLines: trace.brokenLines,
    eventLoopDelayMs: delay.finish(),
    policies: { eviction: storage.config.l1.evictionPolicy, store: storage.config.l2.storePolicy, prefetch: storage.config.l2.prefetchPolicy },
    adapters: storage.adapters.map((adapter) => adapter.describe()),
    problems,
    warnings: lossesOf(storage.counters),
    interruptedBy,
  };
  return { result, samples };
}

/** A run that could not go on, as a sentence. */
function failureOf(error: unknown): string {
  if (error instanceof CapacityError) return `a write found no room for a minute and nothing was leaving L1 (${error.message}); name an eviction policy that evicts, or skip_l1 with an adapter`;
  return `the replay stopped: ${errorText(error)}`;
}

/** A persistent store reads its index in the background; hits of an earlier run count from the first request on. */
async function adaptersReady(storage: Storage): Promise<void> {
  const giveUpMs = systemClock.nowMs() + 60_000;
  while (storage.adapters.some((adapter) => !adapter.health().ready) && systemClock.nowMs() < giveUpMs) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function drained(storage: Storage, deadlineMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), deadlineMs);
  });
  const inTime = await Promise.race([storage.idle().then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}

/** How long others had to wait for the event loop. The histogram measures the distance of 1 ms timers, so 1 ms is no delay. */
class LoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: 1 });

  constructor() {
    this.#histogram.enable();
  }

  finish(): ReplayResult["eventLoopDelayMs"] {
    this.#histogram.disable();
    const ms = (nanoseconds: number): number => Math.max(0, Math.round(nanoseconds / 1e4 - 100) / 100);
    if (this.#histogram.count === 0) return { p50: 0, p99: 0, max: 0 };
    return { p50: ms(this.#histogram.percentile(50)), p99: ms(this.#histogram.percentile(99)), max: ms(this.#histogram.max) };
  }
}
