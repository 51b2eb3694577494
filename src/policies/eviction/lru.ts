import type { EvictionContext, EvictionIds, EvictionPolicy } from "../contract.ts";
import { IdLinks, IdList } from "./id-lists.ts";
import { type Eligible, victimCount, VictimBudget } from "./victims.ts";

/**
 * `LRU`: one list, oldest first. A batch is walked backwards, so that its first key is the youngest: in a prefix cache the tail of a
 * prompt is worth nothing without its head, and must go first.
 */
export class LruPolicy implements EvictionPolicy {
  readonly name: string = "LRU";
  readonly isolatesSalts = false;
  readonly evicts = true;
  protected readonly links = new IdLinks();
  protected readonly list = new IdList(this.links);
  readonly #context: EvictionContext;

  constructor(context: EvictionContext) {
    this.#context = context;
  }

  onKeysCreated(ids: EvictionIds): void {
    this.list.moveBatchToYoung(ids, false);
  }

  onKeysReserved(ids: EvictionIds): void {
    this.onKeysCreated(ids);
  }

  onKeysTouched(ids: EvictionIds): void {
    this.list.moveBatchToYoung(ids, true);
  }

  onKeysRemoved(ids: EvictionIds): void {
    const { links, list } = this;
    for (let index = 0; index < ids.length; index++) if (links.has(ids[index])) list.remove(ids[index]);
  }

  getEvictionVictims(ratio: number, eligible?: Eligible): Uint32Array {
    return this.#collect(VictimBudget.ofCount(victimCount(this.list.count, ratio)), eligible);
  }

  getVictimsForBytes(bytes: number, eligible?: Eligible): Uint32Array {
    return this.#collect(VictimBudget.ofBytes(bytes, this.#context.sizeBytes.bind(this.#context)), eligible);
  }

  get trackedCount(): number {
    return this.list.count;
  }

  saltIds(): readonly number[] {
    return [];
  }

  /** Bytes of bookkeeping. */
  get memoryBytes(): number {
    return this.links.bytes;
  }

  /** Tracked ids, oldest first: for tests and status. */
  order(): number[] {
    return this.list.toArray();
  }

  #collect(budget: VictimBudget, eligible: Eligible | undefined): Uint32Array {
    for (let id = this.list.oldest(); id !== -1 && budget.open; id = this.list.youngerThan(id))
      if (eligible === undefined || eligible(id)) budget.take(id);
    return budget.victims();
  }
}
