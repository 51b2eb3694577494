import { registerEvictionPolicy, registerPrefetchPolicy, registerStorePolicy, evictionPolicies, prefetchPolicies, storePolicies } from "../../src/policies/index.ts";
import type { Faults } from "./faults.ts";

/** Policies of the real kinds whose every method throws now and then: what a user's module may do. */
let current: Faults | undefined;

/** The faults by which policies made from now on throw. */
export function throwBy(faults: Faults): void {
  current = faults;
}

const prefix = "sim-throwing-";

/** The name of a policy that does what `name` does, and throws now and then. */
export function throwing(name: string): string {
  return prefix + name;
}

for (const name of ["default", "skip_l1"]) registerStorePolicy(throwing(name), (context) => faulty(storePolicies.find(name, "test").create(context)));
for (const name of ["default", "retain"]) registerPrefetchPolicy(throwing(name), (context) => faulty(prefetchPolicies.find(name, "test").create(context)));
for (const name of ["LRU", "ARC", "FIFO", "IsolatedLRU", "noop"])
  registerEvictionPolicy(throwing(name), (context) => faulty(evictionPolicies.find(name, "test").create(context)));

function faulty<Policy extends object>(policy: Policy): Policy {
  const faults = current;
  if (faults === undefined) throw new Error("throwBy was not called");
  return new Proxy(policy, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        if (faults.strikes("policy_throw")) throw new Error(`injected: ${String(property)} throws`);
        return Reflect.apply(value, target, args);
      };
    },
  });
}
