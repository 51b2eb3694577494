/** One array at a time, given out again and again: for what lives only during a call. Batches mostly have one size. */
export class Scratch {
  #array = new Uint32Array(0);

  /** An array of exactly `length`, with whatever it held before. The one given out before is no longer the caller's. */
  take(length: number): Uint32Array {
    if (this.#array.length !== length) this.#array = new Uint32Array(length);
    return this.#array;
  }
}
