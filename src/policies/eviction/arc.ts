import type { EvictionContext, EvictionIds, EvictionPolicy } from "../contract.ts";
import { IdLinks, IdList, IdNumbers } from "./id-lists.ts";
import { type Eligible, victimCount, VictimBudget } from "./victims.ts";

/** Where an id lies, in the low three bits of its state. */
const nowhere = 0;
const inT1 = 1;
const inT2 = 2;
const inB1 = 3;
const inB2 = 4;
const placeMask = 7;
/** Reserved and not yet created: the creation that follows is the same access, not a second one. */
const pendingFlag = 8;
/** Handed out as a victim: when it is removed it becomes a ghost. A touch keeps the mark, a new write of the key takes it away. */
const chosenFlag = 16;

/**
 * `ARC` (N. Megiddo, D. Modha: ARC, a self-tuning, low overhead replacement cache, FAST 2003), as LMCache applies it to batches.
 *
 * T1 holds keys seen once, T2 keys seen again; B1 and B2 remember keys evicted from them (ghosts). A ghost that comes back moves the
 * target `p` of T1's size towards the list that lost it. Capacity is the largest number of resident keys seen, because the policy is not
 * told bytes.
 *
 * A ghost is an id whose object is gone. Ids are recycled, so a ghost holds a reference through `context.retain`; an owner that does not
 * give one may see a new key inherit the history of an old one, which costs hits and never correctness.
 */
export class ArcPolicy implements EvictionPolicy {
  readonly name = "ARC";
  readonly isolatesSalts = false;
  readonly evicts = true;
  readonly #context: EvictionContext;
  readonly #links = new IdLinks();
  readonly #state = new IdNumbers((length) => new Uint8Array(length));
  /** By place; the first is unused. */
  readonly #lists = Array.from({ length: 5 }, () => new IdList(this.#links));
  #capacity = 0;
  #target = 0;

  constructor(context: EvictionContext) {
    this.#context = context;
  }

  onKeysReserved(ids: EvictionIds): void {
    for (let index = ids.length - 1; index >= 0; index--) {
      const id = ids[index];
      const place = this.#place(id);
      if (place === inB1 || place === inB2) this.#adapt(place);
      this.#move(id, inT1, pendingFlag);
      this.#trim();
    }
  }

  onKeysCreated(ids: EvictionIds): void {
    for (let index = ids.length - 1; index >= 0; index--) {
      const id = ids[index];
      const state = this.#state.get(id);
      if ((state & pendingFlag) !== 0) this.#state.set(id, state & ~(pendingFlag | chosenFlag));
      else {
        const place = state & placeMask;
        if (place === inB1 || place === inB2) this.#adapt(place);
        this.#move(id, place === nowhere ? inT1 : inT2, 0);
      }
      this.#trim();
    }
  }

  onKeysTouched(ids: EvictionIds): void {
    for (let index = ids.length - 1; index >= 0; index--) {
      const state = this.#state.get(ids[index]);
      const place = state & placeMask;
      if (place === inT1 || place === inT2) this.#move(ids[index], inT2, state & (pendingFlag | chosenFlag));
      this.#trim();
    }
  }

  onKeysRemoved(ids: EvictionIds): void {
    for (let index = 0; index < ids.length; index++) {
      const id = ids[index];
      const state = this.#state.get(id);
      const place = state & placeMask;
      const resident = place === inT1 || place === inT2;
      if (resident && (state & chosenFlag) !== 0) this.#move(id, place === inT1 ? inB1 : inB2, 0);
      else this.#move(id, nowhere, 0);
      this.#trim();
    }
  }

  getEvictionVictims(ratio: number, eligible?: Eligible): Uint32Array {
    return this.#collect(VictimBudget.ofCount(victimCount(this.trackedCount, ratio)), eligible);
  }

  getVictimsForBytes(bytes: number, eligible?: Eligible): Uint32Array {
    return this.#collect(VictimBudget.ofBytes(bytes, (id) => this.#context.sizeBytes(id)), eligible);
  }

  /** Resident ids; ghosts do not count. */
  get trackedCount(): number {
    return this.#lists[inT1].count + this.#lists[inT2].count;
  }

  saltIds(): readonly number[] {
    return [];
  }

  /** The four lists, oldest first, with capacity and target: for tests and status. */
  snapshot(): { t1: number[]; t2: number[]; b1: number[]; b2: number[]; capacity: number; p: number } {
    const [, t1, t2, b1, b2] = this.#lists.map((list) => list.toArray());
    return { t1, t2, b1, b2, capacity: this.#capacity, p: this.#target };
  }

  #place(id: number): number {
    return this.#state.get(id) & placeMask;
  }

  /** Takes `id` from where it lies to the young end of `place` (or to nowhere) and keeps the references of ghosts right. */
  #move(id: number, place: number, flags: number): void {
    const from = this.#place(id);
    if (from !== nowhere && from !== place) this.#lists[from].remove(id);
    if (place !== nowhere) this.#lists[place].moveToYoung(id);
    if (from !== nowhere || place !== nowhere) this.#state.set(id, place | flags);
    const wasGhost = from >= inB1;
    const isGhost = place >= inB1;
    if (isGhost && !wasGhost) this.#context.retain?.(id);
    if (wasGhost && !isGhost) this.#context.release?.(id);
    this.#capacity = Math.max(this.#capacity, this.trackedCount);
  }

  /** A ghost came back: T1 was too small if it lay in B1, too large if in B2. */
  #adapt(place: number): void {
    const b1 = this.#lists[inB1].count;
    const b2 = this.#lists[inB2].count;
    if (place === inB1) this.#target = Math.min(this.#capacity, this.#target + Math.max(1, b2 / b1));
    else this.#target = Math.max(0, this.#target - Math.max(1, b1 / b2));
  }

  /** Bounds the ghosts: at most capacity of recent history, at most twice capacity in all. */
  #trim(): void {
    const [, t1, t2, b1, b2] = this.#lists;
    while (b1.count > 0 && t1.count + b1.count > this.#capacity) this.#move(b1.oldest(), nowhere, 0);
    while (t1.count + t2.count + b1.count + b2.count > 2 * this.#capacity) {
      const ghosts = b2.count > 0 ? b2 : b1;
      if (ghosts.count === 0) return;
      this.#move(ghosts.oldest(), nowhere, 0);
    }
  }

  #collect(budget: VictimBudget, eligible: Eligible | undefined): Uint32Array {
    const [, t1, t2] = this.#lists;
    const nextEligible = (list: IdList, id: number): number => {
      while (id !== -1 && eligible !== undefined && !eligible(id)) id = list.youngerThan(id);
      return id;
    };
    let once = nextEligible(t1, t1.oldest());
    let again = nextEligible(t2, t2.oldest());
    let onceLeft = t1.count;
    while (budget.open && (once !== -1 || again !== -1)) {
      const fromT1 = once !== -1 && (onceLeft >= Math.floor(this.#target) || again === -1);
      const victim = fromT1 ? once : again;
      budget.take(victim);
      this.#state.set(victim, this.#state.get(victim) | chosenFlag);
      if (fromT1) {
        once = nextEligible(t1, t1.youngerThan(once));
        onceLeft--;
      } else again = nextEligible(t2, t2.youngerThan(again));
    }
    return budget.victims();
  }
}
