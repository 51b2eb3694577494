import type { EvictionContext, EvictionIds, EvictionPolicy, SaltUsage } from "../contract.ts";
import { IdLinks, IdList, IdNumbers } from "./id-lists.ts";
import { type Eligible, victimCount, VictimBudget } from "./victims.ts";

/** One salt's part in a choice of victims over all salts. */
interface Contender {
  readonly saltId: number;
  readonly list: IdList;
  /** The next id to look at, -1 when this salt has no more. */
  next: number;
  usedBytes: number;
  readonly quotaBytes: number;
}

/**
 * `IsolatedLRU`: one LRU list per cache salt, so that one tenant's traffic cannot push out another's. Batches are walked backwards, as
 * in LRU; a salt whose list becomes empty is forgotten.
 *
 * With a salt, victims come from that salt alone (an unknown one yields none): what quotas ask. Without a salt, the tier as a whole is
 * too full, and who uses most beyond its quota pays first: salts over their quota, the one furthest over it first, then the largest
 * salt down to the second largest, and so on. LMCache raises ValueError here, which ends its L1 eviction thread.
 */
export class IsolatedLruPolicy implements EvictionPolicy {
  readonly name = "IsolatedLRU";
  readonly isolatesSalts = true;
  readonly evicts = true;
  readonly #context: EvictionContext;
  readonly #links = new IdLinks();
  /** Salt of each tracked id, kept here because an id that is being removed may no longer have one elsewhere. */
  readonly #salts = new IdNumbers((length) => new Uint32Array(length));
  readonly #lists = new Map<number, IdList>();
  #trackedCount = 0;

  constructor(context: EvictionContext) {
    this.#context = context;
  }

  onKeysCreated(ids: EvictionIds): void {
    for (let index = ids.length - 1; index >= 0; index--) {
      const id = ids[index];
      if (this.#links.has(id)) this.#listOf(id).moveToYoung(id);
      else this.#add(id);
    }
  }

  onKeysReserved(ids: EvictionIds): void {
    this.onKeysCreated(ids);
  }

  onKeysTouched(ids: EvictionIds): void {
    for (let index = ids.length - 1; index >= 0; index--) if (this.#links.has(ids[index])) this.#listOf(ids[index]).moveToYoung(ids[index]);
  }

  onKeysRemoved(ids: EvictionIds): void {
    for (let index = 0; index < ids.length; index++) {
      const id = ids[index];
      if (!this.#links.has(id)) continue;
      const list = this.#listOf(id);
      list.remove(id);
      this.#trackedCount--;
      if (list.count === 0) this.#lists.delete(this.#salts.get(id));
    }
  }

  getEvictionVictims(ratio: number, eligible?: Eligible, saltId?: number): Uint32Array {
    if (saltId === undefined) return this.#collectFairly(VictimBudget.ofCount(victimCount(this.#trackedCount, ratio)), eligible);
    const list = this.#lists.get(saltId);
    return collectOldest(list, VictimBudget.ofCount(victimCount(list?.count ?? 0, ratio)), eligible);
  }

  getVictimsForBytes(bytes: number, eligible?: Eligible, saltId?: number): Uint32Array {
    const budget = VictimBudget.ofBytes(bytes, (id) => this.#context.sizeBytes(id));
    return saltId === undefined ? this.#collectFairly(budget, eligible) : collectOldest(this.#lists.get(saltId), budget, eligible);
  }

  get trackedCount(): number {
    return this.#trackedCount;
  }

  saltIds(): readonly number[] {
    return [...this.#lists.keys()];
  }

  /** Tracked ids of one salt, oldest first: for tests and status. */
  order(saltId: number): number[] {
    return this.#lists.get(saltId)?.toArray() ?? [];
  }

  #listOf(id: number): IdList {
    return this.#lists.get(this.#salts.get(id)) as IdList;
  }

  #add(id: number): void {
    const saltId = this.#context.saltId(id);
    let list = this.#lists.get(saltId);
    if (list === undefined) this.#lists.set(saltId, (list = new IdList(this.#links)));
    this.#salts.set(id, saltId);
    list.moveToYoung(id);
    this.#trackedCount++;
  }

  #collectFairly(budget: VictimBudget, eligible: Eligible | undefined): Uint32Array {
    const payers = new PayerHeap([...this.#lists].map(([saltId, list]) => this.#contender(saltId, list)));
    for (let payer = payers.first(); payer !== undefined && budget.open; payer = payers.first()) {
      const id = payer.next;
      payer.next = payer.list.youngerThan(id);
      if (eligible === undefined || eligible(id)) {
        budget.take(id);
        payer.usedBytes -= this.#context.sizeBytes(id);
      }
      payers.firstChanged();
    }
    return budget.victims();
  }

  #contender(saltId: number, list: IdList): Contender {
    const usage = this.#context.saltUsage?.(saltId) ?? this.#measure(list);
    return { saltId, list, next: list.oldest(), usedBytes: usage.usedBytes, quotaBytes: usage.quotaBytes };
  }

  /** An owner that keeps no account per salt gets one made on the spot, without quotas. */
  #measure(list: IdList): SaltUsage {
    let usedBytes = 0;
    for (let id = list.oldest(); id !== -1; id = list.youngerThan(id)) usedBytes += this.#context.sizeBytes(id);
    return { usedBytes, quotaBytes: Infinity };
  }
}

function collectOldest(list: IdList | undefined, budget: VictimBudget, eligible: Eligible | undefined): Uint32Array {
  if (list !== undefined)
    for (let id = list.oldest(); id !== -1 && budget.open; id = list.youngerThan(id)) if (eligible === undefined || eligible(id)) budget.take(id);
  return budget.victims();
}

/** Salts with ids left, the next to pay first: a binary heap, because a tier may hold thousands of salts and victims. */
class PayerHeap {
  readonly #heap: Contender[];

  constructor(contenders: Contender[]) {
    this.#heap = contenders;
    for (let index = (contenders.length >> 1) - 1; index >= 0; index--) this.#sink(index);
  }

  first(): Contender | undefined {
    return this.#heap[0];
  }

  /** The first has paid, or has no ids left and leaves. */
  firstChanged(): void {
    if (this.#heap[0].next === -1) {
      const last = this.#heap.pop() as Contender;
      if (this.#heap.length === 0) return;
      this.#heap[0] = last;
    }
    this.#sink(0);
  }

  #sink(index: number): void {
    const heap = this.#heap;
    for (;;) {
      const left = 2 * index + 1;
      const right = left + 1;
      let payer = index;
      if (left < heap.length && paysBefore(heap[left], heap[payer])) payer = left;
      if (right < heap.length && paysBefore(heap[right], heap[payer])) payer = right;
      if (payer === index) return;
      const sinking = heap[index];
      heap[index] = heap[payer];
      heap[payer] = sinking;
      index = payer;
    }
  }
}

/** Over quota before within quota, further over before less, then more bytes before fewer; ties go to the lower salt. */
function paysBefore(a: Contender, b: Contender): boolean {
  const aOver = Math.max(0, a.usedBytes - a.quotaBytes);
  const bOver = Math.max(0, b.usedBytes - b.quotaBytes);
  if (aOver !== bOver) return aOver > bOver;
  return a.usedBytes === b.usedBytes ? a.saltId < b.saltId : a.usedBytes > b.usedBytes;
}
