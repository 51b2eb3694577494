import assert from "node:assert/strict";
import { test } from "node:test";

import { StoryView } from "../../../src/demo/story-view.ts";

function view(columns: number | undefined, color = false): { view: StoryView; text: () => string } {
  let written = "";
  return { view: new StoryView({ write: (text) => (written += text), columns, color }), text: () => written };
}

test("prose is wrapped at words, however the pieces are cut", () => {
  const { view: story, text } = view(30);
  for (const piece of ["The ca", "ptain tells", " a story while", " she steers", "."]) story.prose(piece, "cyan");
  story.line("done");
  assert.equal(text(), ["  │ The captain tells a story", "  │ while she steers.", "  done", ""].join("\n"));
  for (const line of text().split("\n")) assert.ok(line.length <= 30, line);
});

test("a line break in the text is one on the screen", () => {
  const { view: story, text } = view(undefined);
  story.prose("one\ntwo", "reset");
  story.endProse();
  assert.equal(text(), "  │ one\n  │ two\n");
});

test("no escape codes without colour, some with it", () => {
  const escapes = "\u001b[";
  const plain = view(80);
  plain.view.result("✓", "well", "done");
  plain.view.prose("text", "cyan");
  plain.view.endProse();
  assert.ok(!plain.text().includes(escapes));
  const colored = view(80, true);
  colored.view.result("✓", "well", "done");
  assert.ok(colored.text().includes(escapes));
});
