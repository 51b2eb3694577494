import type { Clock, Timer } from "../base/clock.ts";
import type { ReplaySample } from "./replay-result.ts";

/** Twice the points of the report's curves: thinning then halves the list and doubles the interval, so a run of any length fits. */
const samplesMax = 1200;
const firstIntervalMs = 20;

/** Looks at a run at even distances of time, which grow with the run. */
export class Sampler {
  readonly #clock: Clock;
  readonly #read: () => ReplaySample;
  #samples: ReplaySample[] = [];
  #intervalMs = firstIntervalMs;
  #timer: Timer | undefined;

  constructor(clock: Clock, read: () => ReplaySample) {
    this.#clock = clock;
    this.#read = read;
  }

  start(): void {
    this.#take();
    this.#arm();
  }

  /** Takes the last sample and returns all. */
  finish(): readonly ReplaySample[] {
    this.#timer?.cancel();
    this.#take();
    return this.#samples;
  }

  #arm(): void {
    this.#timer = this.#clock.setTimer(this.#intervalMs, () => {
      this.#take();
      this.#arm();
    });
  }

  #take(): void {
    this.#samples.push(this.#read());
    if (this.#samples.length < samplesMax) return;
    this.#samples = halved(this.#samples);
    this.#intervalMs *= 2;
  }
}

/** Every second sample, each with the higher of its own and its left-out neighbour's gauges: peaks stay. */
function halved(samples: readonly ReplaySample[]): ReplaySample[] {
  const kept: ReplaySample[] = [];
  for (let index = 0; index < samples.length; index += 2) {
    const sample = samples[index];
    const skipped = samples[index - 1] ?? sample;
    kept.push({
      ...sample,
      l1UsedBytes: Math.max(sample.l1UsedBytes, skipped.l1UsedBytes),
      queuedChunks: Math.max(sample.queuedChunks, skipped.queuedChunks),
      waitingWriters: Math.max(sample.waitingWriters, skipped.waitingWriters),
    });
  }
  return kept;
}
