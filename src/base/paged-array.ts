const pageShift = 14;
const pageLength = 1 << pageShift;
const pageMask = pageLength - 1;

/**
 * A u32 array that grows by pages of 16 Ki entries, so that a table with a million rows never doubles and never copies. Reading beyond
 * the end gives 0.
 */
export class PagedUint32Array {
  readonly #pages: Uint32Array[] = [];

  get(index: number): number {
    const page = this.#pages[index >>> pageShift];
    return page === undefined ? 0 : page[index & pageMask];
  }

  set(index: number, value: number): void {
    const pageIndex = index >>> pageShift;
    while (this.#pages.length <= pageIndex) this.#pages.push(new Uint32Array(pageLength));
    this.#pages[pageIndex][index & pageMask] = value;
  }

  /** Bytes held. */
  memoryBytes(): number {
    return this.#pages.length * pageLength * 4;
  }
}
