import { monitorEventLoopDelay } from "node:perf_hooks";

const timerMs = 1;

/** How long others had to wait for the event loop, from construction to finish(). */
export class LoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: timerMs });

  constructor() {
    this.#histogram.enable();
  }

  finish(): { readonly p50: number; readonly p99: number; readonly max: number } {
    this.#histogram.disable();
    // The histogram holds the distances of timers that are 1 ms apart, so 1 ms is no delay.
    const ms = (nanoseconds: number): number => Math.max(0, Math.round(nanoseconds / 1e4 - 100 * timerMs) / 100);
    if (this.#histogram.count === 0) return { p50: 0, p99: 0, max: 0 };
    return { p50: ms(this.#histogram.percentile(50)), p99: ms(this.#histogram.percentile(99)), max: ms(this.#histogram.max) };
  }
}
