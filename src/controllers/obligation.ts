import type { KeyBatch } from "../keys/key-batch.ts";
import type { ObligationEnding, StoreDropReason, StoreFailureReason } from "../policies/contract.ts";

/** How one adapter's part of an obligation ended for one key. */
export type Ending =
  | { readonly kind: "stored" }
  | { readonly kind: "failed"; readonly reason: StoreFailureReason }
  | { readonly kind: "dropped"; readonly reason: StoreDropReason };

/** What a caller learns when nothing of its commit is owed any more: keys by the ending of their obligation as a whole. */
export interface Settlement {
  /** Every adapter that owed the key has it (or none owed it). */
  readonly storedKeys: number;
  /** At least one adapter failed. */
  readonly failedKeys: number;
  /** No adapter failed, at least one dropped it. */
  readonly droppedKeys: number;
  /** Reasons of failed and dropped parts, with counts: `failed:io_error`, `dropped:queue_full`. */
  readonly reasons: Readonly<Record<string, number>>;
}

/**
 * What the keys of one commit are still owed (law 4). Each adapter's part of each key ends exactly once; when the last part of a key
 * has ended, the key's object is let go.
 */
export class Obligation {
  readonly keys: KeyBatch;
  /** Pairs [index, generation], key i in slot i. */
  readonly refs: Uint32Array;
  readonly sizes: Uint32Array;
  /** When the keys were committed, on the controller's clock. */
  readonly createdMs: number;
  /** Parts per key that have not ended. */
  readonly open: Uint8Array;
  readonly stored: Uint8Array;
  readonly failed: Uint8Array;
  readonly dropped: Uint8Array;
  #openKeys: number;
  #storedKeys = 0;
  #failedKeys = 0;
  #droppedKeys = 0;
  readonly #reasons: Record<string, number> = {};
  #settled: Promise<Settlement> | undefined;
  #resolve: ((settlement: Settlement) => void) | undefined;

  constructor(keys: KeyBatch, refs: Uint32Array, sizes: Uint32Array, createdMs: number) {
    this.keys = keys;
    this.refs = refs;
    this.sizes = sizes;
    this.createdMs = createdMs;
    this.open = new Uint8Array(keys.count);
    this.stored = new Uint8Array(keys.count);
    this.failed = new Uint8Array(keys.count);
    this.dropped = new Uint8Array(keys.count);
    this.#openKeys = keys.count;
  }

  /** Notes one part's ending. Returns true when it was the key's last. */
  endPart(keyIndex: number, ending: Ending): boolean {
    if (ending.kind === "stored") this.stored[keyIndex]++;
    else {
      if (ending.kind === "failed") this.failed[keyIndex]++;
      else this.dropped[keyIndex]++;
      const reason = `${ending.kind}:${ending.reason}`;
      this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1;
    }
    return --this.open[keyIndex] === 0;
  }

  /** A key has no open part left. Returns true when it was the last key. */
  endKey(keyIndex: number): boolean {
    if (this.failed[keyIndex] > 0) this.#failedKeys++;
    else if (this.dropped[keyIndex] > 0) this.#droppedKeys++;
    else this.#storedKeys++;
    return --this.#openKeys === 0;
  }

  ending(keyIndex: number): ObligationEnding {
    return { storedCount: this.stored[keyIndex], failedCount: this.failed[keyIndex], droppedCount: this.dropped[keyIndex] };
  }

  get openKeys(): number {
    return this.#openKeys;
  }

  /** Resolves when every key's obligation has ended. Never rejects: a failed store is an ending, not an error of the caller. */
  get settled(): Promise<Settlement> {
    this.#settled ??=
      this.#openKeys === 0
        ? Promise.resolve(this.settlement())
        : new Promise((resolve) => {
            this.#resolve = resolve;
          });
    return this.#settled;
  }

  /** The controller calls this once, after the last key. */
  announce(): void {
    this.#resolve?.(this.settlement());
  }

  settlement(): Settlement {
    return { storedKeys: this.#storedKeys, failedKeys: this.#failedKeys, droppedKeys: this.#droppedKeys, reasons: this.#reasons };
  }
}
