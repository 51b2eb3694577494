import type { Clock, Timer } from "../base/clock.ts";

/**
 * Looks at a queue when the oldest task in it runs out of time. What waits behind an adapter that never answers is never sent, so nothing
 * else would end it, and its objects would hold L1 for ever (law 4; LMCache's N7).
 */
export class QueueWatch {
  readonly #clock: Clock;
  readonly #deadlineMs: number;
  readonly #sweep: (isOverdue: (createdMs: number) => boolean) => void;
  #timer: Timer | undefined;
  #dueMs = Infinity;

  /** `sweep` ends the tasks that are overdue and calls note() for the oldest one left. */
  constructor(clock: Clock, deadlineMs: number, sweep: (isOverdue: (createdMs: number) => boolean) => void) {
    this.#clock = clock;
    this.#deadlineMs = deadlineMs;
    this.#sweep = sweep;
  }

  /** A task of this age is in the queue. */
  note(createdMs: number): void {
    const dueMs = createdMs + this.#deadlineMs;
    if (dueMs >= this.#dueMs) return;
    this.cancel();
    this.#dueMs = dueMs;
    this.#timer = this.#clock.setTimer(dueMs - this.#clock.nowMs(), () => {
      this.cancel();
      const nowMs = this.#clock.nowMs();
      // The same sum as dueMs: the difference would round otherwise, and find nothing due for ever.
      this.#sweep((taskMs) => taskMs + this.#deadlineMs <= nowMs);
    });
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#dueMs = Infinity;
  }
}
