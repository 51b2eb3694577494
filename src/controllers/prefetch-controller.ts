import { settlesWithin, type Clock } from "../base/clock.ts";
import type { Counter, Counters } from "../base/counters.ts";
import { AbortError, CapacityError, ClosedError } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { AdmissionClass, type Admission, type L1Manager, type ReadLease, type WriteGrant } from "../l1/index.ts";
import type { L2Adapter } from "../l2/contract.ts";
import type { AdapterDescriptor, LoadPlan, PrefetchPolicy } from "../policies/contract.ts";
import { Joins } from "./joins.ts";
import type { KeyGrid } from "./key-grid.ts";
import { lendKeys } from "./lend.ts";
import { Loader, loadTag, type AdapterEntry } from "./loader.ts";
import { PrefetchPolicyGuard } from "./prefetch-policy-guard.ts";
import { PrefetchRequest } from "./prefetch-request.ts";

export interface PrefetchOptions {
  /** After this the prefix in hand is the answer. */
  readonly deadlineMs: number;
  /** An adapter that has not answered a load by then is given up: the slots drain, the keys are misses. */
  readonly loadTimeoutMs: number;
  /** Requests that load from L2 at a time; the rest wait within their deadline. */
  readonly inFlightMax: number;
  /** How long a lease stands if nobody releases it. */
  readonly leaseTtlMs: number;
}

export interface PrefetchCall {
  readonly grid: KeyGrid;
  readonly fetching: "prefix" | "full";
  readonly owner: string;
  readonly saltId: number;
  /** Distinct readers that will retrieve what is leased. */
  readonly deliveries: number;
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** Answer from L1 alone. */
  readonly skipL2?: boolean;
}

/** What a prefetch found and leased. */
export interface PrefetchAnswer {
  /** Leading chunks that can be read, all rows. */
  readonly hitChunks: number;
  /** 1 per cell that is part of the answer. */
  readonly hitCells: Uint8Array;
  /** Slot of each hit cell, noSlot elsewhere. */
  readonly slots: Uint32Array;
  /** Cells of the answer that were in L1 already, and that came from L2. */
  readonly l1Cells: number;
  readonly l2Cells: number;
  readonly lease: ReadLease;
}

export interface PrefetchDependencies {
  readonly l1: L1Manager;
  readonly admission: Admission;
  readonly policy: PrefetchPolicy;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  /** Evicts so that about this many bytes come free. */
  readonly makeRoom: (bytes: number) => void;
}

/**
 * Answers "how much of this prefix can be read": leases what L1 has, joins what is being filled, loads the rest from the adapters, and
 * never later than the deadline. LOOKUP's promise is kept here: what is counted is leased, so a read delivers it.
 */
export class PrefetchController {
  readonly #l1: L1Manager;
  readonly #admission: Admission;
  readonly #policy: PrefetchPolicyGuard;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #options: PrefetchOptions;
  readonly #joins: Joins;
  readonly #makeRoom: (bytes: number) => void;
  readonly #adapters: AdapterEntry[] = [];
  readonly #requested: Counter;
  readonly #hitL1: Counter;
  readonly #hitL2: Counter;
  readonly #deadlines: Counter;
  readonly #loader: Loader;
  #inFlight = 0;
  #queue: (() => void)[] = [];
  #closed = false;

  constructor(dependencies: PrefetchDependencies, options: PrefetchOptions) {
    this.#l1 = dependencies.l1;
    this.#admission = dependencies.admission;
    this.#policy = new PrefetchPolicyGuard(dependencies.policy, dependencies.counters, dependencies.logger);
    this.#clock = dependencies.clock;
    this.#counters = dependencies.counters;
    this.#makeRoom = dependencies.makeRoom;
    this.#options = options;
    this.#joins = new Joins(this.#l1);
    this.#loader = new Loader(dependencies, this.#adapters, options.loadTimeoutMs);
    this.#requested = this.#counters.counter("kvferry_lookup_requested_cells_total");
    this.#hitL1 = this.#counters.counter("kvferry_lookup_hit_cells_total", { tier: "l1" });
    this.#hitL2 = this.#counters.counter("kvferry_lookup_hit_cells_total", { tier: "l2" });
    this.#deadlines = this.#counters.counter("kvferry_lookup_deadlines_total");
    this.#counters.gauge("kvferry_prefetch_in_flight", () => this.#inFlight);
    this.#counters.gauge("kvferry_prefetch_queue", () => this.#queue.length);
  }

  addAdapter(adapter: L2Adapter, descriptor: AdapterDescriptor): void {
    this.#adapters.push({ adapter, descriptor });
  }

  removeAdapter(index: number): void {
    const position = this.#adapters.findIndex((entry) => entry.descriptor.index === index);
    if (position >= 0) this.#adapters.splice(position, 1);
  }

  /** Loads that an adapter has not answered yet, whether somebody waits for them or not. */
  get loadsInFlight(): number {
    return this.#loader.inFlight;
  }

  /** Requests that hold a turn, that wait for one, and keys whose staged copy somebody waits for. */
  get waiting(): { readonly prefetchTurns: number; readonly prefetchQueue: number; readonly joinedKeys: number } {
    return { prefetchTurns: this.#inFlight, prefetchQueue: this.#queue.length, joinedKeys: this.#joins.waitingKeys };
  }

  /** Rejects with AbortError or ClosedError only; everything else is a shorter answer. */
  async prefetch(call: PrefetchCall): Promise<PrefetchAnswer> {
    if (this.#closed) throw new ClosedError("the storage");
    if (call.signal?.aborted === true) throw new AbortError(call.signal.reason);
    this.#requested.add(call.grid.cellCount);
    const whole = this.#answerWhole(call);
    if (whole !== undefined) return whole;
    const request = new PrefetchRequest(call, this.#l1, this.#clock.nowMs() + this.#options.leaseTtlMs);
    request.takeResident();
    // Everything in L1, or nobody else to ask: answered without giving way.
    if (request.complete || ((call.skipL2 === true || this.#adapters.length === 0) && !request.hasStaged)) return this.#answer(request);
    const deadlineMs = this.#clock.nowMs() + (call.deadlineMs ?? this.#options.deadlineMs);
    try {
      await this.#resolve(request, deadlineMs);
    } catch (error) {
      request.releaseAll();
      throw error;
    }
    return this.#answer(request);
  }

  /** The answer when L1 has every cell of a request without windows, which leaves nothing to plan. Undefined otherwise. */
  #answerWhole(call: PrefetchCall): PrefetchAnswer | undefined {
    const { grid } = call;
    const slots = new Uint32Array(grid.cellCount);
    if (this.#l1.find(grid.keys, grid.rowSizes, slots) < grid.cellCount || grid.hasWindows) return undefined;
    const lease = this.#l1.lease(slots, call.owner, call.deliveries, this.#clock.nowMs() + this.#options.leaseTtlMs);
    if (lease.slots.length < grid.cellCount) {
      this.#l1.release(lease);
      return undefined;
    }
    this.#l1.touch(lease.slots);
    this.#hitL1.add(grid.cellCount);
    return { hitChunks: grid.columns, hitCells: new Uint8Array(grid.cellCount).fill(1), slots, l1Cells: grid.cellCount, l2Cells: 0, lease };
  }

  /** Stops intake and waits for loads in flight until the deadline. Returns the loads that were still running. */
  async close(deadlineMs: number): Promise<number> {
    this.#closed = true;
    await settlesWithin(this.#clock, this.idle(), deadlineMs);
    return this.#loader.inFlight;
  }

  /** Resolves when no load is in flight. */
  async idle(): Promise<void> {
    await this.#loader.idle();
  }

  // --------------------------------------------------------------------------------------------------------- resolving

  /** Fills the request until it is complete, nothing more can be found, or the deadline has passed. */
  async #resolve(request: PrefetchRequest, deadlineMs: number): Promise<void> {
    const deadline = this.#deadline(deadlineMs, request.call.signal);
    try {
      const inTime = await deadline.race(this.#takeTurn(deadline.signal));
      if (inTime === undefined) return;
      try {
        await this.#resolveInTurn(request, deadline, deadlineMs);
      } finally {
        this.#inFlight--;
        this.#queue.shift()?.();
      }
    } finally {
      deadline.end();
      request.stopJoining();
      // An abort is the answer even where the turn ended early, or failed because of it.
      // oxlint-disable-next-line no-unsafe-finally
      if (request.call.signal?.aborted === true) throw new AbortError(request.call.signal.reason);
    }
  }

  async #resolveInTurn(request: PrefetchRequest, deadline: Deadline, deadlineMs: number): Promise<void> {
    const { grid } = request.call;
    const asked = new Uint8Array(grid.cellCount);
    const foundByAdapter = new Map<number, Uint8Array>();
    // A joined store or load may abort; then its cells are asked for once more.
    for (let round = 0; round < joinRoundsMax; round++) {
      request.joinStaged(this.#joins);
      const lookups = request.call.skipL2 === true ? [] : this.#lookup(request, asked, foundByAdapter, deadline.signal);
      if ((await deadline.race(this.#enoughAnswers(request, lookups, foundByAdapter, deadlineMs))) === undefined) {
        this.#deadlines.add(1);
        return;
      }
      request.takeResident();
      if (!request.hasStaged && !request.hasUnasked(asked)) break;
    }
    const room = await this.#planAndReserve(request, foundByAdapter, deadline, deadlineMs);
    if (room === undefined) return;
    const { plan, grant, wanted } = room;
    // A key that became resident or is staged by another load meanwhile is taken or joined like any other.
    this.#loader.start(grid, grant, plan, foundByAdapter);
    request.joinStaged(this.#joins, wanted);
    if ((await deadline.race(request.joined())) === undefined) this.#deadlines.add(1);
    request.takeResident();
  }

  /**
   * Plans what to load and takes room for it. Where the room ends before the plan and some row has a sliding window, what was planned serves
   * no prefix at all: a shorter one needs other cells of that row. Then the room is given back and the shorter prefix is planned.
   */
  async #planAndReserve(request: PrefetchRequest, foundByAdapter: ReadonlyMap<number, Uint8Array>, deadline: Deadline, deadlineMs: number): Promise<{ plan: LoadPlan; grant: WriteGrant; wanted: Uint8Array } | undefined> {
    const { grid } = request.call;
    const hasWindows = grid.rows.some((row) => row.windowChunks > 0);
    for (let columns = grid.columns; columns > 0; ) {
      const plan = this.#plan(request, foundByAdapter, columns);
      if (plan.fromL2.size === 0) return undefined;
      const wanted = new Uint8Array(grid.cellCount);
      for (const rows of plan.fromL2.values()) grid.fromRows(rows).forEach((bit, cell) => (wanted[cell] |= bit));
      const grant = await this.#reserve(request, wanted, deadline, deadlineMs);
      if (grant === undefined) return undefined;
      if (!hasWindows || grant.chunks >= plan.hitChunks) return { plan, grant, wanted };
      if (grant.refs.length > 0) this.#l1.abort(grant.refs, loadTag);
      columns = grant.chunks;
    }
    return undefined;
  }

  /**
   * Resolves when everybody has answered, or every cell that is missing has been found somewhere, or half of the time is over: an adapter
   * that is silent must not cost what another has (R8). What it answers later is still used when a load fails.
   */
  #enoughAnswers(request: PrefetchRequest, lookups: readonly Promise<void>[], foundByAdapter: ReadonlyMap<number, Uint8Array>, deadlineMs: number): Promise<true> {
    let open = lookups.length + 1;
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer((deadlineMs - this.#clock.nowMs()) / 2, () => resolve(true));
      const look = (): void => {
        open--;
        if (open > 0 && !isAllFound(request, foundByAdapter)) return;
        timer.cancel();
        resolve(true);
      };
      for (const answer of [...lookups, request.joined()]) void answer.then(look);
    });
  }

  /** Asks every adapter about the cells nobody was asked about yet. One adapter's failure or silence is its own. */
  #lookup(request: PrefetchRequest, asked: Uint8Array, foundByAdapter: Map<number, Uint8Array>, signal: AbortSignal): Promise<void>[] {
    const cells: number[] = [];
    for (let cell = 0; cell < asked.length; cell++) {
      if (asked[cell] !== 0 || request.has(cell) || request.isJoining(cell)) continue;
      asked[cell] = 1;
      cells.push(cell);
    }
    if (cells.length === 0) return [];
    const keys = cells.length === request.call.grid.cellCount ? request.call.grid.keys : request.call.grid.keys.pick(cells);
    return this.#adapters.map(async ({ adapter, descriptor }) => {
      try {
        const answer = await adapter.lookup(lendKeys(keys), { signal });
        if (!(answer instanceof Uint8Array) || answer.length !== keys.count) throw new TypeError(`lookup must answer one flag per key (${keys.count})`);
        let found = foundByAdapter.get(descriptor.index);
        if (found === undefined) foundByAdapter.set(descriptor.index, (found = new Uint8Array(request.call.grid.cellCount)));
        for (let position = 0; position < cells.length; position++) if (answer[position] !== 0) found[cells[position]] = 1;
      } catch (error) {
        this.#loader.noteError(descriptor, "lookup", error);
      }
    });
  }

  /** The policy's plan over what was found in the first `columns` chunks. */
  #plan(request: PrefetchRequest, foundByAdapter: ReadonlyMap<number, Uint8Array>, columns = request.call.grid.columns): LoadPlan {
    const { grid, fetching } = request.call;
    const rowsOf = (cells: Uint8Array): Uint8Array[] => grid.toRows(columns === grid.columns ? cells : cells.slice().fill(0, columns * grid.rows.length));
    const l2Found = new Map<number, Uint8Array[]>();
    for (const [index, cells] of foundByAdapter) l2Found.set(index, rowsOf(cells));
    return this.#policy.plan(grid, rowsOf(request.foundCells()), l2Found, fetching);
  }

  // ------------------------------------------------------------------------------------------------------------- room

  /**
   * Room for the wanted cells: what fits now, in whole chunks. Only a request that has no part of the prefix yet may wait, and then it
   * lets go of everything it holds: who waits holds nothing (law 5).
   */
  async #reserve(request: PrefetchRequest, wanted: Uint8Array, deadline: Deadline, deadlineMs: number): Promise<WriteGrant | undefined> {
    const { grid, saltId } = request.call;
    // A chunk that the loads' share can never take is not worth waiting for.
    const footprints = grid.rowSizes.map((size) => this.#l1.bytes.footprint(size));
    if (footprints.reduce((sum, bytes) => sum + bytes, 0) > this.#l1.bytes.limit(AdmissionClass.load, Math.max(...footprints))) return undefined;
    const temporary = this.#policy.temporary(grid.keys);
    const attempt = (): WriteGrant | undefined => this.#attempt(grid, wanted, temporary);
    const what = `a load of ${grid.columns} chunks`;
    const now = { charge: AdmissionClass.load, saltId, attempt, timeoutMs: 0, what } as const;
    const grant = this.#admission.tryNow(now);
    if (grant !== undefined) return grant;
    if (request.has(0)) return undefined;
    request.releaseAll();
    try {
      const timeoutMs = Math.max(0, deadlineMs - this.#clock.nowMs());
      return await this.#admission.wait({ ...now, timeoutMs, signal: deadline.signal });
    } catch (error) {
      if (error instanceof CapacityError || (error instanceof AbortError && request.call.signal?.aborted !== true)) return undefined;
      throw error;
    } finally {
      request.takeResident();
    }
  }

  #attempt(grid: KeyGrid, wanted: Uint8Array, temporary: Uint8Array): WriteGrant | undefined {
    const grant = this.#l1.reserve({
      keys: grid.keys,
      rowSizes: grid.rowSizes,
      tag: loadTag,
      temporary,
      charge: AdmissionClass.load,
      wanted,
      makeRoom: this.#makeRoom,
    });
    return grant.chunks > 0 ? grant : undefined;
  }

  // ----------------------------------------------------------------------------------------------------------- answer

  #answer(request: PrefetchRequest): PrefetchAnswer {
    request.renewExpired();
    const plan = this.#plan(request, new Map());
    const { grid, fetching } = request.call;
    const planned = grid.fromRows(plan.fromL1);
    const hitCells = fetching === "full" ? grid.wholeColumns(planned) : planned;
    const hitChunks = fetching === "full" ? hitCells.reduce((sum, bit) => sum + bit, 0) / grid.rows.length : plan.hitChunks;
    const answer = request.finish(hitChunks, hitCells);
    this.#hitL1.add(answer.l1Cells);
    this.#hitL2.add(answer.l2Cells);
    return answer;
  }

  /** Resolves when fewer than inFlightMax requests load; the caller then holds a turn. */
  #takeTurn(signal: AbortSignal): Promise<true> {
    if (this.#inFlight < this.#options.inFlightMax) {
      this.#inFlight++;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const take = (): void => {
        // One that gave up waiting passes its turn on.
        if (signal.aborted) {
          this.#queue.shift()?.();
          return;
        }
        this.#inFlight++;
        resolve(true);
      };
      this.#queue.push(take);
    });
  }

  /** A deadline that also ends when the caller aborts. */
  #deadline(deadlineMs: number, signal: AbortSignal | undefined): Deadline {
    const abort = new AbortController();
    const passed = new Promise<undefined>((resolve) => abort.signal.addEventListener("abort", () => resolve(undefined), { once: true }));
    const timer = this.#clock.setTimer(deadlineMs - this.#clock.nowMs(), () => abort.abort(), { keepAlive: true });
    const onAbort = (): void => abort.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    return {
      signal: abort.signal,
      race: (work) => Promise.race([work, passed]),
      end: () => {
        timer.cancel();
        signal?.removeEventListener("abort", onAbort);
        // Lookups that are still out are told that nobody listens.
        abort.abort();
      },
    };
  }
}

interface Deadline {
  readonly signal: AbortSignal;
  /** The work's value, or undefined when the deadline came first. */
  race<T>(work: Promise<T>): Promise<T | undefined>;
  end(): void;
}

/** Every cell is in hand or was found by an adapter. */
function isAllFound(request: PrefetchRequest, foundByAdapter: ReadonlyMap<number, Uint8Array>): boolean {
  const found = [...foundByAdapter.values()];
  for (let cell = 0; cell < request.call.grid.cellCount; cell++)
    if (!request.has(cell) && (request.isJoining(cell) || !found.some((cells) => cells[cell] !== 0))) return false;
  return true;
}

/** How often a request asks on after what it joined was aborted. */
const joinRoundsMax = 3;
