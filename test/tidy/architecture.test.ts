import assert from "node:assert/strict";
import { test } from "node:test";

import { forbiddenImports, forbiddenIncludes, nativeRooms, rooms } from "./rooms.ts";
import { filesUnder } from "./source-files.ts";

test("every TypeScript import follows the table of rooms", () => {
  const files = filesUnder("src", [".ts"]);
  assert.ok(files.length > 20, `only ${files.length} files were read`);
  assert.deepEqual(files.flatMap(forbiddenImports), []);
});

test("every C++ include follows the table of rooms", () => {
  const files = filesUnder("native", [".cc", ".h", ".cu"]);
  assert.ok(files.length > 5, `only ${files.length} files were read`);
  assert.deepEqual(files.flatMap(forbiddenIncludes), []);
});

test("the table itself has no cycle", () => {
  for (const table of [rooms, nativeRooms]) {
    const done = new Set<string>();
    const visit = (room: string, path: readonly string[]): void => {
      assert.ok(!path.includes(room), `cycle: ${[...path, room].join(" -> ")}`);
      if (done.has(room)) return;
      for (const next of table[room]) visit(next, [...path, room]);
      done.add(room);
    };
    for (const room of Object.keys(table)) visit(room, []);
  }
});

test("the checker sees an arrow that goes up, in every spelling of an import", () => {
  const spellings = [
    `import { L1Manager } from "../l1/l1-manager.ts";`,
    `import type { L1Manager } from "../l1/l1-manager.ts";`,
    `export * from "../l1/l1-manager.ts";`,
    `const late = await import("../l1/l1-manager.ts");`,
    `type Late = import("../l1/l1-manager.ts").L1Manager;`,
  ];
  for (const text of spellings) assert.equal(forbiddenImports({ path: "src/policies/registry.ts", text }).length, 1, text);
  assert.equal(forbiddenImports({ path: "src/policies/a.ts", text: `import fs from "node:fs";` }).length, 1);
  assert.equal(forbiddenImports({ path: "src/l1/a.ts", text: `import { bytes } from "../base/bytes.ts";` }).length, 0);
  assert.equal(forbiddenImports({ path: "src/newroom/a.ts", text: `import { bytes } from "../base/bytes.ts";` }).length, 1);
  assert.equal(forbiddenIncludes({ path: "native/core/a.cc", text: `#include <napi.h>` }).length, 1);
  assert.equal(forbiddenIncludes({ path: "native/core/a.cc", text: `#include "../cuda/driver.h"` }).length, 2);
  assert.equal(forbiddenIncludes({ path: "native/cuda/a.cc", text: `#include "core/arena.h"\n#include "napi/addon.h"` }).length, 1);
  assert.equal(forbiddenIncludes({ path: "native/napi/a.cc", text: `#include "core/arena.h"\n#include <napi.h>` }).length, 0);
});
