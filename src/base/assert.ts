/** Throws when an invariant is broken. Stays on in production: a wrong byte is worse than a stopped request. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** A broken invariant: always a bug of kvferry, never of its user. */
export class AssertionError extends Error {
  constructor(message: string) {
    super(`invariant broken: ${message}`);
    this.name = "AssertionError";
  }
}
