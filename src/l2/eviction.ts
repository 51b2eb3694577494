/**
 * How an adapter with a capacity makes room: the policy says who goes, this file says when and how much. Room that a store needs is made
 * at once; the watermark of the `eviction` block works after stores, so that most stores find room without waiting.
 */
import type { AdapterEvictionPolicy } from "./contract.ts";

export interface EvictionRules {
  readonly policy: AdapterEvictionPolicy;
  readonly triggerWatermark: number;
  readonly evictionRatio: number;
  sizeBytes(id: number): number;
  /** Bytes in use of one salt, and what it may have; only asked of policies that isolate salts. */
  saltBytes(saltId: number): number;
  saltQuotaBytes(saltId: number): number | undefined;
}

const none = new Uint32Array(0);

/**
 * Ids to evict so that at least `bytes` and `objects` come free; fewer when the eligible ones do not suffice. A policy that isolates salts
 * shares the loss itself: salts over their quota first, then the largest.
 */
export function chooseVictims(rules: EvictionRules, bytes: number, objects: number, eligible: (id: number) => boolean): Uint32Array {
  const { policy } = rules;
  if (!policy.evicts || policy.trackedCount === 0) return none;
  const byBytes = bytes > 0 ? policy.getVictimsForBytes(bytes, eligible) : none;
  if (byBytes.length >= objects) return byBytes;
  // The policy takes a fraction of what it tracks; half an object more keeps the rounding from losing one.
  return policy.getEvictionVictims(Math.min(1, (objects + 0.5) / policy.trackedCount), eligible);
}

/** What the watermark asks for now: a fraction of the known keys once usage has reached it; salts at their quota first, for policies that isolate. */
export function chooseWatermarkVictims(rules: EvictionRules, usedBytes: number, capacityBytes: number, eligible: (id: number) => boolean): Uint32Array {
  const { policy, triggerWatermark, evictionRatio } = rules;
  if (!policy.evicts || policy.trackedCount === 0) return none;
  const victims: number[] = [];
  if (policy.isolatesSalts)
    for (const saltId of policy.saltIds()) {
      const quota = rules.saltQuotaBytes(saltId) ?? Infinity;
      const used = rules.saltBytes(saltId);
      // A quota of 0 takes all that the salt has.
      if (used > 0 && used >= triggerWatermark * quota)
        for (const id of policy.getEvictionVictims(quota > 0 ? evictionRatio : 1, eligible, saltId)) victims.push(id);
    }
  const left = victims.reduce((bytes, id) => bytes - rules.sizeBytes(id), usedBytes);
  if (capacityBytes <= 0 || left < triggerWatermark * capacityBytes) return Uint32Array.from(victims);
  const chosen = new Set(victims);
  const others = policy.getEvictionVictims(evictionRatio, (id) => !chosen.has(id) && eligible(id));
  return Uint32Array.from([...victims, ...others]);
}
