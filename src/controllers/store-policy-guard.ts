import type { Counter, Counters } from "../base/counters.ts";
import { errorText } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { AdapterDescriptor, StorePolicy } from "../policies/contract.ts";
import type { Ending, Obligation } from "./obligation.ts";

/** A store policy under supervision: what it throws is counted and reported, and the controller goes on. */
export class StorePolicyGuard {
  readonly policy: StorePolicy;
  readonly #logger: Logger;
  readonly #errors: Counter;

  constructor(policy: StorePolicy, counters: Counters, logger: Logger) {
    this.policy = policy;
    this.#logger = logger;
    this.#errors = counters.counter("kvferry_policy_errors_total", { kind: "store", policy: policy.name });
  }

  /** The policy's answer; undefined when it threw. */
  ask<T>(call: (policy: StorePolicy) => T): T | undefined {
    try {
      return call(this.policy);
    } catch (error) {
      this.note(`threw: ${errorText(error)}`);
      return undefined;
    }
  }

  /** Counts and reports something that the policy did wrong. */
  note(what: string): void {
    this.#errors.add(1);
    this.#logger.error("store_policy", `store policy ${this.policy.name} ${what}`);
  }

  /** Tells the policy how one adapter's part of these keys ended, if it listens. */
  tell(descriptor: AdapterDescriptor, obligation: Obligation, keyIndices: ArrayLike<number>, ending: Ending): void {
    const { onStored, onFailed, onDropped } = this.policy;
    const listener = ending.kind === "stored" ? onStored : ending.kind === "failed" ? onFailed : onDropped;
    if (listener === undefined) return;
    const keys = obligation.keys.pick(keyIndices);
    this.ask((policy) => {
      if (ending.kind === "stored") policy.onStored?.(descriptor, keys);
      else if (ending.kind === "failed") policy.onFailed?.(descriptor, keys, ending.reason);
      else policy.onDropped?.(descriptor, keys, ending.reason);
    });
  }
}
