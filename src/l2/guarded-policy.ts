import { answerAtOnce } from "../base/answer-at-once.ts";
import type { AdapterEvictionPolicy } from "./contract.ts";

const none = new Uint32Array(0);

/**
 * An eviction policy that may be a user's: what it throws is reported and the adapter goes on. A notification that failed is lost to the
 * policy, which then may not know an object; a choice that failed is no victims, so that a store is refused for lack of room, never lost.
 */
export class GuardedPolicy implements AdapterEvictionPolicy {
  readonly name: string;
  readonly isolatesSalts: boolean;
  readonly evicts: boolean;
  readonly #policy: AdapterEvictionPolicy;
  readonly #report: (error: unknown) => void;

  constructor(policy: AdapterEvictionPolicy, report: (error: unknown) => void) {
    this.#policy = policy;
    this.#report = report;
    this.name = policy.name;
    this.isolatesSalts = policy.isolatesSalts;
    this.evicts = policy.evicts;
  }

  get trackedCount(): number {
    return this.#try(() => this.#policy.trackedCount, 0);
  }

  onKeysCreated(ids: Uint32Array): void {
    this.#try(() => this.#policy.onKeysCreated(ids), undefined);
  }

  onKeysTouched(ids: Uint32Array): void {
    this.#try(() => this.#policy.onKeysTouched(ids), undefined);
  }

  onKeysRemoved(ids: Uint32Array): void {
    this.#try(() => this.#policy.onKeysRemoved(ids), undefined);
  }

  getEvictionVictims(ratio: number, eligible?: (id: number) => boolean, saltId?: number): Uint32Array {
    return this.#try(() => this.#policy.getEvictionVictims(ratio, eligible, saltId), none);
  }

  getVictimsForBytes(bytes: number, eligible?: (id: number) => boolean, saltId?: number): Uint32Array {
    return this.#try(() => this.#policy.getVictimsForBytes(bytes, eligible, saltId), none);
  }

  saltIds(): readonly number[] {
    return this.#try(() => this.#policy.saltIds(), []);
  }

  #try<Result>(call: () => Result, otherwise: Result): Result {
    try {
      return answerAtOnce(call());
    } catch (error) {
      this.#report(error);
      return otherwise;
    }
  }
}
