import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { root } from "./source-files.ts";

test("every error code has one heading in docs/errors.md, with cause and remedy, and no heading is left over", () => {
  const source = readFileSync(join(root, "src/base/errors.ts"), "utf8");
  const union = /export type KvferryErrorCode =([^;]+);/.exec(source);
  assert.ok(union !== null);
  const codes = [...union[1].matchAll(/"([A-Z_]+)"/g)].map(([, code]) => code);
  assert.ok(codes.length > 10);
  const sections = readFileSync(join(root, "docs/errors.md"), "utf8").split(/^## /m).slice(1);
  assert.deepEqual(sections.map((section) => section.split("\n", 1)[0]), codes);
  for (const section of sections) for (const part of ["**Cause.**", "**What to do.**"]) assert.ok(section.includes(part), `${section.split("\n", 1)[0]}: ${part}`);
});
