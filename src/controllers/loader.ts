import type { Clock, Timer } from "../base/clock.ts";
import type { Counter, Counters } from "../base/counters.ts";
import { errorText, StateError } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { pickRefs, type Admission, type L1Manager, type WriteGrant } from "../l1/index.ts";
import { LoadStatus, type L2Adapter } from "../l2/contract.ts";
import type { AdapterDescriptor, LoadPlan } from "../policies/contract.ts";
import type { KeyGrid } from "./key-grid.ts";
import { lendBatch } from "./lend.ts";

export interface AdapterEntry {
  readonly adapter: L2Adapter;
  readonly descriptor: AdapterDescriptor;
}

/** The writer tag of loads: one staged copy per key, whoever asked first. */
export const loadTag = 2;

/**
 * Fills staged slots from adapters and publishes what came back whole. A load runs on, whoever stops waiting for it: its slots are an
 * adapter's until it answers, and what lands late is counted.
 */
export class Loader {
  readonly #l1: L1Manager;
  readonly #admission: Admission;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #logger: Logger;
  readonly #adapters: readonly AdapterEntry[];
  readonly #loadTimeoutMs: number;
  readonly #late: Counter;
  readonly #loads = new Set<Promise<void>>();

  /** `adapters` is the controller's own list: entries come and go. */
  constructor(
    dependencies: { readonly l1: L1Manager; readonly admission: Admission; readonly clock: Clock; readonly counters: Counters; readonly logger: Logger },
    adapters: readonly AdapterEntry[],
    loadTimeoutMs: number,
  ) {
    this.#l1 = dependencies.l1;
    this.#admission = dependencies.admission;
    this.#clock = dependencies.clock;
    this.#counters = dependencies.counters;
    this.#logger = dependencies.logger;
    this.#adapters = adapters;
    this.#loadTimeoutMs = loadTimeoutMs;
    this.#late = this.#counters.counter("kvferry_late_loads_total");
  }

  /** Loads that an adapter has not answered yet, whether somebody waits for them or not. */
  get inFlight(): number {
    return this.#loads.size;
  }

  /** Resolves when no load is in flight. */
  async idle(): Promise<void> {
    while (this.#loads.size > 0) await Promise.allSettled([...this.#loads]);
  }

  /** Starts one load per adapter that the plan names, over the slots that were granted. */
  start(grid: KeyGrid, grant: WriteGrant, plan: LoadPlan, foundByAdapter: ReadonlyMap<number, Uint8Array>): void {
    for (const [adapterIndex, rows] of plan.fromL2) {
      const planned = grid.fromRows(rows);
      const positions: number[] = [];
      for (let position = 0; position < grant.keyIndices.length; position++) if (planned[grant.keyIndices[position]] !== 0) positions.push(position);
      if (positions.length === 0) continue;
      this.#track(this.#load(grid, grant, positions, adapterIndex, foundByAdapter, new Set([adapterIndex])));
    }
  }

  #track(load: Promise<void>): void {
    this.#loads.add(load);
    void load.finally(() => this.#loads.delete(load));
  }

  /**
   * Loads granted positions from one adapter and publishes what came back whole; what did not is tried on the next adapter that reported
   * it, else freed. Never rejects. Runs on, whoever stops waiting.
   */
  async #load(
    grid: KeyGrid,
    grant: WriteGrant,
    positions: readonly number[],
    adapterIndex: number,
    foundByAdapter: ReadonlyMap<number, Uint8Array>,
    tried: ReadonlySet<number>,
  ): Promise<void> {
    const entry = this.#adapters.find(({ descriptor }) => descriptor.index === adapterIndex);
    const refs = new Uint32Array(2 * positions.length);
    const sizes = new Uint32Array(positions.length);
    const cells = positions.map((position) => grant.keyIndices[position]);
    for (let index = 0; index < positions.length; index++) {
      refs[2 * index] = grant.refs[2 * positions[index]];
      refs[2 * index + 1] = grant.refs[2 * positions[index] + 1];
      sizes[index] = grid.sizeOf(cells[index]);
    }
    const keys = cells.length === grid.cellCount ? grid.keys : grid.keys.pick(cells);
    const statuses = entry === undefined ? undefined : await this.#callLoad(entry, { keys, arena: this.#l1.arena, slots: refs, sizes });
    // The adapter never answered, and the slots were given up to draining already.
    if (statuses === "abandoned") return;
    const loaded: number[] = [];
    const failed: number[] = [];
    for (let index = 0; index < positions.length; index++) (statuses?.[index] === LoadStatus.loaded ? loaded : failed).push(index);
    if (loaded.length > 0) this.#publish(pickRefs(refs, loaded), entry?.descriptor);
    if (failed.length === 0) return;
    const next = nextAdapter(failed, cells, foundByAdapter, tried);
    for (const [index, group] of next) {
      if (index === undefined) this.#l1.abort(pickRefs(refs, group), loadTag);
      else
        await this.#load(grid, grant, group.map((position) => positions[position]), index, foundByAdapter, new Set([...tried, index]));
    }
  }

  #publish(refs: Uint32Array, descriptor: AdapterDescriptor | undefined): void {
    const before = this.#l1.leaseCount;
    try {
      this.#l1.commitLoaded(refs, loadTag);
    } catch (error) {
      // Only I/O that an adapter left running behind its answer comes here: the objects are misses and their memory drains.
      if (!(error instanceof StateError) || descriptor === undefined) throw error;
      this.noteError(descriptor, "load", error);
      this.#l1.abort(refs, loadTag);
    }
    if (this.#l1.leaseCount === before) this.#late.add(refs.length / 2);
  }

  /** The adapter's answer, undefined when it failed, or "abandoned" after loadTimeoutMs: then the staged slots are freed and drain. */
  async #callLoad({ adapter, descriptor }: AdapterEntry, batch: Parameters<L2Adapter["load"]>[0]): Promise<Uint8Array | undefined | "abandoned"> {
    const abort = new AbortController();
    const { arena } = this.#l1;
    // I/O on the slots until the adapter answers, whatever becomes of the request (law 2).
    arena.beginIo(batch.slots);
    let abandoned = false;
    const answer = (async (): Promise<Uint8Array | undefined> => {
      try {
        const statuses = await adapter.load(lendBatch(batch), { signal: abort.signal });
        if (!(statuses instanceof Uint8Array) || statuses.length !== batch.keys.count)
          throw new TypeError(`load must answer one status per key (${batch.keys.count})`);
        this.#countMisses(descriptor, statuses);
        return statuses;
      } catch (error) {
        this.noteError(descriptor, "load", error);
        return undefined;
      } finally {
        arena.endIo(batch.slots);
        if (abandoned) this.#admission.pumpSoon();
      }
    })();
    this.#track(answer.then(() => undefined));
    let timer: Timer | undefined;
    const timeout = new Promise<"abandoned">((resolve) => {
      timer = this.#clock.setTimer(this.#loadTimeoutMs, () => {
        abandoned = true;
        abort.abort(new Error("the load's time has run out"));
        this.#counters.counter("kvferry_load_timeouts_total", { adapter: descriptor.name }).add(1);
        this.#l1.abort(batch.slots, loadTag);
        resolve("abandoned");
      });
    });
    const first = await Promise.race([answer, timeout]);
    timer?.cancel();
    return first;
  }

  #countMisses(descriptor: AdapterDescriptor, statuses: Uint8Array): void {
    for (const status of statuses) {
      if (status === LoadStatus.loaded) continue;
      const reason = loadReasons[status] ?? "failed";
      this.#counters.counter("kvferry_load_misses_total", { adapter: descriptor.name, reason }).add(1);
    }
  }

  /** One adapter's failure is its own: counted, reported, and no more. */
  noteError(descriptor: AdapterDescriptor, call: string, error: unknown): void {
    this.#counters.counter("kvferry_adapter_errors_total", { adapter: descriptor.name, call }).add(1);
    this.#logger.warn(`adapter_${call}`, `${descriptor.name}: ${call} failed: ${errorText(error)}`);
  }
}

const loadReasons: Record<number, string> = {
  [LoadStatus.missing]: "missing",
  [LoadStatus.corrupt]: "corrupt",
  [LoadStatus.foreign]: "foreign",
  [LoadStatus.failed]: "failed",
};

/** Groups failed positions by the next adapter (ascending index) that reported their cell and was not tried; undefined = nobody is left. */
function nextAdapter(
  failed: readonly number[],
  cells: readonly number[],
  foundByAdapter: ReadonlyMap<number, Uint8Array>,
  tried: ReadonlySet<number>,
): Map<number | undefined, number[]> {
  const indices = [...foundByAdapter.keys()].filter((index) => !tried.has(index)).sort((a, b) => a - b);
  const groups = new Map<number | undefined, number[]>();
  for (const position of failed) {
    const next = indices.find((index) => foundByAdapter.get(index)?.[cells[position]] === 1);
    const group = groups.get(next);
    if (group === undefined) groups.set(next, [position]);
    else group.push(position);
  }
  return groups;
}
