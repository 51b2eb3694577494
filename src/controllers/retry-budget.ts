import type { Clock } from "../base/clock.ts";

/** Keys that may be tried again per second, over all adapters: a dead engine must not double the load. Unused room lasts one second. */
export class RetryBudget {
  readonly #clock: Clock;
  readonly #keysPerSecond: number;
  #tokens: number;
  #atMs: number;

  constructor(clock: Clock, keysPerSecond: number) {
    this.#clock = clock;
    this.#keysPerSecond = keysPerSecond;
    this.#tokens = keysPerSecond;
    this.#atMs = clock.nowMs();
  }

  /** True when the keys may be tried again; all of them or none. */
  take(keyCount: number): boolean {
    const nowMs = this.#clock.nowMs();
    this.#tokens = Math.min(this.#keysPerSecond, this.#tokens + ((nowMs - this.#atMs) / 1000) * this.#keysPerSecond);
    this.#atMs = nowMs;
    if (this.#tokens < keyCount) return false;
    this.#tokens -= keyCount;
    return true;
  }
}
