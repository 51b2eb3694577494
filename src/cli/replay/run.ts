/** One replay over an open storage, watched from outside: signals, progress, samples, event-loop delay, and the result at the end. */
import { MiB } from "../../base/bytes.ts";
import { systemClock } from "../../base/clock.ts";
import { CapacityError, errorText } from "../../base/errors.ts";
import type { Storage } from "../../storage/index.ts";
import { checkAtRest, infinitePrefixHitRatio, lossesOf, obligationsOf, storeLossesOf, takeSample } from "../../workload/measure.ts";
import { Replay } from "../../workload/replay.ts";
import type { ReplayResult, ReplaySample, StoreLoss } from "../../workload/replay-result.ts";
import { Sampler } from "../../workload/sampler.ts";
import type { LoadedTrace, ReplayFlags } from "../commands/replay.ts";
import { signalExitCodes, type StopSignal, type Terminal } from "../terminal.ts";
import { DeviceEngine } from "./device-engine.ts";
import { LoopDelay } from "./loop-delay.ts";
import { drainSecondsOf, payloadBytesOf, seedOf } from "./plan.ts";
import { progressLine } from "./summary.ts";

export interface FinishedRun {
  readonly result: ReplayResult;
  readonly samples: readonly ReplaySample[];
}

/** One window of payload; several are on their way at a time, so that copies run while JavaScript fills and compares. */
const windowBytesMax = MiB;
const windowCount = 8;
const progressPauseMs = 200;
/** Store policies of kvferry's; any other is the user's. */
const kvferrysOwn: ReadonlySet<string> = new Set(["default", "skip_l1"]);

/** Replays `trace`, waits for what is in flight, and says what happened. Rejects only when the storage itself cannot be used. */
export async function replayOver(storage: Storage, trace: LoadedTrace, flags: ReplayFlags, terminal: Terminal, stop: StopSignals): Promise<FinishedRun> {
  const payloadBytes = payloadBytesOf(flags);
  // A sixteenth of L1: several windows of stores and loads must fit beside each other.
  const windowBlocks = Math.max(1, Math.floor(Math.min(windowBytesMax, storage.arena.capacityBytes / 16) / payloadBytes));
  const engine = new DeviceEngine(storage.runtime, payloadBytes, windowBlocks * windowCount);
  try {
    await adaptersReady(storage);
    const replay = new Replay({
      requests: trace.requests,
      storage,
      engine,
      clock: systemClock,
      traceName: trace.name,
      seed: seedOf(flags),
      speed: flags.speed ?? Infinity,
      windowBlocks,
      signal: stop.signal,
    });
    const watch = new Watch(storage, replay, payloadBytes, trace.requests.length, terminal);
    const problems = await runAndDrain(replay, storage, drainSecondsOf(flags));
    const watched = watch.finish();
    return { result: resultOf(storage, replay, trace, flags, watched, problems, stop.received), samples: watched.samples };
  } finally {
    await engine.close();
  }
}

/** Hears the signals that ask to stop until forget(). */
export class StopSignals {
  received: StopSignal | null = null;
  readonly #controller = new AbortController();
  readonly forget: () => void;

  constructor(terminal: Terminal) {
    this.forget = terminal.onSignal((signal) => {
      // The second one means it: no drain, no summary. What was reported stored is on disk, the rest was never promised.
      if (this.received !== null) process.exit(signalExitCodes[signal]);
      this.received = signal;
      terminal.progress("");
      terminal.err(`${signal}: no new requests; waiting for what is in flight (once more to leave at once)\n`);
      this.#controller.abort(new Error(signal));
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }
}

interface Watched {
  readonly seconds: number;
  readonly samples: readonly ReplaySample[];
  readonly eventLoopDelayMs: ReplayResult["eventLoopDelayMs"];
}

/** Looks at a run from its construction to finish(). */
class Watch {
  readonly #startMs = systemClock.nowMs();
  readonly #delay = new LoopDelay();
  readonly #sampler: Sampler;
  readonly #ticker: NodeJS.Timeout;
  readonly #terminal: Terminal;

  constructor(storage: Storage, replay: Replay, payloadBytes: number, total: number, terminal: Terminal) {
    const look = (): ReplaySample => takeSample(storage, replay.counts, payloadBytes, systemClock.nowMs() - this.#startMs);
    this.#terminal = terminal;
    this.#sampler = new Sampler(systemClock, look);
    this.#sampler.start();
    let before = look();
    // Also what keeps the process alive while a replay by the trace's clock waits: kvferry's own timers do not.
    this.#ticker = setInterval(() => {
      const now = look();
      terminal.progress(progressLine(now, before, total, storage.arena.capacityBytes));
      if (now.atMs - before.atMs > 1_000) before = now;
    }, progressPauseMs);
  }

  finish(): Watched {
    clearInterval(this.#ticker);
    this.#terminal.progress("");
    return { seconds: (systemClock.nowMs() - this.#startMs) / 1000, samples: this.#sampler.finish(), eventLoopDelayMs: this.#delay.finish() };
  }
}

/** Resolves when nothing is in flight, or when the drain took too long; returns what went wrong, in sentences. */
async function runAndDrain(replay: Replay, storage: Storage, drainSeconds: number): Promise<string[]> {
  const problems: string[] = [];
  try {
    await replay.run();
  } catch (error) {
    problems.push(failureOf(error));
  }
  if (!(await drained(storage, drainSeconds * 1000))) problems.push(`stores were still in flight after ${drainSeconds} s (--drain-seconds)`);
  return problems;
}

function resultOf(storage: Storage, replay: Replay, trace: LoadedTrace, flags: ReplayFlags, watched: Watched, failures: readonly string[], interruptedBy: ReplayResult["interruptedBy"]): ReplayResult {
  const { counts } = replay;
  const atRest = checkAtRest(storage);
  const obligations = obligationsOf(storage.counters);
  const problems = [...failures, ...atRest.problems];
  if (counts.bytesWrong > 0) problems.push(`${counts.bytesWrong} of ${counts.bytesVerified} loaded bytes were wrong`);
  const storeLosses = storeLossesOf(storage.counters);
  const dropped = obligations.dropped - droppedByChoice(storage.config.l2.storePolicy, storeLosses);
  if (dropped > 0 && interruptedBy === null) problems.push(`${dropped} chunks were dropped; a replay waits for room and may lose nothing`);
  return {
    trace: trace.path,
    requests: counts.requests,
    chunks: { requested: counts.chunksRequested, hit: counts.chunksHit, stored: counts.chunksStored },
    prefixHitRatio: counts.chunksRequested === 0 ? 0 : counts.chunksHit / counts.chunksRequested,
    infinitePrefixHitRatio: infinitePrefixHitRatio(trace.requests),
    bytes: { stored: counts.bytesCommitted, loaded: counts.bytesLoaded, verified: counts.bytesVerified, wrong: counts.bytesWrong },
    l1: { capacityBytes: storage.arena.capacityBytes, peakBytes: storage.usage.peakUsedBytes, usedBytesAtEnd: atRest.usedBytes },
    obligations,
    storeLosses,
    seconds: watched.seconds,
    payloadBytesPerBlock: payloadBytesOf(flags),
    seed: seedOf(flags),
    brokenLines: trace.brokenLines,
    eventLoopDelayMs: watched.eventLoopDelayMs,
    policies: { eviction: storage.config.l1.evictionPolicy, store: storage.config.l2.storePolicy, prefetch: storage.config.l2.prefetchPolicy },
    adapters: storage.adapters.map((adapter) => adapter.describe()),
    problems,
    warnings: lossesOf(storage.counters),
    interruptedBy,
  };
}

/** Chunks that a user's store policy named nobody for, or let go under pressure. kvferry's own policies never do that on purpose. */
function droppedByChoice(storePolicy: string, losses: readonly StoreLoss[]): number {
  if (kvferrysOwn.has(storePolicy)) return 0;
  return losses.filter(({ ending, reason }) => ending === "dropped" && (reason === "no_target" || reason === "queue_full")).reduce((sum, { chunks }) => sum + chunks, 0);
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
