import type { KeyBatch } from "../../keys/key-batch.ts";
import { DefaultPrefetchPolicy } from "./default.ts";

/** `retain`: plans as `default`; every loaded copy stays in L1 until it is evicted. */
export class RetainPrefetchPolicy extends DefaultPrefetchPolicy {
  override readonly name = "retain";

  override planL1Retention(keys: KeyBatch): Uint8Array {
    return new Uint8Array(keys.count).fill(1);
  }
}
