import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { filesUnder, root } from "./source-files.ts";

/** Codes written out in the sources. Environment variables are never quoted there, so that a quoted name of this form is a code. */
function codesInSources(): Set<string> {
  const codes = new Set<string>();
  for (const { text } of [...filesUnder("src", [".ts"]), ...filesUnder("native", [".cc", ".h"])])
    for (const [, code] of text.matchAll(/["'`](KVFERRY_[A-Z_]+|ABORT_ERR)["'`]/g)) codes.add(code);
  return codes;
}

test("every error code has one heading in docs/errors.md, with cause and remedy, and no heading is left over", () => {
  const source = readFileSync(join(root, "src/base/errors.ts"), "utf8");
  const union = /export type KvferryErrorCode =([^;]+);/.exec(source);
  assert.ok(union !== null);
  const codes = [...union[1].matchAll(/"([A-Z_]+)"/g)].map(([, code]) => code);
  assert.ok(codes.length > 10);
  const page = readFileSync(join(root, "docs/errors.md"), "utf8");
  const sections = page.split(/^## /m).slice(1);
  const headings = sections.map((section) => section.split("\n", 1)[0]);
  assert.deepEqual(headings.toSorted(), [...codesInSources()].sort(), "headings, and codes in src and native");
  assert.deepEqual(headings.filter((heading) => codes.includes(heading)), codes, "in the order of KvferryErrorCode");
  for (const code of headings) assert.ok(page.includes(`| [${code}](#${code.toLowerCase()}) |`), `${code} is in the table`);
  for (const section of sections) for (const part of ["**Cause.**", "**What to do.**"]) assert.ok(section.includes(part), `${section.split("\n", 1)[0]}: ${part}`);
});
