import { answerAtOnce } from "../base/answer-at-once.ts";
import type { PressureAnswer, StorePolicy } from "../policies/index.ts";

/** Whether the policy lets an object go once every adapter has it; asked once, under supervision. */
export function dropsStored(policy: StorePolicy): boolean {
  try {
    return answerAtOnce(policy.decideL1({ storedCount: 1, failedCount: 0, droppedCount: 0 })) === "drop";
  } catch {
    // A policy that throws here throws again where it matters, and is counted and reported there.
    return false;
  }
}

/** The configured answer to a full L1 as a policy would give it. */
export function configuredAnswer(action: PressureAnswer["action"], waitMs: number): PressureAnswer {
  return action === "wait" ? { action, timeoutMs: waitMs } : { action };
}

/** How long a write may wait for room under this answer. */
export function waitUnder(answer: PressureAnswer, waitMs: number): number {
  if (answer.action === "drop_newest") return 0;
  return answer.action === "wait" ? Math.min(answer.timeoutMs, waitMs) : waitMs;
}
