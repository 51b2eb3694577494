import { assert } from "../base/assert.ts";
import { settlesWithin, type Clock } from "../base/clock.ts";
import type { Counter, Counters } from "../base/counters.ts";
import { ClosedError, errorText } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { KeyBatch } from "../keys/key-batch.ts";
import type { L1Manager } from "../l1/index.ts";
import { StoreStatus, type L2Adapter, type ObjectBatch } from "../l2/contract.ts";
import type {
  AdapterDescriptor,
  L1Decision,
  PressureAnswer,
  StoreDropReason,
  StoreFailureReason,
  StorePressure,
  StoreTarget,
} from "../policies/contract.ts";
import { checkPressureAnswer, checkTargets, endingOf, stored } from "./endings.ts";
import { KnownHoldings } from "./known-holdings.ts";
import { lendBatch, lendKeys } from "./lend.ts";
import { Obligation, type Ending } from "./obligation.ts";
import { QueueWatch } from "./queue-watch.ts";
import { RetryBudget } from "./retry-budget.ts";
import { StorePolicyGuard } from "./store-policy-guard.ts";
import type { StoreDependencies, StoreOptions } from "./store-options.ts";
import { batchOf, bytesOf, type InFlightTask, StoreLane, type StoreTask } from "./store-lane.ts";

const nothingStored = { storedCount: 0, failedCount: 0, droppedCount: 0 };

/**
 * Carries committed objects to every adapter that the store policy names, and lets each object go when nothing is owed for it any more
 * (law 4). Every path out of here ends the key's part exactly once: stored, failed with a reason, or dropped with a reason. That is what
 * makes it impossible for buffer-only L1 to fill up with objects nobody will free.
 */
export class StoreController {
  readonly #l1: L1Manager;
  readonly #policy: StorePolicyGuard;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #counters: Counters;
  readonly #logger: Logger;
  readonly #onIoEnded: () => void;
  readonly #options: StoreOptions;
  readonly #lanes: StoreLane[] = [];
  readonly #retryBudget: RetryBudget;
  readonly #known: KnownHoldings;
  readonly #created: Counter;
  readonly #endedStored: Counter;
  readonly #endedFailed: Counter;
  readonly #endedDropped: Counter;
  readonly #retried: Counter;
  #openObligations = 0;
  #openKeys = 0;
  #idleWaiters: (() => void)[] = [];
  #closing = false;
  /** The time for a clean end is over: nothing is tried again. */
  #stopped = false;

  constructor(dependencies: StoreDependencies, options: StoreOptions) {
    this.#l1 = dependencies.l1;
    this.#clock = dependencies.clock;
    this.#random = dependencies.random;
    this.#counters = dependencies.counters;
    this.#logger = dependencies.logger;
    this.#onIoEnded = dependencies.onIoEnded;
    this.#options = options;
    this.#policy = new StorePolicyGuard(dependencies.policy, this.#counters, this.#logger);
    this.#known = new KnownHoldings(this.#counters, this.#logger);
    this.#retryBudget = new RetryBudget(this.#clock, options.retryKeysPerSecond);
    this.#created = this.#counters.counter("kvferry_obligations_created_total");
    this.#endedStored = this.#counters.counter("kvferry_obligations_ended_total", { ending: "stored" });
    this.#endedFailed = this.#counters.counter("kvferry_obligations_ended_total", { ending: "failed" });
    this.#endedDropped = this.#counters.counter("kvferry_obligations_ended_total", { ending: "dropped" });
    this.#retried = this.#counters.counter("kvferry_store_retried_keys_total");
    this.#counters.gauge("kvferry_obligations_open", () => this.#openKeys);
    this.#counters.gauge("kvferry_store_unsent_bytes", () => this.unsentBytes);
  }

  // -------------------------------------------------------------------------------------------------------- adapters

  addAdapter(adapter: L2Adapter, descriptor: AdapterDescriptor): void {
    const lane = new StoreLane(adapter, descriptor, this.#options.bytesInFlightMax);
    lane.watch = new QueueWatch(this.#clock, this.#options.deadlineMs, (isOverdue) => this.#endOverdue(lane, isOverdue));
    this.#lanes.push(lane);
  }

  /**
   * Stops routing to the adapter, ends what was not sent as dropped(removed), and waits for what was until the deadline; then asks the
   * adapter to stop it. Resolves at the deadline at the latest, to a promise of the moment when the adapter works on no slot any more.
   */
  async removeAdapter(index: number, deadlineMs: number): Promise<{ readonly drained: Promise<void> }> {
    const lane = this.#lanes.find((candidate) => candidate.descriptor.index === index);
    if (lane === undefined) return { drained: Promise.resolve() };
    lane.live = false;
    this.#dropUnsent(lane, "removed");
    const drained = (async (): Promise<void> => {
      while (!lane.idle) await this.#nextIdleLook();
      this.#lanes.splice(this.#lanes.indexOf(lane), 1);
    })();
    if (!(await settlesWithin(this.#clock, drained, deadlineMs))) this.#stopInFlight(lane, "removed");
    return { drained };
  }

  get descriptors(): AdapterDescriptor[] {
    return this.#lanes.filter((lane) => lane.live).map((lane) => lane.descriptor);
  }

  // ---------------------------------------------------------------------------------------------------------- commits

  /** True when there is nobody to owe a commit of so many keys to and its objects stay in L1: that obligation is counted, and has ended. */
  endsAtOnce(keyCount: number): boolean {
    if (this.#lanes.length > 0 || this.#policy.decideL1(nothingStored) !== "keep") return false;
    this.#created.add(keyCount);
    this.#endedStored.add(keyCount);
    return true;
  }

  /** Creates the obligation of one commit and sends what can be sent. The objects are published in L1 already. */
  accept(keys: KeyBatch, refs: Uint32Array, sizes: Uint32Array): Obligation {
    if (this.#closing) throw new ClosedError("the store controller");
    const obligation = new Obligation(keys, refs, sizes, this.#clock.nowMs());
    this.#created.add(keys.count);
    this.#openObligations++;
    this.#openKeys += keys.count;
    this.#l1.openObligations(refs);

    const tasks = this.#route(obligation);
    const unowed: number[] = [];
    for (let index = 0; index < keys.count; index++) if (obligation.open[index] === 0) unowed.push(index);
    if (unowed.length > 0) this.#endKeys(obligation, unowed);
    for (const [lane, task] of tasks) this.#enqueue(lane, task);
    return obligation;
  }

  /** What the policy says about a write that L1 has no room for. */
  answerPressure(pressure: StorePressure, configured: PressureAnswer): PressureAnswer {
    if (this.#policy.policy.onPressure === undefined) return configured;
    return this.#policy.ask((policy) => checkPressureAnswer(policy.onPressure?.(pressure))) ?? configured;
  }

  /** Bytes of queued tasks that no adapter has been given yet. */
  get unsentBytes(): number {
    let bytes = 0;
    for (const lane of this.#lanes) bytes += lane.unsentBytes;
    return bytes;
  }

  /**
   * Ends the oldest unsent parts as dropped(queue_full) until about `bytes` came free in L1, or nothing unsent is left. An object that
   * another adapter is still owed, or that is in flight to it, does not come free by being dropped here.
   */
  dropOldestUnsent(bytes: number): void {
    const target = this.#l1.usedBytes - bytes;
    while (this.#l1.usedBytes > target) {
      const lane = this.#laneWithOldestTask();
      const task = lane?.takeOldest();
      if (lane === undefined || task === undefined) break;
      this.#endParts(lane, task.obligation, task.keyIndices, { kind: "dropped", reason: "queue_full" });
    }
  }

  get openKeys(): number {
    return this.#openKeys;
  }

  /** Sent to an adapter and not answered, over all lanes. */
  get inFlightTasks(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.inFlight.size, 0);
  }

  /** Resolves when no obligation is open and no adapter works on a slot. */
  async idle(): Promise<void> {
    while (this.#openObligations > 0 || this.inFlightTasks > 0) await this.#nextIdleLook();
  }

  /**
   * No new commits; waits for open obligations until the deadline, then drops what was not sent and asks adapters to stop what was; what
   * they do not answer soon is dropped as well. Returns the keys that did not end as stored after the deadline. I/O that still runs
   * afterwards keeps its memory.
   */
  async close(deadlineMs: number): Promise<number> {
    this.#closing = true;
    await settlesWithin(this.#clock, this.idle(), deadlineMs);
    if (this.#openKeys === 0) return 0;
    const unstoredBefore = this.#endedFailed.value + this.#endedDropped.value;
    this.#stopped = true;
    for (const lane of this.#lanes) {
      this.#dropUnsent(lane, "shutdown");
      this.#stopInFlight(lane, "shutdown");
    }
    await settlesWithin(this.#clock, this.idle(), shutdownGraceMs);
    for (const lane of this.#lanes) for (const inFlight of lane.inFlight) inFlight.giveUp("shutdown");
    return this.#endedFailed.value + this.#endedDropped.value - unstoredBefore + this.#openKeys;
  }

  status(): Record<string, unknown>[] {
    return this.#lanes.map((lane) => lane.status());
  }

  // ---------------------------------------------------------------------------------------------------------- routing

  /** Asks the policy and turns its answer into one task per adapter, leaving out what an adapter is known to hold. */
  #route(obligation: Obligation): [StoreLane, StoreTask][] {
    const lanes = this.#lanes.filter((lane) => lane.live);
    const descriptors = lanes.map((lane) => lane.descriptor);
    const targets = lanes.length === 0 ? [] : this.#policy.ask((policy) => checkTargets(policy.selectStoreTargets(lendKeys(obligation.keys), descriptors)));
    const named = new Uint8Array(obligation.keys.count);
    const tasks: [StoreLane, StoreTask][] = [];
    for (const target of targets ?? []) {
      const lane = lanes.find((candidate) => candidate.descriptor.index === target.adapterIndex);
      if (lane === undefined || tasks.some(([other]) => other === lane)) {
        this.#policy.note(`named adapter ${target.adapterIndex}, which ${lane === undefined ? "does not exist" : "it had named before"}`);
        continue;
      }
      const keyIndices = this.#owed(obligation, lane, target, named);
      if (keyIndices.length === 0) continue;
      for (const keyIndex of keyIndices) obligation.open[keyIndex]++;
      tasks.push([lane, { obligation, keyIndices, bytes: bytesOf(obligation, keyIndices), attempts: 0 }]);
    }
    this.#noteUnrouted(obligation, named, targets === undefined ? "policy" : "no_target");
    return tasks;
  }

  /** The keys of a target that the adapter is not known to hold; all of the target's are marked in `named`. */
  #owed(obligation: Obligation, lane: StoreLane, target: StoreTarget, named: Uint8Array): Uint32Array {
    const { count } = obligation.keys;
    const mine = new Uint8Array(count);
    if (target.keyIndices === "all") mine.fill(1);
    else for (const keyIndex of target.keyIndices) if (keyIndex < count) mine[keyIndex] = 1;
    const keyIndices = new Uint32Array(count);
    let length = 0;
    for (let keyIndex = 0; keyIndex < count; keyIndex++) {
      named[keyIndex] |= mine[keyIndex];
      if (mine[keyIndex] !== 0) keyIndices[length++] = keyIndex;
    }
    const wanted = keyIndices.subarray(0, length);
    const held = this.#known.of(lane.adapter, length === count ? obligation.keys : obligation.keys.pick(wanted));
    if (held === undefined || !held.includes(1)) return wanted;
    this.#counters.counter("kvferry_store_already_held_keys_total", { adapter: lane.descriptor.name }).add(held.reduce((sum, bit) => sum + bit, 0));
    return wanted.filter((_, position) => held[position] === 0);
  }

  /** 1 per key that every adapter is known to hold; undefined when that is no key. */
  heldByAll(keys: KeyBatch): Uint8Array | undefined {
    return this.#known.ofAll(
      this.#lanes.filter((lane) => lane.live).map((lane) => lane.adapter),
      keys,
    );
  }

  /**
   * Keys that nobody was named for. What then leaves L1 is in no place at all and ends dropped (what was not kept is never reported kept);
   * what stays in L1 because the policy wants it so is owed to nobody. A policy that threw has decided nothing: dropped.
   */
  #noteUnrouted(obligation: Obligation, named: Uint8Array, reason: StoreDropReason): void {
    if (!named.includes(0)) return;
    if (reason === "no_target" && this.#policy.decideL1(nothingStored) === "keep") return;
    const unrouted: number[] = [];
    for (let keyIndex = 0; keyIndex < named.length; keyIndex++) {
      if (named[keyIndex] !== 0) continue;
      obligation.open[keyIndex]++;
      obligation.endPart(keyIndex, { kind: "dropped", reason });
      unrouted.push(keyIndex);
    }
    this.#countEnding("none", { kind: "dropped", reason }, unrouted.length);
    this.#policy.ask((policy) => policy.onDropped?.(undefined, obligation.keys.pick(unrouted), reason));
  }

  // ---------------------------------------------------------------------------------------------------------- sending

  #pump(lane: StoreLane): void {
    for (let task = lane.takeNext(); task !== undefined; task = lane.takeNext()) this.#send(lane, task);
  }

  #enqueue(lane: StoreLane, task: StoreTask): void {
    lane.push(task);
    this.#pump(lane);
    if (lane.queuedTasks > 0) lane.watch?.note(task.obligation.createdMs);
  }

  /** Ends what has waited for this adapter for as long as a store may take. */
  #endOverdue(lane: StoreLane, isOverdue: (createdMs: number) => boolean): void {
    for (const task of lane.takeOverdue(isOverdue)) this.#endParts(lane, task.obligation, task.keyIndices, { kind: "failed", reason: "deadline" });
    if (lane.queuedTasks > 0) lane.watch?.note(lane.oldestCreatedMs());
    this.#lookIdle();
  }

  #send(lane: StoreLane, task: StoreTask): void {
    const { obligation, keyIndices } = task;
    const batch = batchOf(task, this.#l1.arena);
    const abort = new AbortController();
    let ended = false;
    const end = (ending: Ending, reason: string): void => {
      if (ended) return;
      ended = true;
      timer.cancel();
      abort.abort(new Error(reason));
      this.#endParts(lane, obligation, keyIndices, ending);
      this.#lookIdle();
    };
    const remainingMs = obligation.createdMs + this.#options.deadlineMs - this.#clock.nowMs();
    const timer = this.#clock.setTimer(remainingMs, () => end({ kind: "failed", reason: "deadline" }, "the store's deadline has passed"), { keepAlive: true });
    const inFlight: InFlightTask = { task, abort, stopReason: undefined, giveUp: (reason) => end({ kind: "dropped", reason }, `given up: ${reason}`) };
    lane.inFlight.add(inFlight);
    lane.inFlightBytes += task.bytes;
    // The slots belong to the adapter until it answers, whatever becomes of the obligation: the count lives in C++ (law 2).
    this.#l1.arena.beginIo(batch.slots);
    const finish = (act: () => void): void => {
      timer.cancel();
      this.#endIo(lane, batch);
      lane.inFlight.delete(inFlight);
      lane.inFlightBytes -= task.bytes;
      if (ended) this.#counters.counter("kvferry_store_late_answers_total", { adapter: lane.descriptor.name }).add(1);
      else act();
      this.#onIoEnded();
      this.#pump(lane);
      this.#lookIdle();
    };
    this.#callStore(lane, batch, abort.signal).then(
      (statuses) => finish(() => this.#finishAnswered(lane, inFlight, statuses)),
      (error: unknown) => finish(() => this.#finishThrown(lane, inFlight, error)),
    );
  }

  /** An adapter that ended our count itself is at fault; the obligation ends all the same. */
  #endIo(lane: StoreLane, { slots }: ObjectBatch): void {
    try {
      this.#l1.arena.endIo(slots);
    } catch (error) {
      this.#logger.error("adapter_slots", `${lane.descriptor.name} ended the I/O of slots that were only lent to it: ${errorText(error)}`);
      this.#counters.counter("kvferry_adapter_errors_total", { adapter: lane.descriptor.name, call: "store" }).add(1);
    }
  }

  /** Asks the adapter to stop what it works on. */
  #stopInFlight(lane: StoreLane, reason: StoreDropReason): void {
    for (const inFlight of lane.inFlight) {
      inFlight.stopReason ??= reason;
      inFlight.abort.abort(new Error(`stopped: ${reason}`));
    }
  }

  /** An adapter that throws instead of rejecting, or answers nonsense, is a rejection like any other. */
  async #callStore(lane: StoreLane, batch: ObjectBatch, signal: AbortSignal): Promise<Uint8Array> {
    const statuses = await lane.adapter.store(lendBatch(batch), { signal });
    if (!(statuses instanceof Uint8Array) || statuses.length !== batch.keys.count)
      throw new TypeError(`store must answer one status per key (${batch.keys.count})`);
    return statuses;
  }

  #finishAnswered(lane: StoreLane, inFlight: InFlightTask, statuses: Uint8Array): void {
    const { task } = inFlight;
    if (statuses.every((status) => status === StoreStatus.stored || status === StoreStatus.alreadyPresent)) {
      this.#endParts(lane, task.obligation, task.keyIndices, stored);
      return;
    }
    const byEnding = new Map<string, { ending: Ending; keyIndices: number[] }>();
    const again: number[] = [];
    for (let position = 0; position < statuses.length; position++) {
      const keyIndex = task.keyIndices[position];
      const ending = endingOf(statuses[position]);
      if (ending === "again") {
        again.push(keyIndex);
        continue;
      }
      const name = ending.kind === "stored" ? "stored" : ending.reason;
      const group = byEnding.get(name);
      if (group === undefined) byEnding.set(name, { ending, keyIndices: [keyIndex] });
      else group.keyIndices.push(keyIndex);
    }
    for (const { ending, keyIndices } of byEnding.values()) this.#endParts(lane, task.obligation, keyIndices, ending);
    if (again.length > 0) this.#retryOrFail(lane, inFlight, Uint32Array.from(again), "io_error");
  }

  #finishThrown(lane: StoreLane, inFlight: InFlightTask, error: unknown): void {
    const { task } = inFlight;
    this.#logger.warn("adapter_threw", `${lane.descriptor.name}: store of ${task.keyIndices.length} keys failed: ${errorText(error)}`);
    this.#counters.counter("kvferry_adapter_errors_total", { adapter: lane.descriptor.name, call: "store" }).add(1);
    this.#retryOrFail(lane, inFlight, task.keyIndices, "adapter_threw");
  }

  #retryOrFail(lane: StoreLane, { task, stopReason }: InFlightTask, keyIndices: Uint32Array, reason: StoreFailureReason): void {
    const { obligation } = task;
    const attempts = task.attempts + 1;
    const delayMs = this.#options.retryDelayMs * 2 ** (attempts - 1) * (0.5 + this.#random.nextFloat());
    const inTime = this.#clock.nowMs() + delayMs < obligation.createdMs + this.#options.deadlineMs;
    // Nobody is left to try again for: the adapter goes, or everything does.
    const dropReason = stopReason ?? (lane.live ? (this.#stopped ? "shutdown" : undefined) : "removed");
    if (dropReason !== undefined) return this.#endParts(lane, obligation, keyIndices, { kind: "dropped", reason: dropReason });
    if (attempts >= this.#options.attemptsMax || !inTime || !this.#retryBudget.take(keyIndices.length))
      return this.#endParts(lane, obligation, keyIndices, { kind: "failed", reason });
    this.#retried.add(keyIndices.length);
    const retry: StoreTask = { obligation, keyIndices, bytes: bytesOf(obligation, keyIndices), attempts };
    const again = (): void => {
      lane.retrying.delete(retry);
      this.#enqueue(lane, retry);
    };
    lane.retrying.set(retry, this.#clock.setTimer(delayMs, again, { keepAlive: true }));
  }

  // ---------------------------------------------------------------------------------------------------------- endings

  /** Ends one adapter's part of these keys, and the keys whose last part it was. */
  #endParts(lane: StoreLane, obligation: Obligation, keyIndices: ArrayLike<number>, ending: Ending): void {
    const ended: number[] = [];
    for (let position = 0; position < keyIndices.length; position++) {
      const keyIndex = keyIndices[position];
      assert(obligation.open[keyIndex] > 0, "an adapter's part of an obligation ends twice");
      if (obligation.endPart(keyIndex, ending)) ended.push(keyIndex);
    }
    this.#countEnding(lane.descriptor.name, ending, keyIndices.length);
    this.#policy.tell(lane.descriptor, obligation, keyIndices, ending);
    if (ended.length > 0) this.#endKeys(obligation, ended);
  }

  /** Nothing is owed for these keys any more: the policy decides about the L1 copies, and they are let go. */
  #endKeys(obligation: Obligation, keyIndices: readonly number[]): void {
    const refs = new Uint32Array(2 * keyIndices.length);
    const drop = new Uint8Array(keyIndices.length);
    const decisions = new Map<number, L1Decision>();
    let last = false;
    for (let position = 0; position < keyIndices.length; position++) {
      const keyIndex = keyIndices[position];
      refs[2 * position] = obligation.refs[2 * keyIndex];
      refs[2 * position + 1] = obligation.refs[2 * keyIndex + 1];
      const code = (obligation.stored[keyIndex] << 16) | (obligation.failed[keyIndex] << 8) | obligation.dropped[keyIndex];
      let decision = decisions.get(code);
      if (decision === undefined) {
        // A policy that throws must not leave the object behind for ever: it is dropped.
        decision = this.#policy.decideL1(obligation.ending(keyIndex)) ?? "drop";
        decisions.set(code, decision);
      }
      drop[position] = decision === "drop" ? 1 : 0;
      if (obligation.failed[keyIndex] > 0) this.#endedFailed.add(1);
      else if (obligation.dropped[keyIndex] > 0) this.#endedDropped.add(1);
      else this.#endedStored.add(1);
      last = obligation.endKey(keyIndex);
    }
    this.#openKeys -= keyIndices.length;
    this.#l1.closeObligations(refs, drop);
    if (!last) return;
    this.#openObligations--;
    obligation.announce();
    this.#lookIdle();
    if (this.#openObligations === 0) this.#policy.ask((policy) => policy.onIdle?.());
  }

  #countEnding(adapter: string, ending: Ending, keyCount: number): void {
    const reason = ending.kind === "stored" ? "" : ending.reason;
    this.#counters.counter("kvferry_store_keys_total", { adapter, ending: ending.kind, reason }).add(keyCount);
    if (ending.kind !== "stored")
      this.#logger.warn(`store_${ending.kind}_${reason}`, `${adapter}: ${keyCount} keys ${ending.kind} (${reason}); they are not in this adapter`);
  }

  /** Ends what waits for the adapter or for its next try. */
  #dropUnsent(lane: StoreLane, reason: StoreDropReason): void {
    lane.watch?.cancel();
    for (let task = lane.takeOldest(); task !== undefined; task = lane.takeOldest())
      this.#endParts(lane, task.obligation, task.keyIndices, { kind: "dropped", reason });
    for (const [task, timer] of [...lane.retrying]) {
      timer.cancel();
      lane.retrying.delete(task);
      this.#endParts(lane, task.obligation, task.keyIndices, { kind: "dropped", reason });
    }
    this.#lookIdle();
  }

  #laneWithOldestTask(): StoreLane | undefined {
    let oldest: StoreLane | undefined;
    for (const lane of this.#lanes)
      if (lane.queuedTasks > 0 && (oldest === undefined || lane.headCreatedMs() < oldest.headCreatedMs())) oldest = lane;
    return oldest;
  }

  // ------------------------------------------------------------------------------------------------------------- idle

  #lookIdle(): void {
    const waiters = this.#idleWaiters;
    if (waiters.length === 0) return;
    this.#idleWaiters = [];
    for (const waiter of waiters) waiter();
  }

  #nextIdleLook(): Promise<void> {
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }
}

/** After close() gave up waiting, how long adapters get to answer an abort. */
const shutdownGraceMs = 1_000;
