/** What happened in a run, as a hash: the same seed must give the same one. Keeps the last lines for a failure's report. */
export class Trace {
  events = 0;
  #low = 0x811c9dc5;
  #high = 0x01000193;
  readonly #last: string[] = [];
  readonly #print: ((line: string) => void) | undefined;

  constructor(print?: (line: string) => void) {
    this.#print = print;
  }

  note(text: string): void {
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      this.#low = Math.imul(this.#low ^ code, 16777619);
      this.#high = Math.imul(this.#high ^ (code + index), 2654435761 | 0);
    }
    this.#print?.(text);
    this.#last.push(text);
    if (this.#last.length > 400) this.#last.splice(0, 200);
  }

  get hash(): string {
    return (this.#low >>> 0).toString(16).padStart(8, "0") + (this.#high >>> 0).toString(16).padStart(8, "0");
  }

  last(count: number): readonly string[] {
    return this.#last.slice(-count);
  }
}
