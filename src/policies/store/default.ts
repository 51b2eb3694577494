import type { AdapterDescriptor, L1Decision, StorePolicy, StoreTarget } from "../contract.ts";
import type { KeyBatch } from "../../keys/key-batch.ts";

/** `default`: every key goes to every adapter and stays in L1 until it is evicted. */
export class DefaultStorePolicy implements StorePolicy {
  readonly name: string = "default";

  selectStoreTargets(_keys: KeyBatch, adapters: readonly AdapterDescriptor[]): readonly StoreTarget[] {
    return adapters.map(({ index }) => ({ adapterIndex: index, keyIndices: "all" }));
  }

  decideL1(): L1Decision {
    return "keep";
  }
}
