import type { PrefetchOptions } from "./options.ts";

/** Throws a RangeError unless `value` is a number of milliseconds, 0 or more; Infinity is one. */
export function checkMilliseconds(name: string, value: number): void {
  if (typeof value !== "number" || !(value >= 0)) throw new RangeError(`${name} must be a number of milliseconds, 0 or more, got ${String(value)}`);
}

export function checkPrefetchOptions({ deadlineMs, fetching, deliveries }: PrefetchOptions): void {
  if (deadlineMs !== undefined) checkMilliseconds("deadlineMs", deadlineMs);
  if (fetching !== undefined && fetching !== "prefix" && fetching !== "full") throw new RangeError(`fetching must be "prefix" or "full", got ${JSON.stringify(fetching)}`);
  if (deliveries !== undefined && (!Number.isInteger(deliveries) || deliveries < 1)) throw new RangeError(`deliveries must be a whole number of at least 1, got ${String(deliveries)}`);
}
