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
  #open = false;
  #style: Style = "reset";

  constructor(target: ViewTarget) {
    this.#target = target;
    this.#columns = Math.max(20, Math.min((target.columns ?? plainColumns) - margin.length - bar.length - 1, textColumnsMax));
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
      }
      else this.#word += character;
    }
  }

  endProse(): void {
    this.#flushWord();
    if (this.#open) this.#target.write("\n");
    this.#open = false;
    this.#column = 0;
  }

  paint(style: Style, text: string): string {
    return this.#target.color ? styleText(style, text, { validateStream: false }) : text;
  }

  #space(): void {
    this.#flushWord();
    if (this.#column >= this.#columns) this.#breakLine();
    else if (this.#column > 0) {
      this.#target.write(" ");
      this.#column++;
    }
  }

  #flushWord(): void {
    if (this.#word === "") return;
    if (this.#column > 0 && this.#column + this.#word.length > this.#columns) this.#breakLine();
    if (!this.#open) {
      this.#target.write(margin + this.paint("gray", bar));
      this.#open = true;
    }
    this.#target.write(this.paint(this.#style, this.#word));
    this.#column += this.#word.length;
    this.#word = "";
  }

  /** Ends the line that is open; without one, shows an empty one. */
  #breakLine(): void {
    this.#target.write(this.#open ? "\n" : `${margin}${this.paint("gray", "│")}\n`);
    this.#open = false;
    this.#column = 0;
  }
}
