import type { KeyBatch } from "../../keys/key-batch.ts";
import type { FoundRows, LoadPlan, PrefetchPolicy, PrefetchRow } from "../contract.ts";
import { planLoad } from "./plan.ts";

/** `default`: loads what the longest servable prefix needs, L1 first, then adapters in order; a loaded copy leaves L1 with its last reader. */
export class DefaultPrefetchPolicy implements PrefetchPolicy {
  readonly name: string = "default";

  planLoad(
    rows: readonly PrefetchRow[],
    columns: number,
    l1Found: FoundRows,
    l2Found: ReadonlyMap<number, FoundRows>,
    fetching: "prefix" | "full",
  ): LoadPlan {
    return planLoad(rows, columns, l1Found, l2Found, fetching);
  }

  planL1Retention(keys: KeyBatch): Uint8Array {
    return new Uint8Array(keys.count);
  }
}
