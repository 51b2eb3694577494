/** Seeds that found something, with what it was. They run in every short run, for ever; a generator that changes makes them other scenarios, and they stay. */
export const regressions: readonly { readonly seed: number; readonly story: string }[] = [
  { seed: 3, story: "an adapter that hung when it was removed was never closed" },
  { seed: 4, story: "a commit with no adapter to owe it to settled as 0 keys" },
  { seed: 13, story: "a leased object that was still owed to an adapter was charged to nobody when its reader left" },
  { seed: 15, story: "a signal that had fired already was answered with a DOMException" },
  { seed: 24, story: "eviction inside a reservation pumped the queue, and a second reservation ran in the middle of the first" },
  { seed: 45, story: "the same, seen as a key id released twice" },
  { seed: 48, story: "an adapter whose holds() throws made writes reject" },
  { seed: 74, story: "an adapter whose holds() throws made commits reject and left their objects in L1" },
  { seed: 79, story: "stores queued behind an adapter that never answers did not end at their deadline" },
  { seed: 263, story: "the timer that ends overdue stores fired for ever when a sum and a difference rounded differently" },
  { seed: 10, story: "a chunk waited in a full L1 for a later chunk of its own request, which eviction was told to spare" },
  { seed: 163, story: "a waiter was not woken when a reader let go of what could then be evicted" },
  { seed: 226, story: "a prefix with a sliding window that did not fit into L1 was answered as no hit at all" },
];
