/**
 * A session's right to read a set of resident objects, for a number of deliveries and until a deadline. While it is live its objects
 * cannot leave L1. Leases have owners: nobody can release what somebody else holds.
 */
export class ReadLease {
  readonly owner: string;
  /** Slot indices; the generations are those of `refs`. */
  readonly slots: Uint32Array;
  /** Pairs [index, generation] for native calls. */
  readonly refs: Uint32Array;
  /** Distinct readers that must have retrieved before the lease ends by itself. */
  readonly deliveries: number;
  /** Clock time after which L1 may end the lease; it never ends an I/O. */
  deadlineMs: number;
  readonly #delivered = new Set<string>();
  #live = true;

  constructor(owner: string, slots: Uint32Array, refs: Uint32Array, deliveries: number, deadlineMs: number) {
    this.owner = owner;
    this.slots = slots;
    this.refs = refs;
    this.deliveries = deliveries;
    this.deadlineMs = deadlineMs;
  }

  get live(): boolean {
    return this.#live;
  }

  /** Notes that `reader` has its copy. Returns true when every reader has, so the lease is to be released. */
  deliver(reader: string): boolean {
    this.#delivered.add(reader);
    return this.#delivered.size >= this.deliveries;
  }

  /** Only L1Manager calls this. */
  end(): void {
    this.#live = false;
  }
}
