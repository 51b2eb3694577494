import type { Clock, Timer } from "../base/clock.ts";
import type { Counters } from "../base/counters.ts";
import { AbortError, CapacityError, ClosedError } from "../base/errors.ts";
import { AdmissionClass } from "./object-table.ts";

export interface AdmissionRequest<T> {
  readonly charge: typeof AdmissionClass.store | typeof AdmissionClass.load;
  /** Requests of one class take turns by salt, so that one tenant's queue does not stand before another's. */
  readonly saltId: number;
  /** Takes what fits now, in one step, or answers undefined when not even one chunk does. Must not throw for lack of room. */
  readonly attempt: () => T | undefined;
  /** How long to wait for room; 0 = not at all. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** For messages: what waits. */
  readonly what: string;
}

interface Waiter {
  readonly request: AdmissionRequest<unknown>;
  readonly settle: (grant: unknown) => void;
  readonly fail: (error: Error) => void;
  readonly stopWatching: () => void;
}

/** One class: a queue per salt, served in turns. */
class ClassQueue {
  readonly salts = new Map<number, Waiter[]>();
  count = 0;

  push(waiter: Waiter): void {
    const queue = this.salts.get(waiter.request.saltId);
    if (queue === undefined) this.salts.set(waiter.request.saltId, [waiter]);
    else queue.push(waiter);
    this.count++;
  }

  /** The waiter whose turn it is. */
  head(): Waiter | undefined {
    for (const queue of this.salts.values()) return queue[0];
    return undefined;
  }

  /** Takes a waiter out; when it was served, its salt goes to the back of the turn order. */
  remove(waiter: Waiter, served: boolean): void {
    const saltId = waiter.request.saltId;
    const queue = this.salts.get(saltId);
    const position = queue?.indexOf(waiter) ?? -1;
    if (queue === undefined || position < 0) return;
    queue.splice(position, 1);
    this.count--;
    if (queue.length === 0) this.salts.delete(saltId);
    else if (served) {
      this.salts.delete(saltId);
      this.salts.set(saltId, queue);
    }
  }
}

/**
 * Law 5: who waits for room holds nothing, waits in a bounded queue with a deadline, and gets its grant in one step. FIFO per class and
 * salt, round-robin over salts; the two classes do not stand in each other's way unless L1 is so small that they share one pool, and
 * then grants alternate.
 */
export class Admission {
  readonly #clock: Clock;
  readonly #queueMax: number;
  readonly #queues = { [AdmissionClass.store]: new ClassQueue(), [AdmissionClass.load]: new ClassQueue() };
  readonly #timeouts;
  readonly #aborted;
  readonly #refused;
  readonly #waited;
  /** The class that is asked first next time; matters only where the classes share one pool. */
  #turn: typeof AdmissionClass.store | typeof AdmissionClass.load = AdmissionClass.store;
  #closed = false;
  #pumping = false;
  #pumpScheduled = false;

  constructor(clock: Clock, counters: Counters, queueMax = 1024) {
    this.#clock = clock;
    this.#queueMax = queueMax;
    this.#timeouts = counters.counter("kvferry_l1_admission_timeouts_total");
    this.#aborted = counters.counter("kvferry_l1_admission_aborted_total");
    this.#refused = counters.counter("kvferry_l1_admission_queue_full_total");
    this.#waited = counters.counter("kvferry_l1_admission_waits_total");
    counters.gauge("kvferry_l1_admission_queue", () => this.waitingCount);
  }

  get waitingCount(): number {
    return this.#queues[AdmissionClass.store].count + this.#queues[AdmissionClass.load].count;
  }

  /** What fits now, without waiting; undefined when others of the class wait already or nothing fits. */
  tryNow<T>(request: AdmissionRequest<T>): T | undefined {
    if (this.#closed) throw new ClosedError("the storage");
    if (this.#queues[request.charge].count > 0) return undefined;
    return request.attempt();
  }

  /** Waits for room. Rejects with CapacityError (deadline, queue full), AbortError or ClosedError; then nothing is held. */
  async wait<T>(request: AdmissionRequest<T>): Promise<T> {
    const grant = this.tryNow(request);
    if (grant !== undefined) return grant;
    if (request.signal?.aborted === true) throw new AbortError(request.signal.reason);
    if (request.timeoutMs <= 0) throw timeoutError(request);
    if (this.#queues[request.charge].count >= this.#queueMax) {
      this.#refused.add(1);
      throw new CapacityError("KVFERRY_CAPACITY_QUEUE_FULL", `${request.what}: ${this.#queueMax} requests wait for room in L1 already`);
    }
    this.#waited.add(1);
    return new Promise<T>((resolve, reject) => this.#enqueue(request, resolve as (grant: unknown) => void, reject));
  }

  /**
   * As pump(), as soon as the calls that run now have ended. Slots come free in the middle of L1's own work (a reservation that evicts, a
   * commit whose objects nobody holds yet), and a grant in there would reserve, evict and free under its feet.
   */
  pumpSoon(): void {
    if (this.#pumpScheduled || this.waitingCount === 0) return;
    this.#pumpScheduled = true;
    queueMicrotask(() => {
      this.#pumpScheduled = false;
      this.pump();
    });
  }

  /** Room may have come free: grants in order, until the heads of both classes do not fit. */
  pump(): void {
    // An attempt may evict, and evicting frees, and freeing pumps: the outer loop sees that room anyway.
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      let blocked = 0;
      while (blocked < 2 && this.waitingCount > 0) {
        const charge = this.#turn;
        this.#turn = charge === AdmissionClass.store ? AdmissionClass.load : AdmissionClass.store;
        blocked = this.#grantHead(charge) ? 0 : blocked + 1;
      }
    } finally {
      this.#pumping = false;
    }
  }

  /** Everybody who waits is told that the storage closes. */
  close(): void {
    this.#closed = true;
    for (const queue of Object.values(this.#queues)) {
      for (let waiter = queue.head(); waiter !== undefined; waiter = queue.head()) {
        queue.remove(waiter, false);
        waiter.stopWatching();
        waiter.fail(new ClosedError("the storage"));
      }
    }
  }

  #grantHead(charge: typeof AdmissionClass.store | typeof AdmissionClass.load): boolean {
    const queue = this.#queues[charge];
    const waiter = queue.head();
    if (waiter === undefined) return false;
    let grant: unknown;
    try {
      grant = waiter.request.attempt();
      if (grant === undefined) return false;
    } catch (error) {
      queue.remove(waiter, false);
      waiter.stopWatching();
      waiter.fail(error as Error);
      return true;
    }
    queue.remove(waiter, true);
    waiter.stopWatching();
    waiter.settle(grant);
    return true;
  }

  #enqueue(request: AdmissionRequest<unknown>, settle: (grant: unknown) => void, fail: (error: Error) => void): void {
    const queue = this.#queues[request.charge];
    let timer: Timer | undefined;
    const leave = (error: Error): void => {
      queue.remove(waiter, false);
      waiter.stopWatching();
      fail(error);
      // The one behind may be smaller.
      this.pump();
    };
    const onAbort = (): void => {
      this.#aborted.add(1);
      leave(new AbortError(request.signal?.reason));
    };
    const waiter: Waiter = {
      request,
      settle,
      fail,
      stopWatching: () => {
        timer?.cancel();
        request.signal?.removeEventListener("abort", onAbort);
      },
    };
    queue.push(waiter);
    if (Number.isFinite(request.timeoutMs)) {
      timer = this.#clock.setTimer(request.timeoutMs, () => {
        this.#timeouts.add(1);
        leave(timeoutError(request));
      }, { keepAlive: true });
    }
    request.signal?.addEventListener("abort", onAbort, { once: true });
  }
}

function timeoutError(request: AdmissionRequest<unknown>): CapacityError {
  return new CapacityError("KVFERRY_CAPACITY_TIMEOUT", `${request.what}: no room in L1 within ${request.timeoutMs} ms`);
}
