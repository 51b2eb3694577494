import { readFileSync } from "node:fs";

export const unknownToken = 0;
export const beginToken = 1;
export const endToken = 2;

const byteTokens = 256;

/**
 * A llama2.c tokenizer file: i32 longest piece, then per token f32 score, i32 length, bytes. A vocabulary with byte pieces (`<0x0A>` ...)
 * can spell any text; one without them (the shipped one) turns foreign characters into the unknown token.
 */
export class Tokenizer {
  readonly size: number;
  readonly #pieces: readonly string[];
  readonly #scores: Float32Array;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #firstByteToken: number;

  constructor(file: Uint8Array, vocabularySize: number, name: string) {
    const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    const pieces: string[] = [];
    this.#scores = new Float32Array(vocabularySize);
    let offset = 4;
    for (let id = 0; id < vocabularySize; id++) {
      const length = offset + 8 <= file.byteLength ? view.getInt32(offset + 4, true) : -1;
      if (length < 0 || offset + 8 + length > file.byteLength)
        throw new RangeError(`${name} ends after ${id} tokens, the model has ${vocabularySize}`);
      this.#scores[id] = view.getFloat32(offset, true);
      // latin1 keeps one character per byte, so a piece that is half of a UTF-8 character survives; decode() puts bytes together.
      pieces.push(Buffer.from(file.buffer, file.byteOffset + offset + 8, length).toString("latin1"));
      offset += 8 + length;
    }
    this.size = vocabularySize;
    this.#pieces = pieces;
    this.#ids = new Map(pieces.map((piece, id) => [piece, id]).reverse() as [string, number][]);
    this.#firstByteToken = this.#ids.get("<0x00>") ?? -1;
  }

  static open(path: string, vocabularySize: number): Tokenizer {
    return new Tokenizer(readFileSync(path), vocabularySize, path);
  }

  /** Token ids of `text` behind a begin token. Merges the pair with the best score first, as llama2.c does. */
  encode(text: string): number[] {
    if (text === "") return [beginToken];
    let parts = [...` ${text}`].flatMap((character) => this.#spell(Buffer.from(character, "utf8")));
    for (;;) {
      let best = -1;
      let bestScore = -Infinity;
      for (let index = 0; index + 1 < parts.length; index++) {
        const id = this.#ids.get(this.#pieces[parts[index]] + this.#pieces[parts[index + 1]]);
        if (id !== undefined && this.#scores[id] > bestScore) {
          best = index;
          bestScore = this.#scores[id];
        }
      }
      if (best < 0) return [beginToken, ...parts];
      const merged = this.#ids.get(this.#pieces[parts[best]] + this.#pieces[parts[best + 1]]) as number;
      parts = [...parts.slice(0, best), merged, ...parts.slice(best + 2)];
    }
  }

  /** The bytes of `token` behind `previous`: a piece loses its leading space behind the begin token. */
  decodeBytes(previous: number, token: number): Buffer {
    if (token === beginToken || token === endToken) return Buffer.alloc(0);
    const piece = this.#pieces[token];
    const byte = /^<0x([0-9A-F]{2})>$/.exec(piece);
    if (byte !== null) return Buffer.from([Number.parseInt(byte[1], 16)]);
    return Buffer.from(previous === beginToken && piece.startsWith(" ") ? piece.slice(1) : piece, "latin1");
  }

  /** The text of `tokens`, the begin token in front. */
  decode(tokens: ArrayLike<number>): string {
    const parts: Buffer[] = [];
    for (let index = 0; index < tokens.length; index++) parts.push(this.decodeBytes(index === 0 ? beginToken : tokens[index - 1], tokens[index]));
    return Buffer.concat(parts).toString("utf8");
  }

  #spell(character: Buffer): number[] {
    const id = this.#ids.get(character.toString("latin1"));
    if (id !== undefined) return [id];
    if (this.#firstByteToken < 0 || this.#firstByteToken + byteTokens > this.size) return [unknownToken];
    return [...character].map((byte) => this.#firstByteToken + byte);
  }
}
