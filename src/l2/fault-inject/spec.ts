import { z } from "zod";

import { defineAdapterType, integerFrom, nonNegativeNumber, numberBetween } from "../spec.ts";
import { openFaultInjectAdapter } from "./fault-inject-adapter.ts";

const probability = (what: string) => numberBetween(0, 1, what).default(0);
const delays = {
  delay: probability("Probability that a call is delayed"),
  delay_ms: nonNegativeNumber("How long a delayed call waits, at most; the wait is drawn from 0 to this").default(0),
  throw: probability("Probability that a call throws synchronously, before it touches anything"),
  reject: probability("Probability that a call's promise rejects"),
  never: probability("Probability that a call does not settle before the adapter is closed"),
};
const wrong = { error: "must be an object of probabilities" };

export const storeFaults = z
  .strictObject(
    {
      ...delays,
      fail: probability("Probability per key of `failed`, nothing stored"),
      refuse: probability("Probability per key of `refused`, nothing stored"),
      no_room: probability("Probability per key of `skipped_no_room`, nothing stored"),
      lie: probability("Probability per key of `stored` although nothing is stored"),
      partial: probability("Probability per batch that only its first part is stored"),
    },
    wrong,
  )
  .prefault({});
export const loadFaults = z
  .strictObject(
    {
      ...delays,
      fail: probability("Probability per key of `failed`"),
      short: probability("Probability per key that only the first part of the bytes arrives; noticed, answered `failed`"),
      corrupt: probability("Probability per key that bytes are flipped on their way; the checksum is compared and answers `corrupt`"),
      corrupt_silently: probability("Probability per key that bytes are flipped and the answer is `loaded`: only a check above the adapter can see it"),
      partial: probability("Probability per batch that only its first part is loaded"),
    },
    wrong,
  )
  .prefault({});
export const lookupFaults = z
  .strictObject(
    {
      ...delays,
      fail: probability("Probability per call of `no` for every key"),
      false_yes: probability("Probability per key of a wrong yes"),
      false_no: probability("Probability per key of a wrong no"),
    },
    wrong,
  )
  .prefault({});
export const deleteFaults = z
  .strictObject(
    {
      ...delays,
      fail: probability("Probability per key that it stays"),
    },
    wrong,
  )
  .prefault({});

/** LMCache's `fault_inject` (`inner`, `rate`, `seed`, `gap_indices`, `gap_tail_ratios`: misses on load), and faults for every call. */
export const faultInjectAdapter = defineAdapterType({
  type: "fault_inject",
  summary: "wraps another adapter and makes it fail, delay, lie, corrupt or hang, by a seed: for tests",
  fields: {
    inner: z.looseObject({}, { error: "must be the JSON object of another adapter" }).describe("The adapter that is wrapped"),
    seed: integerFrom(0, "Fixes the sequence of faults").default(0),
    rate: probability("Probability per key of a miss on load, fixed by seed and key"),
    gap_indices: z.array(integerFrom(0, "Position"), { error: "must be a list of integers" }).default([]).describe("Positions of each load batch that always miss"),
    gap_tail_ratios: z
      .array(numberBetween(0, 1, "Ratio"), { error: "must be a list of numbers from 0 to 1" })
      .default([])
      .describe("Positions that always miss, counted from the end: round((1 - ratio) x (n - 1))"),
    store: storeFaults,
    load: loadFaults,
    lookup: lookupFaults,
    delete: deleteFaults,
  },
  check(spec, _refuse, parseNested) {
    return { ...spec, inner: parseNested(spec.inner, "inner") };
  },
  open: openFaultInjectAdapter,
});
