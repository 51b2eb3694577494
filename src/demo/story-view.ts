import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Where the demo writes: a terminal or not. */
export interface ViewTarget {
  write(text: string): void;
  /** Undefined when it is no terminal. */
  readonly columns?: number;
  readonly color: boolean;
}

const textColumnsMax = 92;
const plainColumns = 92;
const margin = "  ";
const bar = "│ ";

/** Writes prose that arrives piece by piece, wrapped at words, behind a coloured bar. */
export class StoryView {
  readonly #target: ViewTarget;
  readonly #columns: number;
  #word = "";
  #column = 0;
  #spaceIsDue = false;
  #open = false;
  #style: Style = "reset";

  constructor(target: ViewTarget) {
    this.#target = target;
    this.#columns = Math.max(20, Math.min((target.columns ?? plainColumns) - margin.length - bar.length - 1, textColumnsMax));
  }

  get color(): boolean {
    return this.#target.color;
  }

  line(text = ""): void {
    this.endProse();
    this.#target.write(text === "" ? "\n" : `${margin}${text}\n`);
  }

  /** A result: a mark, a bold beginning, the rest plain. */
  result(mark: "✓" | "✗" | "·", head: string, rest: string): void {
    const color: Style = mark === "✓" ? "green" : mark === "✗" ? "red" : "gray";
    this.line(`${this.paint([color, "bold"], mark)} ${this.paint("bold", head)} ${rest}`);
  }

  heading(text: string): void {
    this.line(this.paint("bold", text));
  }

  /** Adds to the running text. A word is shown when it is complete, so that the margin never cuts one. */
  prose(text: string, style: Style): void {
    for (const character of text) {
      if (style !== this.#style) {
        this.#flushWord();
        this.#style = style;
      }
      if (character === " ") this.#space();
      else if (character === "\n") {
        this.#flushWord();
        this.#breakLine();
      } else this.#word += character;
    }
  }

  endProse(): void {
    this.#flushWord();
    if (this.#open) this.#target.write("\n");
    this.#open = false;
    this.#spaceIsDue = false;
    this.#column = 0;
  }

  paint(style: Style, text: string): string {
    return this.#target.color ? styleText(style, text, { validateStream: false }) : text;
  }

  #space(): void {
    this.#flushWord();
    this.#spaceIsDue = this.#column > 0;
  }

  #flushWord(): void {
    if (this.#word === "") return;
    const width = this.#word.length + (this.#spaceIsDue ? 1 : 0);
    if (this.#column > 0 && this.#column + width > this.#columns) this.#breakLine();
    if (!this.#open) this.#target.write(margin + this.paint("gray", bar));
    this.#open = true;
    // A space is written with the word behind it, so that no line ends in one.
    const text = (this.#spaceIsDue ? " " : "") + this.#word;
    this.#target.write(this.paint(this.#style, text));
    this.#column += text.length;
    this.#word = "";
    this.#spaceIsDue = false;
  }

  /** Ends the line that is open; without one, shows an empty one. */
  #breakLine(): void {
    this.#target.write(this.#open ? "\n" : `${margin}${this.paint("gray", "│")}\n`);
    this.#open = false;
    this.#spaceIsDue = false;
    this.#column = 0;
  }
}
