import { assert } from "../base/assert.ts";
import { ClosedError } from "../base/errors.ts";
import type { ArenaOptions, EngineOptions, EngineStats, NativeArena, NativeBinding, NativeEngine } from "./binding.ts";
import { loadBinding } from "./load.ts";

/** Words taken from the completion ring at a time; one record of a large request may need more and then gets a larger buffer. */
const drainWords = 16 * 1024;

/**
 * One native engine and the promises of its operations. All of a storage's asynchronous native work goes through one runtime, so
 * there is one completion ring and one wake-up.
 */
export class NativeRuntime {
  readonly binding: NativeBinding;
  readonly engine: NativeEngine;
  readonly #pending = new Map<number, (statuses: Int32Array) => void>();
  #nextOpId = 1;
  #drainBuffer = new Int32Array(drainWords);
  #closed = false;
  readonly #drainListeners = new Set<() => void>();

  constructor(options: EngineOptions = {}, binding: NativeBinding = loadBinding()) {
    this.binding = binding;
    this.engine = new binding.Engine(options);
    this.engine.onWake(() => this.drain());
  }

  openArena(options: ArenaOptions): NativeArena {
    return new this.binding.Arena(options);
  }

  /**
   * Starts an operation: `submit` gets the operation's id and must pass it to exactly one asynchronous native call. Settles with one
   * status per item when the hardware is done; rejects only when `submit` throws, and then nothing was started.
   */
  run(submit: (opId: number) => void): Promise<Int32Array> {
    if (this.#closed) return Promise.reject(new ClosedError("the native runtime"));
    const opId = this.#takeOpId();
    return new Promise((resolve, reject) => {
      this.#pending.set(opId, resolve);
      try {
        submit(opId);
      } catch (error) {
        this.#pending.delete(opId);
        reject(error);
      }
    });
  }

  /** Calls `listener` after each drain: slots may have come free. Returns the call that ends it. */
  onDrained(listener: () => void): () => void {
    this.#drainListeners.add(listener);
    return () => this.#drainListeners.delete(listener);
  }

  /** Operations that have not been answered yet. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Takes everything out of the ring and settles the promises. Called by the wake-up; a stepped runtime's owner calls it. */
  drain(): void {
    for (;;) {
      const words = this.engine.drain(this.#drainBuffer);
      if (words === 0) {
        const needed = this.engine.neededWords();
        if (needed <= this.#drainBuffer.length) break;
        this.#drainBuffer = new Int32Array(needed * 2);
        continue;
      }
      for (let offset = 0; offset < words; ) {
        const opId = this.#drainBuffer[offset] >>> 0;
        const itemCount = this.#drainBuffer[offset + 1];
        const settle = this.#pending.get(opId);
        assert(settle !== undefined, `completion of unknown operation ${opId}`);
        this.#pending.delete(opId);
        settle(this.#drainBuffer.slice(offset + 2, offset + 2 + itemCount));
        offset += 2 + itemCount;
      }
    }
    for (const listener of this.#drainListeners) listener();
  }

  stats(): EngineStats {
    return this.engine.stats();
  }

  /** Waits for running operations, then joins the threads. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    while (this.#pending.size > 0) await new Promise((resolve) => setImmediate(resolve));
    this.engine.close();
  }

  #takeOpId(): number {
    do {
      this.#nextOpId = (this.#nextOpId + 1) >>> 0;
    } while (this.#pending.has(this.#nextOpId));
    return this.#nextOpId;
  }
}
