import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { rooms } from "./rooms.ts";
import { root } from "./source-files.ts";

const page = readFileSync(join(root, "docs/architecture.md"), "utf8");

test("the table of rooms on the architecture page is the one that the test enforces", () => {
  const rows = [...page.matchAll(/^\| `src\/(\w+)` \|[^|]+\| ([^|]+) \|$/gm)];
  assert.ok(rows.length > 8);
  for (const [, room, arrows] of rows) {
    if (arrows === "everything below") continue;
    assert.deepEqual(new Set(arrows === "nothing" ? [] : arrows.split(", ")), new Set(rooms[room]), `src/${room}`);
  }
  const present = Object.keys(rooms).filter((room) => existsSync(join(root, "src", room)));
  assert.deepEqual(present.filter((room) => !rows.some(([, name]) => name === room)), [], "rooms that the page leaves out");
});

test("every file that the page points to is there", () => {
  const named = [...page.matchAll(/`((?:src|native|test|examples)\/[\w./-]+\.\w+)`/g)].map(([, path]) => path);
  assert.ok(named.length > 5);
  assert.deepEqual(named.filter((path) => !existsSync(join(root, path))), []);
});
