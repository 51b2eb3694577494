import type { Clock } from "../base/clock.ts";
import type { Counters } from "../base/counters.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { L1Manager } from "../l1/index.ts";
import type { StorePolicy } from "../policies/contract.ts";

export interface StoreOptions {
  /** Tries per key and adapter, the first included. */
  readonly attemptsMax: number;
  /** Pause before the second try; doubles with each further one, with jitter. */
  readonly retryDelayMs: number;
  /** Keys that may be tried again per second, over all adapters: a dead engine must not double the load. */
  readonly retryKeysPerSecond: number;
  /** From commit to the last answer; then the part ends `failed(deadline)`. Its I/O keeps the memory until it is done (law 2). */
  readonly deadlineMs: number;
  /** Bytes sent to one adapter and not answered. */
  readonly bytesInFlightMax: number;
}

export interface StoreDependencies {
  readonly l1: L1Manager;
  readonly policy: StorePolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: Counters;
  readonly logger: Logger;
  /** Called when an adapter has let go of slots: memory that drained may be free now. */
  readonly onIoEnded: () => void;
}
