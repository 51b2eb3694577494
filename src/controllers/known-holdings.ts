import { answerAtOnce } from "../base/answer-at-once.ts";
import type { Counters } from "../base/counters.ts";
import { errorText } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { KeyBatch } from "../keys/key-batch.ts";
import type { L2Adapter } from "../l2/contract.ts";
import { lendKeys } from "./lend.ts";

/** Asks adapters what they are known to hold without I/O, under supervision: an adapter that throws or answers nonsense knows nothing. */
export class KnownHoldings {
  readonly #counters: Counters;
  readonly #logger: Logger;

  constructor(counters: Counters, logger: Logger) {
    this.#counters = counters;
    this.#logger = logger;
  }

  /** 1 per key that the adapter holds; undefined when it cannot say. */
  of(adapter: L2Adapter, keys: KeyBatch): Uint8Array | undefined {
    if (adapter.holds === undefined || keys.count === 0) return undefined;
    try {
      const held = answerAtOnce(adapter.holds(lendKeys(keys)));
      if (!(held instanceof Uint8Array) || held.length !== keys.count) throw new TypeError(`holds must answer one flag per key (${keys.count})`);
      return held;
    } catch (error) {
      this.#counters.counter("kvferry_adapter_errors_total", { adapter: adapter.name, call: "holds" }).add(1);
      this.#logger.warn("adapter_holds", `${adapter.name}: holds failed: ${errorText(error)}`);
      return undefined;
    }
  }

  /** 1 per key that every one of the adapters holds; undefined when that is no key, or some adapter cannot say. */
  ofAll(adapters: readonly L2Adapter[], keys: KeyBatch): Uint8Array | undefined {
    let heldByAll: Uint8Array | undefined;
    for (const adapter of adapters) {
      const held = this.of(adapter, keys);
      if (held === undefined) return undefined;
      if (heldByAll === undefined) heldByAll = held.slice();
      else for (let index = 0; index < held.length; index++) heldByAll[index] &= held[index];
    }
    return heldByAll?.includes(1) === true ? heldByAll : undefined;
  }
}
