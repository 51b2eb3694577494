/**
 * Time as the control plane sees it (law 8): policies and controllers get a Clock and never touch Date.now or setTimeout,
 * so that a seeded simulation can drive them.
 */
export interface Clock {
  /** Milliseconds of a monotonic clock; only differences mean anything. */
  nowMs(): number;
  /** Milliseconds since the Unix epoch, for people and file headers only. */
  wallMs(): number;
  /** Runs `callback` once after `delayMs`; Infinity is never. A pending timer does not keep the process alive unless it is asked to, for work that a caller awaits. */
  setTimer(delayMs: number, callback: () => void, options?: TimerOptions): Timer;
}

export interface TimerOptions {
  readonly keepAlive?: boolean;
}

export interface Timer {
  /** Idempotent; after it returns the callback will not run. */
  cancel(): void;
}

/** setTimeout turns anything longer (24.8 days) into 1 ms; longer waits are made of several. */
const timeoutMsMax = 2 ** 31 - 1;

function checkDelay(delayMs: number): void {
  if (Number.isNaN(delayMs)) throw new RangeError("a timer's delay must be a number of milliseconds, got NaN");
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, callback, options) {
    checkDelay(delayMs);
    let handle: NodeJS.Timeout | undefined;
    const arm = (leftMs: number): void => {
      const stepMs = Math.min(leftMs, timeoutMsMax);
      handle = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : callback()), stepMs);
      if (options?.keepAlive !== true) handle.unref();
    };
    if (delayMs !== Infinity) arm(Math.max(0, delayMs));
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Resolves after `delayMs` of `clock`; whoever awaits it keeps the process alive. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimer(delayMs, resolve, { keepAlive: true });
  });
}

/** Waits for `work`, at most `deadlineMs`. Returns whether it settled in time. Keeps the process alive meanwhile, and no longer. */
export async function settlesWithin(clock: Clock, work: Promise<unknown>, deadlineMs: number): Promise<boolean> {
  let timer: Timer | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = clock.setTimer(deadlineMs, () => resolve(false), { keepAlive: true });
  });
  const done = work.then(
    () => true,
    () => true,
  );
  const inTime = await Promise.race([done, late]);
  timer?.cancel();
  return inTime;
}

interface PendingTimer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
  live: boolean;
}

/**
 * A clock that moves only when told: for tests and the simulation.
 * Timers due at the same instant run in the order they were set.
 */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #timers: PendingTimer[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    checkDelay(delayMs);
    if (delayMs === Infinity) return { cancel() {} };
    const timer: PendingTimer = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, callback, live: true };
    // Binary insertion keeps the list sorted by (due, order): tests hold few timers, so a heap would buy nothing.
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#timers[middle].dueMs <= timer.dueMs) low = middle + 1;
      else high = middle;
    }
    this.#timers.splice(low, 0, timer);
    return {
      cancel: () => {
        timer.live = false;
      },
    };
  }

  /** When the next live timer is due, or undefined when none is set. */
  nextDueMs(): number | undefined {
    while (this.#timers.length > 0 && !this.#timers[0].live) this.#timers.shift();
    return this.#timers[0]?.dueMs;
  }

  /** Moves to the next timer and runs it. Returns false when no timer is set. */
  runNext(): boolean {
    const dueMs = this.nextDueMs();
    if (dueMs === undefined) return false;
    const timer = this.#timers.shift() as PendingTimer;
    this.#nowMs = Math.max(this.#nowMs, dueMs);
    timer.live = false;
    timer.callback();
    return true;
  }

  /** Moves forward by `deltaMs`, running on the way what falls due. */
  advance(deltaMs: number): void {
    const targetMs = this.#nowMs + deltaMs;
    for (let dueMs = this.nextDueMs(); dueMs !== undefined && dueMs <= targetMs; dueMs = this.nextDueMs()) this.runNext();
    this.#nowMs = targetMs;
  }

  /** Jumps without running timers, as a machine that slept does (fault injection). */
  jump(deltaMs: number): void {
    this.#nowMs += deltaMs;
  }
}
