const pageShift = 16;
const pageLength = 1 << pageShift;
const pageMask = pageLength - 1;

/** As PagedUint32Array of base, with several u32 per row side by side: whoever looks at one column of a row soon looks at the others. */
export class PagedRows {
  readonly #columns: number;
  readonly #pages: Uint32Array[] = [];

  constructor(columns: number) {
    this.#columns = columns;
  }

  get(row: number, column: number): number {
    const page = this.#pages[row >>> pageShift];
    return page === undefined ? 0 : page[(row & pageMask) * this.#columns + column];
  }

  set(row: number, column: number, value: number): void {
    const pageIndex = row >>> pageShift;
    while (this.#pages.length <= pageIndex) this.#pages.push(new Uint32Array(pageLength * this.#columns));
    this.#pages[pageIndex][(row & pageMask) * this.#columns + column] = value;
  }

  /** Bytes held. */
  memoryBytes(): number {
    return this.#pages.length * pageLength * this.#columns * 4;
  }
}

/** As PagedUint32Array of base, for signed numbers. */
export class PagedInt32Array {
  readonly #pages: Int32Array[] = [];

  get(index: number): number {
    const page = this.#pages[index >>> pageShift];
    return page === undefined ? 0 : page[index & pageMask];
  }

  set(index: number, value: number): void {
    const pageIndex = index >>> pageShift;
    while (this.#pages.length <= pageIndex) this.#pages.push(new Int32Array(pageLength));
    this.#pages[pageIndex][index & pageMask] = value;
  }

  /** Bytes held. */
  memoryBytes(): number {
    return this.#pages.length * pageLength * 4;
  }
}
