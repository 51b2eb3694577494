import type { L1Decision } from "../contract.ts";
import { DefaultStorePolicy } from "./default.ts";

/**
 * `skip_l1`: every key goes to every adapter and leaves L1 when its obligation has ended, however it ended. A failed store frees its
 * memory like a good one: that is what keeps a write buffer from filling up with what could not be written.
 */
export class SkipL1StorePolicy extends DefaultStorePolicy {
  override readonly name = "skip_l1";

  override decideL1(): L1Decision {
    return "drop";
  }
}
