import type { NativeArena } from "../native/binding.ts";

/** One object's place in L1, for code that moves payload through JavaScript. Bulk data goes through a device instead. */
export class WriteSlot {
  readonly #arena: NativeArena;
  readonly #index: number;
  readonly #generation: number;
  readonly sizeBytes: number;

  constructor(arena: NativeArena, index: number, generation: number, sizeBytes: number) {
    this.#arena = arena;
    this.#index = index;
    this.#generation = generation;
    this.sizeBytes = sizeBytes;
  }

  /** Copies `bytes` to `offset` of the object. Throws RangeError beyond its end, StateError-like RangeError on a slot that is gone. */
  write(bytes: Uint8Array, offset = 0): void {
    this.#arena.write(this.#index, this.#generation, offset, bytes);
  }
}

/** One leased object, for reading through JavaScript. */
export class ReadSlot {
  readonly #arena: NativeArena;
  readonly #index: number;
  readonly #generation: number;
  readonly sizeBytes: number;

  constructor(arena: NativeArena, index: number, generation: number, sizeBytes: number) {
    this.#arena = arena;
    this.#index = index;
    this.#generation = generation;
    this.sizeBytes = sizeBytes;
  }

  /** The whole object, copied. */
  copyOut(): Uint8Array {
    const bytes = new Uint8Array(this.sizeBytes);
    this.#arena.read(this.#index, this.#generation, 0, bytes);
    return bytes;
  }

  /** Copies `target.length` bytes from `offset` of the object into `target`. */
  copyInto(target: Uint8Array, offset = 0): void {
    this.#arena.read(this.#index, this.#generation, offset, target);
  }
}
