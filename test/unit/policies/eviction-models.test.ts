/** LRU, FIFO and ARC against models that are too simple to be wrong: plain arrays, oldest first. */
import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import type { EvictionContext, EvictionPolicy } from "../../../src/policies/contract.ts";
import { ArcPolicy } from "../../../src/policies/eviction/arc.ts";
import { FifoPolicy } from "../../../src/policies/eviction/fifo.ts";
import { LruPolicy } from "../../../src/policies/eviction/lru.ts";
import { check, evictionOps, type EvictionOp } from "./support.ts";

const sizeOf = (id: number): number => (id % 3) + 1;
const context: EvictionContext = { saltId: () => 0, sizeBytes: sizeOf };

interface Model {
  apply(kind: "created" | "reserved" | "touched" | "removed", ids: readonly number[]): void;
  /** Tracked ids in the order in which they would leave, given that nothing is locked. */
  victims(wanted: number, worth: (id: number) => number, locked: ReadonlySet<number>): number[];
  readonly tracked: number;
}

function oldestFirst(order: readonly number[], wanted: number, worth: (id: number) => number, locked: ReadonlySet<number>): number[] {
  const victims: number[] = [];
  for (const id of order) {
    if (wanted <= 0) break;
    if (locked.has(id)) continue;
    victims.push(id);
    wanted -= worth(id);
  }
  return victims;
}

class LruModel implements Model {
  order: number[] = [];

  apply(kind: string, ids: readonly number[]): void {
    for (const id of [...ids].reverse()) {
      const known = this.order.includes(id);
      this.order = this.order.filter((other) => other !== id);
      if (kind === "removed" || (kind === "touched" && !known)) continue;
      this.order.push(id);
    }
  }

  victims(wanted: number, worth: (id: number) => number, locked: ReadonlySet<number>): number[] {
    return oldestFirst(this.order, wanted, worth, locked);
  }

  get tracked(): number {
    return this.order.length;
  }
}

class FifoModel extends LruModel {
  override apply(kind: string, ids: readonly number[]): void {
    for (const id of ids) {
      if (kind === "removed") this.order = this.order.filter((other) => other !== id);
      else if (kind !== "touched" && !this.order.includes(id)) this.order.push(id);
    }
  }
}

/** The FAST 2003 paper's lists with the batch rules of the oracle README, one filter at a time. */
class ArcModel implements Model {
  readonly lists: Record<"t1" | "t2" | "b1" | "b2", number[]> = { t1: [], t2: [], b1: [], b2: [] };
  readonly pending = new Set<number>();
  readonly chosen = new Set<number>();
  capacity = 0;
  p = 0;

  apply(kind: string, ids: readonly number[]): void {
    for (const id of kind === "removed" ? ids : [...ids].reverse()) {
      this.#one(kind, id);
      this.#trim();
    }
  }

  victims(wanted: number, worth: (id: number) => number, locked: ReadonlySet<number>): number[] {
    const free = (id: number): boolean => !locked.has(id);
    const t1 = this.lists.t1.filter(free);
    const t2 = this.lists.t2.filter(free);
    const victims: number[] = [];
    let t1Left = this.lists.t1.length;
    while (wanted > 0 && t1.length + t2.length > 0) {
      const fromT1 = t1.length > 0 && (t1Left >= Math.floor(this.p) || t2.length === 0);
      const id = (fromT1 ? t1 : t2).shift() as number;
      if (fromT1) t1Left--;
      victims.push(id);
      this.chosen.add(id);
      wanted -= worth(id);
    }
    return victims;
  }

  get tracked(): number {
    return this.lists.t1.length + this.lists.t2.length;
  }

  #one(kind: string, id: number): void {
    const place = this.#place(id);
    const resident = place === "t1" || place === "t2";
    if (kind === "touched") {
      if (resident) this.#put(id, "t2");
      return;
    }
    if (kind === "removed") {
      const ghost = resident && this.chosen.has(id) ? (place === "t1" ? "b1" : "b2") : undefined;
      this.chosen.delete(id);
      this.pending.delete(id);
      this.#put(id, ghost);
      return;
    }
    this.chosen.delete(id);
    if (kind === "created" && this.pending.delete(id)) return;
    if (place === "b1") this.p = Math.min(this.capacity, this.p + Math.max(1, this.lists.b2.length / this.lists.b1.length));
    if (place === "b2") this.p = Math.max(0, this.p - Math.max(1, this.lists.b1.length / this.lists.b2.length));
    if (kind === "reserved") this.pending.add(id);
    this.#put(id, kind === "reserved" || place === undefined ? "t1" : "t2");
  }

  #place(id: number): "t1" | "t2" | "b1" | "b2" | undefined {
    return (["t1", "t2", "b1", "b2"] as const).find((name) => this.lists[name].includes(id));
  }

  #put(id: number, place: "t1" | "t2" | "b1" | "b2" | undefined): void {
    for (const name of ["t1", "t2", "b1", "b2"] as const) this.lists[name] = this.lists[name].filter((other) => other !== id);
    if (place !== undefined) this.lists[place].push(id);
    this.capacity = Math.max(this.capacity, this.tracked);
  }

  #trim(): void {
    const { lists } = this;
    while (lists.b1.length > 0 && lists.t1.length + lists.b1.length > this.capacity) lists.b1.shift();
    while (this.tracked + lists.b1.length + lists.b2.length > 2 * this.capacity) (lists.b2.length > 0 ? lists.b2 : lists.b1).shift();
  }
}

function run(ops: readonly EvictionOp[], policy: EvictionPolicy, model: Model): void {
  for (const op of ops) {
    if (op.kind === "evict" || op.kind === "evictBytes") {
      const locked = new Set(op.locked);
      const eligible = (id: number): boolean => !locked.has(id);
      if (op.kind === "evictBytes") {
        assert.deepEqual([...policy.getVictimsForBytes(op.bytes, eligible)], model.victims(op.bytes, sizeOf, locked));
      } else {
        const { tracked } = model;
        const wanted = op.ratio > 0 && tracked > 0 ? Math.max(1, Math.floor(tracked * Math.min(1, op.ratio))) : 0;
        const victims = policy.getEvictionVictims(op.ratio, eligible);
        assert.deepEqual([...victims], model.victims(wanted, () => 1, locked));
        if (op.remove) {
          policy.onKeysRemoved(victims);
          model.apply("removed", [...victims]);
        }
      }
    } else {
      const batch = Uint32Array.from(op.ids);
      if (op.kind === "created") policy.onKeysCreated(batch);
      else if (op.kind === "reserved") policy.onKeysReserved(batch);
      else if (op.kind === "touched") policy.onKeysTouched(batch);
      else policy.onKeysRemoved(batch);
      model.apply(op.kind, op.ids);
    }
    assert.equal(policy.trackedCount, model.tracked);
  }
}

test("LRU agrees with a plain array", () => {
  check(
    fc.property(evictionOps(), (ops) => {
      const policy = new LruPolicy(context);
      const model = new LruModel();
      run(ops, policy, model);
      assert.deepEqual(policy.order(), model.order);
    }),
    500,
  );
});

test("FIFO agrees with a plain array", () => {
  check(
    fc.property(evictionOps(), (ops) => {
      const policy = new FifoPolicy(context);
      const model = new FifoModel();
      run(ops, policy, model);
      assert.deepEqual(policy.order(), model.order);
    }),
    500,
  );
});

test("ARC agrees with four plain arrays, and every reference it takes for a ghost is given back once", () => {
  check(
    fc.property(evictionOps(), (ops) => {
      const held = new Map<number, number>();
      const policy = new ArcPolicy({
        ...context,
        retain: (id) => held.set(id, (held.get(id) ?? 0) + 1),
        release: (id) => held.set(id, (held.get(id) ?? 0) - 1),
      });
      const model = new ArcModel();
      run(ops, policy, model);
      const { lists, capacity, p } = model;
      assert.deepEqual(policy.snapshot(), { ...lists, capacity, p });
      const ghosts = [...lists.b1, ...lists.b2].sort((a, b) => a - b);
      assert.deepEqual([...held].filter(([, count]) => count !== 0).sort(([a], [b]) => a - b), ghosts.map((id) => [id, 1]));
    }),
    500,
  );
});

test("a mutated rule is noticed: LRU does not agree with FIFO's model", () => {
  const ops: EvictionOp[] = [{ kind: "created", ids: [1, 2] }, { kind: "touched", ids: [1] }, { kind: "evict", ratio: 0.5, locked: [7], remove: false }];
  assert.throws(() => run(ops, new LruPolicy(context), new FifoModel()), assert.AssertionError);
});
