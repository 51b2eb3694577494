const pageEntries = 1 << 14;
const buckets = 1 << 16;
/** Work between two breaths of the event loop. */
const sliceEntries = 1 << 14;

/**
 * Ids with their ages, for an LRU order rebuilt from modification times: a counting sort in slices, because sorting a million rows at once
 * would hold the event loop for a fifth of a second. Times are told apart to 1/65536 of their whole range.
 */
export class AgeOrder {
  readonly #ids: Uint32Array[] = [];
  readonly #times: Float64Array[] = [];
  #count = 0;
  #lowest = Infinity;
  #highest = -Infinity;

  add(id: number, timeMs: number): void {
    if (this.#count % pageEntries === 0) {
      this.#ids.push(new Uint32Array(pageEntries));
      this.#times.push(new Float64Array(pageEntries));
    }
    this.#ids[this.#ids.length - 1][this.#count % pageEntries] = id;
    this.#times[this.#times.length - 1][this.#count % pageEntries] = timeMs;
    this.#count++;
    if (timeMs < this.#lowest) this.#lowest = timeMs;
    if (timeMs > this.#highest) this.#highest = timeMs;
  }

  /** Visits every id, oldest first, breathing between slices. */
  async visit(breathe: () => Promise<void>, visitor: (id: number) => void): Promise<void> {
    const scale = this.#highest > this.#lowest ? (buckets - 1) / (this.#highest - this.#lowest) : 0;
    const bucketOf = (entry: number): number => Math.floor((this.#times[Math.floor(entry / pageEntries)][entry % pageEntries] - this.#lowest) * scale);
    const starts = new Uint32Array(buckets + 1);
    await this.#inSlices(breathe, (entry) => starts[bucketOf(entry) + 1]++);
    for (let bucket = 0; bucket < buckets; bucket++) starts[bucket + 1] += starts[bucket];
    const sorted = new Uint32Array(this.#count);
    await this.#inSlices(breathe, (entry) => (sorted[starts[bucketOf(entry)]++] = this.#ids[Math.floor(entry / pageEntries)][entry % pageEntries]));
    await this.#inSlices(breathe, (entry) => visitor(sorted[entry]));
  }

  async #inSlices(breathe: () => Promise<void>, each: (entry: number) => void): Promise<void> {
    for (let first = 0; first < this.#count; first += sliceEntries) {
      const end = Math.min(first + sliceEntries, this.#count);
      for (let entry = first; entry < end; entry++) each(entry);
      await breathe();
    }
  }
}
