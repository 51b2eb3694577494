import { answerAtOnce } from "../base/answer-at-once.ts";
import type { Counter, Counters } from "../base/counters.ts";
import { errorText } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { AdapterDescriptor, L1Decision, ObligationEnding, StorePolicy } from "../policies/contract.ts";
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
      return answerAtOnce(call(this.policy));
    } catch (error) {
      this.note(`threw: ${errorText(error)}`);
      return undefined;
    }
  }

  /** The policy's decision; undefined when it threw or answered neither word. */
  decideL1(ending: ObligationEnding): L1Decision | undefined {
    return this.ask((policy) => {
      const decision: unknown = answerAtOnce(policy.decideL1(ending));
      if (decision !== "keep" && decision !== "drop") throw new TypeError(`decideL1 must answer "keep" or "drop", got ${String(decision)}`);
      return decision;
    });
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
      if (ending.kind === "stored") return policy.onStored?.(descriptor, keys);
      if (ending.kind === "failed") return policy.onFailed?.(descriptor, keys, ending.reason);
      return policy.onDropped?.(descriptor, keys, ending.reason);
    });
  }
}
