/** Replays recorded sequences on an eviction policy and compares every victim list, in order. */
import assert from "node:assert/strict";

import type { EvictionContext, EvictionPolicy } from "../../src/policies/contract.ts";

export interface ArcState {
  t1: number[];
  t2: number[];
  b1: number[];
  b2: number[];
  capacity: number;
  p: number;
}

export interface EvictionSequence {
  seed: number;
  keys: number;
  salt?: string[];
  ops: [string, ...unknown[]][];
  final: { tracked: number; order?: number[] | Record<string, number[]> } & Partial<ArcState>;
}

export interface EvictionVectors {
  sequences: EvictionSequence[];
}

/** Salts as small integers; an unknown salt gets one that no key has. */
export class SaltNames {
  readonly #ids = new Map<string, number>();

  id(salt: string): number {
    let id = this.#ids.get(salt);
    if (id === undefined) this.#ids.set(salt, (id = this.#ids.size));
    return id;
  }
}

/** Returns the number of operations compared. */
export function replay<P extends EvictionPolicy>(
  sequence: EvictionSequence,
  make: (context: EvictionContext) => P,
  checkState?: (policy: P, state: ArcState, at: string) => void,
): { policy: P; operations: number; salts: SaltNames } {
  const salts = new SaltNames();
  const policy = make({ saltId: (id) => salts.id(sequence.salt?.[id] ?? ""), sizeBytes: () => 1 });
  sequence.ops.forEach(([kind, first, second, third, fourth], index) => {
    const at = `sequence ${sequence.seed}, operation ${index} (${kind})`;
    const ids = Uint32Array.from(Array.isArray(first) ? (first as number[]) : []);
    if (kind === "c") policy.onKeysCreated(ids);
    else if (kind === "r") policy.onKeysReserved(ids);
    else if (kind === "t") policy.onKeysTouched(ids);
    else if (kind === "d") policy.onKeysRemoved(ids);
    else if (kind === "s") checkState?.(policy, first as ArcState, at);
    else if (kind === "e") {
      const ineligible = second === null ? undefined : new Set(second as number[]);
      const eligible = ineligible === undefined ? undefined : (id: number) => !ineligible.has(id);
      const saltId = third === null ? undefined : salts.id(third as string);
      assert.deepEqual([...policy.getEvictionVictims(first as number, eligible, saltId)], fourth, at);
    } else assert.fail(`${at}: unknown operation`);
  });
  assert.equal(policy.trackedCount, sequence.final.tracked, `sequence ${sequence.seed}: tracked at the end`);
  return { policy, operations: sequence.ops.length, salts };
}
