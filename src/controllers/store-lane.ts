import type { Timer } from "../base/clock.ts";
import type { L2Adapter, ObjectBatch } from "../l2/contract.ts";
import type { AdapterDescriptor, StoreDropReason } from "../policies/contract.ts";
import type { Obligation } from "./obligation.ts";
import type { QueueWatch } from "./queue-watch.ts";

/** Keys of one obligation that one adapter still has to store. */
export interface StoreTask {
  readonly obligation: Obligation;
  /** Ascending positions in the obligation. */
  readonly keyIndices: Uint32Array;
  readonly bytes: number;
  /** Attempts that have been made already. */
  readonly attempts: number;
}

/** A task that the adapter has been given and has not answered. Its parts may have ended already; its I/O has not. */
export interface InFlightTask {
  readonly task: StoreTask;
  readonly abort: AbortController;
  /** Why it was asked to stop: what fails from then on was dropped, not failed. */
  stopReason: StoreDropReason | undefined;
  /** Ends the parts now, whatever the adapter answers later. */
  readonly giveUp: (reason: StoreDropReason) => void;
}

/**
 * The way to one adapter: a queue of tasks and what is in flight. A lane never waits for another, so a slow or dead adapter holds up
 * only what is owed to itself.
 */
export class StoreLane {
  readonly adapter: L2Adapter;
  readonly descriptor: AdapterDescriptor;
  /** Most bytes sent and not answered; beyond it tasks stay in the queue, where policy can still drop them. */
  readonly bytesInFlightMax: number;
  inFlightBytes = 0;
  readonly inFlight = new Set<InFlightTask>();
  /** Waiting for their next attempt. */
  readonly retrying = new Map<StoreTask, Timer>();
  watch: QueueWatch | undefined;
  /** False once removal has begun: nothing new is routed here. */
  live = true;
  #queue: StoreTask[] = [];
  #first = 0;
  #unsentBytes = 0;

  constructor(adapter: L2Adapter, descriptor: AdapterDescriptor, bytesInFlightMax: number) {
    this.adapter = adapter;
    this.descriptor = descriptor;
    this.bytesInFlightMax = bytesInFlightMax;
  }

  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  get queuedTasks(): number {
    return this.#queue.length - this.#first;
  }

  get idle(): boolean {
    return this.queuedTasks === 0 && this.inFlight.size === 0 && this.retrying.size === 0;
  }

  status(): Record<string, unknown> {
    return {
      adapter: this.descriptor.name,
      queuedTasks: this.queuedTasks,
      unsentBytes: this.unsentBytes,
      inFlightTasks: this.inFlight.size,
      inFlightBytes: this.inFlightBytes,
      retryingTasks: this.retrying.size,
    };
  }

  push(task: StoreTask): void {
    this.#queue.push(task);
    this.#unsentBytes += task.bytes;
  }

  /** The oldest queued task, cut so that its bytes fit the budget (at least one key when nothing is in flight); undefined = nothing to send now. */
  takeNext(): StoreTask | undefined {
    if (this.queuedTasks === 0) return undefined;
    const room = this.bytesInFlightMax - this.inFlightBytes;
    const task = this.#queue[this.#first];
    if (task.bytes <= room) return this.takeOldest();
    const [head, rest] = splitTask(task, room, this.inFlight.size === 0);
    if (head === undefined) return undefined;
    if (rest === undefined) return this.takeOldest();
    this.#queue[this.#first] = rest;
    this.#unsentBytes -= head.bytes;
    return head;
  }

  /** Takes out every queued task whose obligation is overdue by its time of creation. */
  takeOverdue(isOverdue: (createdMs: number) => boolean): StoreTask[] {
    const queued = this.#queue.slice(this.#first);
    const taken = queued.filter((task) => isOverdue(task.obligation.createdMs));
    if (taken.length === 0) return taken;
    this.#queue = queued.filter((task) => !isOverdue(task.obligation.createdMs));
    this.#first = 0;
    for (const task of taken) this.#unsentBytes -= task.bytes;
    return taken;
  }

  /** When the obligation at the head of the queue was created. */
  headCreatedMs(): number {
    return this.#queue[this.#first].obligation.createdMs;
  }

  /** When the oldest of the queued obligations was created; Infinity when nothing is queued. */
  oldestCreatedMs(): number {
    let oldestMs = Infinity;
    for (let index = this.#first; index < this.#queue.length; index++) oldestMs = Math.min(oldestMs, this.#queue[index].obligation.createdMs);
    return oldestMs;
  }

  /** The oldest queued task, whole. */
  takeOldest(): StoreTask | undefined {
    if (this.queuedTasks === 0) return undefined;
    const task = this.#queue[this.#first++];
    // The consumed front is cut off now and then, which keeps taking O(1).
    if (this.#first > 64 && this.#first * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#first);
      this.#first = 0;
    }
    this.#unsentBytes -= task.bytes;
    return task;
  }
}

/** The leading keys of `task` within `room` bytes, and the rest. With `atLeastOne` the head has one key whatever its size. */
function splitTask(task: StoreTask, room: number, atLeastOne: boolean): [StoreTask | undefined, StoreTask | undefined] {
  let bytes = 0;
  let count = 0;
  for (; count < task.keyIndices.length; count++) {
    const next = bytes + task.obligation.sizes[task.keyIndices[count]];
    if (next > room && !(atLeastOne && count === 0)) break;
    bytes = next;
  }
  if (count === 0) return [undefined, task];
  const head = { ...task, keyIndices: task.keyIndices.subarray(0, count), bytes };
  const rest = count === task.keyIndices.length ? undefined : { ...task, keyIndices: task.keyIndices.subarray(count), bytes: task.bytes - bytes };
  return [head, rest];
}

/** Object bytes of these keys of an obligation. */
export function bytesOf(obligation: Obligation, keyIndices: Uint32Array): number {
  let bytes = 0;
  for (const keyIndex of keyIndices) bytes += obligation.sizes[keyIndex];
  return bytes;
}

/** The task's keys with their slots. */
export function batchOf({ obligation, keyIndices }: StoreTask, arena: ObjectBatch["arena"]): ObjectBatch {
  if (keyIndices.length === obligation.keys.count) return { keys: obligation.keys, arena, slots: obligation.refs, sizes: obligation.sizes };
  const slots = new Uint32Array(2 * keyIndices.length);
  const sizes = new Uint32Array(keyIndices.length);
  for (let position = 0; position < keyIndices.length; position++) {
    const keyIndex = keyIndices[position];
    slots[2 * position] = obligation.refs[2 * keyIndex];
    slots[2 * position + 1] = obligation.refs[2 * keyIndex + 1];
    sizes[position] = obligation.sizes[keyIndex];
  }
  return { keys: obligation.keys.pick(keyIndices), arena, slots, sizes };
}
