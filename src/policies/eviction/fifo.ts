import type { EvictionIds } from "../contract.ts";
import { LruPolicy } from "./lru.ts";

/**
 * `FIFO`: keys leave in the order in which they came. A touch changes nothing, and neither does a key that comes again while it is
 * tracked. Batches are taken head first, as `replay --index-only` does.
 */
export class FifoPolicy extends LruPolicy {
  override readonly name = "FIFO";

  override onKeysCreated(ids: EvictionIds): void {
    const { links, list } = this;
    for (let index = 0; index < ids.length; index++) if (!links.has(ids[index])) list.moveToYoung(ids[index]);
  }

  override onKeysTouched(): void {}
}
