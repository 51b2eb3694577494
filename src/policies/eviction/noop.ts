import type { EvictionPolicy } from "../contract.ts";

const none = new Uint32Array(0);

/**
 * `noop`: never evicts, tracks nothing. With the store policy `skip_l1` it makes L1 a pure write buffer, whose objects leave when their
 * obligation ends; with any other store policy L1 fills once and stays full.
 */
export class NoopPolicy implements EvictionPolicy {
  readonly name = "noop";
  readonly isolatesSalts = false;
  readonly evicts = false;
  readonly trackedCount = 0;

  onKeysCreated(): void {}
  onKeysReserved(): void {}
  onKeysTouched(): void {}
  onKeysRemoved(): void {}

  getEvictionVictims(): Uint32Array {
    return none;
  }

  getVictimsForBytes(): Uint32Array {
    return none;
  }

  saltIds(): readonly number[] {
    return [];
  }
}
