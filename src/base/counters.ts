/**
 * Named counters that only grow, and gauges computed when asked. Ratios are never stored: a reader divides two counters.
 * Names are Prometheus style (`kvferry_l2_store_failed_keys_total`); the server renders them.
 */
export type Labels = Readonly<Record<string, string>>;

/** One counter with fixed labels; hot paths keep the object and add to it. */
export class Counter {
  readonly name: string;
  readonly labels: Labels;
  value = 0;

  constructor(name: string, labels: Labels) {
    this.name = name;
    this.labels = labels;
  }

  add(amount: number): void {
    this.value += amount;
  }
}

export class Counters {
  readonly #counters = new Map<string, Counter>();
  readonly #gauges = new Map<string, () => number>();

  /** The counter with this name and these labels; made on first use, 0 from then on. */
  counter(name: string, labels: Labels = {}): Counter {
    const id = counterId(name, labels);
    let counter = this.#counters.get(id);
    if (counter === undefined) {
      counter = new Counter(name, labels);
      this.#counters.set(id, counter);
    }
    return counter;
  }

  /** Registers a value that is read when somebody looks; the last registration of a name wins. */
  gauge(name: string, read: () => number): void {
    this.#gauges.set(name, read);
  }

  /** Sum over all labels of `name`; 0 when nothing was counted. */
  total(name: string, match: Labels = {}): number {
    let sum = 0;
    for (const counter of this.#counters.values()) {
      if (counter.name === name && Object.entries(match).every(([label, value]) => counter.labels[label] === value)) sum += counter.value;
    }
    return sum;
  }

  /** Every counter and gauge as `name{label="value"}` to number, sorted by name. */
  snapshot(): Record<string, number> {
    const rows: [string, number][] = [];
    for (const [id, counter] of this.#counters) rows.push([id, counter.value]);
    for (const [name, read] of this.#gauges) rows.push([name, read()]);
    rows.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return Object.fromEntries(rows);
  }
}

function counterId(name: string, labels: Labels): string {
  const parts = Object.keys(labels)
    .sort()
    .map((label) => `${label}="${labels[label]}"`);
  return parts.length === 0 ? name : `${name}{${parts.join(",")}}`;
}
