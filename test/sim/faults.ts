import type { Random } from "../../src/base/random.ts";

/** Every way in which the simulation makes something go wrong; the counts are printed, so that nobody believes in faults that never struck. */
export const faultNames = [
  "store_throw",
  "store_reject",
  "store_wrong_length",
  "store_never",
  "store_late",
  "store_slow",
  "store_fail",
  "store_refuse",
  "store_no_room",
  "store_too_large",
  "store_partial",
  "store_lie",
  "load_throw",
  "load_reject",
  "load_wrong_length",
  "load_never",
  "load_late",
  "load_slow",
  "load_fail",
  "load_short",
  "load_corrupt",
  "load_foreign",
  "load_missing",
  "lookup_throw",
  "lookup_reject",
  "lookup_wrong_length",
  "lookup_hang",
  "lookup_slow",
  "lookup_false_yes",
  "lookup_false_no",
  "holds_throw",
  "close_slow",
  "close_reject",
  "bandwidth_zero",
  "no_space_window",
  "lost_behind_back",
  "policy_throw",
  "clock_jump",
  "timer_starvation",
  "write_abandoned",
  "read_abandoned",
  "double_release",
  "double_commit",
  "caller_abort",
  "duplicate_key",
  "read_under_io",
  "adapter_added",
  "adapter_removed",
  "clear_forced",
  "quota_changed",
  "close_in_the_middle",
  "prefix_larger_than_l1",
] as const;
export type FaultName = (typeof faultNames)[number];

export type FaultRates = Partial<Record<FaultName, number>>;

/** Decides by one random stream which faults strike, and counts them. */
export class Faults {
  readonly counts = new Map<FaultName, number>();
  readonly #rates: FaultRates;
  readonly #random: Random;
  #healed = false;

  constructor(rates: FaultRates, random: Random, counts = new Map<FaultName, number>()) {
    this.#rates = rates;
    this.#random = random;
    this.counts = counts;
  }

  strikes(name: FaultName): boolean {
    const rate = this.#healed ? 0 : (this.#rates[name] ?? 0);
    if (rate <= 0 || this.#random.nextFloat() >= rate) return false;
    this.note(name);
    return true;
  }

  note(name: FaultName): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  /** From now on nothing goes wrong any more. */
  heal(): void {
    this.#healed = true;
  }

  get healed(): boolean {
    return this.#healed;
  }
}
