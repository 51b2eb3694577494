import type { Clock, Timer } from "../../base/clock.ts";

/** How far a transfer may finish ahead of its time: below this a timer would cost more than it is exact. */
const debtMs = 2;
/** How much unused time the link keeps: timers fire up to a few ms late, and what they oversleep must not lower the rate. */
const creditMs = 8;

/** One link shared by everything that moves through it: `bytesPerSecond` in all, not per task (LMCache's mock has it per task). */
export class BandwidthBucket {
  readonly #clock: Clock;
  readonly #bytesPerMs: number;
  readonly #waiting = new Map<Timer, () => void>();
  #freeAtMs: number;

  constructor(bytesPerSecond: number, clock: Clock) {
    this.#clock = clock;
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#freeAtMs = clock.nowMs();
  }

  /** Books `bytes`; returns when their transfer ends. */
  take(bytes: number): number {
    this.#freeAtMs = Math.max(this.#freeAtMs, this.#clock.nowMs() - creditMs) + bytes / this.#bytesPerMs;
    return this.#freeAtMs;
  }

  /** Resolves at `dueMs` (at most 2 ms early), when the signal fires, or at release(). */
  wait(dueMs: number, signal?: AbortSignal): Promise<void> {
    const delayMs = dueMs - this.#clock.nowMs();
    if (delayMs <= debtMs || signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const settle = (): void => {
        timer.cancel();
        this.#waiting.delete(timer);
        signal?.removeEventListener("abort", settle);
        resolve();
      };
      const timer = this.#clock.setTimer(delayMs, settle, { keepAlive: true });
      this.#waiting.set(timer, settle);
      signal?.addEventListener("abort", settle, { once: true });
    });
  }

  /** Lets everything that waits go on at once (close). */
  release(): void {
    for (const settle of [...this.#waiting.values()]) settle();
  }
}
