import { StoreStatus } from "../l2/contract.ts";
import type { PressureAnswer, StoreTarget } from "../policies/contract.ts";
import type { Ending } from "./obligation.ts";

export const stored: Ending = { kind: "stored" };

/** What an adapter's status means for the key's part of the obligation: its ending, or another try. */
export function endingOf(status: number): Ending | "again" {
  switch (status) {
    case StoreStatus.stored:
    case StoreStatus.alreadyPresent:
      return stored;
    case StoreStatus.skippedNoRoom:
      return { kind: "failed", reason: "no_room" };
    case StoreStatus.skippedTooLarge:
      return { kind: "failed", reason: "too_large" };
    case StoreStatus.refused:
      return { kind: "failed", reason: "refused" };
    default:
      return "again";
  }
}

/** A policy's answer that has the wrong form is a policy that failed. */
export function checkTargets(targets: readonly StoreTarget[]): readonly StoreTarget[] {
  if (!Array.isArray(targets)) throw new TypeError("selectStoreTargets must answer a list of targets");
  for (const { adapterIndex, keyIndices } of targets as readonly StoreTarget[])
    if (typeof adapterIndex !== "number" || (keyIndices !== "all" && !(keyIndices instanceof Uint32Array)))
      throw new TypeError('a store target needs an adapterIndex, and keyIndices that are "all" or a Uint32Array');
  return targets;
}

/** The same for what it says about a full L1. */
export function checkPressureAnswer(answer: PressureAnswer | undefined): PressureAnswer {
  const isKnown = answer?.action === "wait" || answer?.action === "drop_newest" || answer?.action === "drop_oldest";
  if (!isKnown || (answer.action === "wait" && !(answer.timeoutMs >= 0)))
    throw new TypeError('onPressure must answer {action: "wait", timeoutMs: number of at least 0}, {action: "drop_newest"} or {action: "drop_oldest"}');
  return answer;
}
