import { ClosedError } from "../base/errors.ts";

/** Counts an adapter's running calls, so that close() can refuse new ones and wait for the old. */
export class Operations {
  readonly #what: string;
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  constructor(what: string) {
    this.#what = what;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Runs `start`; rejects with ClosedError once close() was called. */
  run<Result>(start: () => Promise<Result>): Promise<Result> {
    if (this.#closed) return Promise.reject(new ClosedError(this.#what));
    return this.track(start());
  }

  /** Makes close() wait for work that nobody else waits for. */
  track<Result>(work: Promise<Result>): Promise<Result> {
    const forget = (): void => {
      this.#running.delete(settled);
    };
    const settled: Promise<void> = work.then(forget, forget);
    this.#running.add(settled);
    return work;
  }

  /** Refuses new calls; resolves when the running ones have settled. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}

/** Resolves when `work` does or when the signal fires, whichever comes first. */
export function untilAborted(work: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  const done = work.then(() => {}, () => {});
  if (signal === undefined) return done;
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const onAbort = (): void => resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    void done.then(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
  });
}

/** As a call, because a signal fires while other work is awaited. */
export function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
