/**
 * When a tier evicts and how much: watermark, ratio and quota arithmetic as LMCache spells them, as pure functions over one policy.
 * `triggerWatermark` (default 0.8) is a fraction of the tier's bytes; `evictionRatio` (default 0.2) is a fraction of tracked keys.
 */
import type { EvictionPolicy, SaltUsage } from "../contract.ts";
import type { Eligible } from "./victims.ts";

export interface EvictionTrigger {
  readonly triggerWatermark: number;
  readonly evictionRatio: number;
}

export const defaultEvictionTrigger: EvictionTrigger = { triggerWatermark: 0.8, evictionRatio: 0.2 };

/** What one salt holds in this tier. */
export interface SaltInTier extends SaltUsage {
  readonly saltId: number;
}

export interface TierState {
  readonly usedBytes: number;
  readonly capacityBytes: number;
  /** Only a policy that isolates salts looks at them; in the order in which they are to be relieved. */
  readonly salts?: readonly SaltInTier[];
  /** Bytes of a tracked id: what a victim frees. Needed where `salts` is given. */
  readonly sizeBytes?: (id: number) => number;
}

/**
 * Victims of one pass over L1; empty below the watermark. (L2 adapters have the same arithmetic in l2/eviction.ts.)
 *
 * Two steps. Salts at or beyond watermark x quota give up their ratio each (all they have where the quota is 0). What is left is measured
 * against the tier's own watermark, because salts within their quotas may together still be too much for it.
 */
export function planL1Eviction(policy: EvictionPolicy, tier: TierState, trigger: EvictionTrigger, eligible?: Eligible): Uint32Array {
  const { triggerWatermark, evictionRatio } = trigger;
  const overQuota = policy.isolatesSalts ? overQuotaVictims(policy, tier.salts ?? [], trigger, eligible) : [];
  const usedBytes = overQuota.reduce((used, id) => used - (tier.sizeBytes?.(id) ?? 0), tier.usedBytes);
  // An L1 of 0 bytes counts as empty, as in LMCache.
  const fraction = tier.capacityBytes > 0 ? usedBytes / tier.capacityBytes : 0;
  if (fraction < triggerWatermark) return Uint32Array.from(overQuota);
  if (overQuota.length === 0) return policy.getEvictionVictims(evictionRatio, eligible);
  const chosen = new Set(overQuota);
  const others = policy.getEvictionVictims(evictionRatio, (id) => !chosen.has(id) && (eligible === undefined || eligible(id)));
  return Uint32Array.from([...overQuota, ...others]);
}

function overQuotaVictims(policy: EvictionPolicy, salts: readonly SaltInTier[], trigger: EvictionTrigger, eligible: Eligible | undefined): number[] {
  const victims: number[] = [];
  for (const { saltId, usedBytes, quotaBytes } of salts) {
    // Written so that an unlimited quota is never reached: 0 x Infinity is not a number.
    if (usedBytes <= 0 || !(usedBytes >= trigger.triggerWatermark * quotaBytes)) continue;
    victims.push(...policy.getEvictionVictims(quotaBytes > 0 ? trigger.evictionRatio : 1, eligible, saltId));
  }
  return victims;
}
